"""``toxonnx bench``"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toxonnx.cli.options import read_options

if TYPE_CHECKING:
    from toxonnx.bundle import Bundle
    from toxonnx.io.base import ReadOptions


@click.command("bench")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--bundle", metavar="DIR|NAME", help="The model; the one that ships if not given.")
@click.option(
    "--compare", multiple=True, metavar="pytorch|DIR",
    help="What to race against; again for each further one. pytorch (the default where it is installed): the bundle's "
    "architecture in PyTorch, with random weights. DIR: a run or a checkpoint, in PyTorch, or another bundle.",
)  # fmt: skip
@click.option("--rows", type=click.IntRange(min=0), default=1000, show_default=True, help="First rows used; 0: all.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Timed passes over the rows.")
@click.option(
    "--latency-samples", type=click.IntRange(min=1), default=40, show_default=True, help="Lone rows timed a round."
)
@click.option(
    "--device", type=click.Choice(["cpu", "cuda", "tensorrt"]), default="cpu", show_default=True,
    help="What the bundle and PyTorch run on: on a GPU the pipeline in fp32, and PyTorch sorted in fp16.",
)  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), help="Cores for each candidate; all allowed ones if not given.")
@click.option("--max-batch-tokens", type=click.IntRange(min=1), help="Tokens of a batch of the bundle at most.")
@click.option(
    "--text-column", multiple=True, metavar="COLUMN", help="Column with the text; again for each further column."
)
@read_options
@click.option("--price-per-hour", type=click.FloatRange(min=0), help="Of this machine, for the cost of a million rows.")
@click.option(
    "--min-speedup", type=click.FloatRange(min=0), help="Exit code 1 unless this many times as fast as others."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all of it, raw samples too.")
@click.option("--force", is_flag=True, help="Replace these files if they exist.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write one page with plots.")
def command(
    file: Path | None,
    bundle: str | None,
    against: tuple[str, ...],
    rows: int,
    rounds: int,
    singles: int,
    device: str,
    threads: int | None,
    max_batch_tokens: int | None,
    text: tuple[str, ...],
    reading: ReadOptions,
    price_per_hour: float | None,
    at_least: float | None,
    json_path: Path | None,
    html_path: Path | None,
    force: bool,
) -> None:
    """Measure throughput and latency of a bundle on FILE (made-up texts if not given), beside PyTorch.

    Each candidate runs in a process of its own, on the same texts and as many cores; rounds are interleaved, and
    medians are given with the smallest and the largest.
    """
    from toxonnx.bench.candidates import cold_starts, lineup, metrics
    from toxonnx.bench.report import summary
    from toxonnx.bench.run import run_benchmark
    from toxonnx.bundle import open_bundle
    from toxonnx.cli.outputs import open_outputs
    from toxonnx.errors import GateError, InputError
    from toxonnx.extras import missing, require
    from toxonnx.inference.engine import Engine
    from toxonnx.inference.options import RuntimeOptions
    from toxonnx.resources import find_bundle
    from toxonnx.system import available_cores, describe_system

    require("cpu")
    if html_path:
        require("bench")
    opened = open_bundle(find_bundle(bundle))
    manifest = opened.manifest
    # Loaded once here, so that a device that cannot be had is told before anything is measured.
    options = RuntimeOptions(
        device=device, threads=threads if device == "cpu" else None, max_batch_tokens=max_batch_tokens
    )
    engine = Engine(opened, options)
    texts, where = _texts(opened, file, rows, text, reading)
    if not against and not missing("train"):
        against = ("pytorch",)
    elif not against:
        click.echo("PyTorch is not installed, so there is nothing to race against", err=True)
        if at_least is not None:
            raise InputError("--min-speedup has nothing to compare with", "Add --compare, or install 'toxonnx[train]'.")
    machine, cores = describe_system().to_dict(), threads or available_cores()
    if cores > machine["cores"]:
        raise InputError(f"--threads {cores}, and {machine['cores']} cores may be used here")
    paths = {"--json": json_path, "--html": html_path}
    with (
        open_outputs(paths, inputs=[file], force=force) as sinks,
        tempfile.TemporaryDirectory(prefix="toxonnx-bench-") as folder,
    ):
        scratch = Path(folder)
        candidates, comparable = lineup(
            opened,
            against,
            cores,
            max_batch_tokens,
            scratch,
            lambda source, folder: _checkpoint(opened, source, folder),
            device,
            _log,
        )
        colds = cold_starts(candidates, opened, scratch, _log)
        results = run_benchmark(candidates, texts, rounds=rounds, singles=min(singles, len(texts)), log=_log)
        report: dict[str, Any] = {
            "bundle": manifest.name,
            "precision": manifest.precision,
            "settings": engine.settings.to_dict(),
            "texts": {"from": where, **metrics(engine, opened, texts)},
            "cores": cores,
            "rounds": rounds,
            "price_per_hour": price_per_hour,
            "machine": machine,
            "candidates": summary(
                results, len(texts), manifest.labels, comparable=comparable, price_per_hour=price_per_hour
            ),
        }
        for entry, candidate in zip(report["candidates"], candidates, strict=True):
            entry["settings"] = {key: value for key, value in candidate.options.items() if key != "model"}
            entry["cold_start"] = colds[candidate.name]
        if "--json" in sinks:
            sinks["--json"].write(json.dumps(report, indent=1) + "\n")
        if "--html" in sinks:
            from toxonnx.bench.page import page

            sinks["--html"].write(page(report))
    _show(report)
    slowest = min((entry["ratio"]["median"] for entry in report["candidates"][1:]), default=None)
    if at_least is not None and slowest is not None and not slowest >= at_least:
        raise GateError(f"{manifest.name} is {slowest:.2f} times as fast, {at_least:g} times was asked for")


def _texts(
    opened: Bundle, file: Path | None, rows: int, text: tuple[str, ...], reading: ReadOptions
) -> tuple[list[str], str]:
    """The texts to score, not yet normalised, and where they are from."""
    from toxonnx.bench.synthetic_texts import synthetic_texts
    from toxonnx.errors import InputError
    from toxonnx.io.base import open_source

    if file is None:
        return synthetic_texts(rows or 1000), "made-up texts, lengths as in tweets"
    spec = opened.manifest.text
    with open_source(file, reading) as reader:
        values = reader.value_getter(spec.choose_columns(reader.columns, text))
        texts: list[str] = []
        for record in reader:
            row = values(record)
            if row is not None:
                texts.append(spec.join(row))
            if rows and len(texts) == rows:
                break
    if not texts:
        raise InputError(f"{file} has no rows")
    return texts, f"{'the first' if len(texts) == rows else 'all'} {len(texts):,} rows of {file.name}"


def _checkpoint(opened: Bundle, source: str, folder: Path) -> tuple[str, ...]:
    """Writes what PyTorch is to run; returns its labels."""
    from toxonnx.cli.quiet import silence_transformers
    from toxonnx.extras import require

    require("train")
    silence_transformers()
    if source == "pytorch":
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

        model = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(opened.path))
        tokenizer, labels = AutoTokenizer.from_pretrained(opened.path), opened.manifest.labels.names
    else:
        from toxonnx.train.adapters import load_trained

        trained = load_trained(source)
        model, tokenizer, labels = trained.model, trained.tokenizer, trained.labels.names
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return labels


def _log(line: str) -> None:
    click.echo(line, err=True)


def _show(report: dict[str, Any]) -> None:
    from statistics import median

    from toxonnx.cli.console import Terminal

    screen = Terminal(width=132)
    first, *others = report["candidates"]
    texts, machine = report["texts"], report["machine"]
    headings = ["", "rows/s", "of rounds", "p50 ms", "p95 ms", "peak MB", "cold start s", "its MB"]
    headings += ["a million rows"] if report["price_per_hour"] is not None else []
    rows = []
    for entry in report["candidates"]:
        rate, latency, cold = (entry[key] for key in ("rows_per_second", "latency_ms", "cold_start"))
        cells = [
            entry["name"], f"{rate['median']:,.0f}", f"{rate['min']:,.0f}-{rate['max']:,.0f}",
            f"{latency['p50']:.2f}", f"{latency['p95']:.2f}", f"{entry['peak_memory_mb']:,.0f}",
            f"{median(cold['seconds']):.2f}", f"{cold['peak_memory_mb']:,.0f}",
        ]  # fmt: skip
        if entry["cost_per_million_rows"] is not None:
            cells.append(f"{entry['cost_per_million_rows']:.3f}")
        rows.append(cells)
    screen.table(headings, rows)
    lines = [
        f"{texts['from']}: {texts['distinct']:,} distinct, {texts['tokens_mean']} tokens on average, "
        f"{texts['truncated']} cut",
        f"{machine['cpu']}, {report['cores']} cores, {', '.join(machine['instruction_sets'])}",
    ]
    if others and texts["distinct"] < texts["rows"]:
        again = texts["rows"] - texts["distinct"]
        lines.append(f"{again:,} rows repeat an earlier one: toxonnx scores them once, the others each time")
    for entry in others:
        ratio = entry["ratio"]
        how = "" if ratio["median"] >= 1 else "SLOWER: "
        lines.append(
            f"{first['name']}: {how}{ratio['median']:.2f} times as fast as {entry['name']} "
            f"(rounds {ratio['min']:.2f} to {ratio['max']:.2f})"
        )
        if entry["agreement"]:
            lines.append(
                f"  same label on {entry['agreement']['same_label']:.2%} of rows, largest probability difference "
                f"{entry['agreement']['largest_probability_difference']:.4f}"
            )
    for line in lines:
        screen.print_text(line)
