"""``toxonnx bench``"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from toxonnx.bundle import Bundle
    from toxonnx.measure.race import Contender

COLD_STARTS = 3


@click.command("bench")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--bundle", metavar="DIR|NAME", help="The model; the one that ships if not given.")
@click.option(
    "--against", multiple=True, metavar="pytorch|DIR",
    help="What to race against; again for each further one. pytorch (the default where it is installed): the bundle's "
    "architecture in PyTorch, with random weights. DIR: a run or a checkpoint, in PyTorch, or another bundle.",
)  # fmt: skip
@click.option("--rows", type=click.IntRange(min=0), default=1000, show_default=True, help="First rows used; 0: all.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Timed passes over the rows.")
@click.option("--singles", type=click.IntRange(min=1), default=40, show_default=True, help="Lone rows timed a round.")
@click.option("--threads", type=click.IntRange(min=1), help="Cores for each contender; all allowed ones if not given.")
@click.option("--batch-tokens", type=click.IntRange(min=1), help="Tokens of a batch of the bundle at most.")
@click.option("--text", multiple=True, metavar="COLUMN", help="Column with the text; again for each further column.")
@click.option("--encoding", help="Encoding of the file; UTF-8 if not given.")
@click.option("--delimiter", help="Delimiter of the file, or tab; a comma (a tab for .tsv) if not given.")
@click.option("--price-per-hour", type=click.FloatRange(min=0), help="Of this machine, for the cost of a million rows.")
@click.option("--at-least", type=click.FloatRange(min=0), help="Exit code 1 unless this many times as fast as others.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all of it, raw samples too.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write one page with plots.")
def command(
    file: Path | None,
    bundle: str | None,
    against: tuple[str, ...],
    rows: int,
    rounds: int,
    singles: int,
    threads: int | None,
    batch_tokens: int | None,
    text: tuple[str, ...],
    encoding: str | None,
    delimiter: str | None,
    price_per_hour: float | None,
    at_least: float | None,
    json_path: Path | None,
    html_path: Path | None,
) -> None:
    """Measure throughput and latency of a bundle on FILE (made-up texts if not given), beside PyTorch.

    Each contender runs in a process of its own, on the same texts and as many cores; rounds are interleaved, and
    medians are given with the smallest and the largest.
    """
    from toxonnx.bundle import open_bundle
    from toxonnx.errors import GateError
    from toxonnx.extras import missing, require
    from toxonnx.machine import available_cores, describe
    from toxonnx.measure.race import race
    from toxonnx.measure.report import summary
    from toxonnx.resources import find_bundle

    require("cpu")
    if html_path:
        require("bench")
    for path in filter(None, (json_path, html_path)):
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
    opened = open_bundle(find_bundle(bundle))
    texts, where = _texts(opened, file, rows, text, encoding, delimiter)
    if not against and not missing("baseline"):
        against = ("pytorch",)
    elif not against:
        click.echo("PyTorch is not installed, so there is nothing to race against", err=True)
    machine, cores = describe(), threads or available_cores()
    with tempfile.TemporaryDirectory(prefix="toxonnx-bench-") as scratch:
        contenders, same_weights = _contenders(opened, against, cores, batch_tokens, Path(scratch))
        results = race(contenders, texts, rounds=rounds, singles=singles, say=_say)
        colds = _cold_starts(contenders, opened, Path(scratch))
    report: dict[str, Any] = {
        "bundle": opened.manifest.name,
        "precision": opened.manifest.precision,
        "texts": {"from": where, **_figures(opened, texts)},
        "threads": cores,
        "rounds": rounds,
        "price_per_hour": price_per_hour,
        "machine": machine,
        "contenders": summary(results, len(texts), same_weights=same_weights, price_per_hour=price_per_hour),
    }
    for entry, contender in zip(report["contenders"], contenders, strict=True):
        entry["settings"] = {key: value for key, value in contender.options.items() if key != "model"}
        entry["cold_start"] = colds[contender.name]
    if json_path:
        json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if html_path:
        from toxonnx.measure.page import page

        html_path.write_text(page(report), encoding="utf-8")
    _show(report)
    slowest = min((entry["ratio"]["median"] for entry in report["contenders"][1:]), default=None)
    if at_least is not None and slowest is not None and not slowest >= at_least:
        raise GateError(f"{opened.manifest.name} is {slowest:.2f} times as fast, {at_least:g} times was asked for")


def _texts(
    opened: Bundle, file: Path | None, rows: int, text: tuple[str, ...], encoding: str | None, delimiter: str | None
) -> tuple[list[str], str]:
    """The texts to score, not yet normalised, and where they are from."""
    from toxonnx.errors import InputError
    from toxonnx.measure.sample import made_texts
    from toxonnx.rows import RowReader

    if file is None:
        return made_texts(rows or 1000), "made-up texts, lengths as in tweets"
    spec = opened.manifest.text
    with RowReader(file, encoding, delimiter) as reader:
        columns = spec.choose(reader.columns, text)
        at = [reader.columns.index(name) for name in columns]
        texts: list[str] = []
        for row in reader:
            if row.fields:
                texts.append(spec.join([row.fields[i] for i in at]))
            if len(texts) == rows:
                break
    if not texts:
        raise InputError(f"{file} has no rows")
    return texts, f"{'first ' if len(texts) == rows else 'all '}{len(texts):,} rows of {file.name}"


def _contenders(
    opened: Bundle, against: tuple[str, ...], threads: int, batch_tokens: int | None, scratch: Path
) -> tuple[list[Contender], frozenset[str]]:
    """The bundle first, and the names of those that have its weights."""
    from toxonnx.bundle import MANIFEST
    from toxonnx.measure.race import Contender

    manifest = opened.manifest
    ours: dict[str, Any] = {"threads": threads, **({} if batch_tokens is None else {"batch_tokens": batch_tokens})}
    engine = "toxonnx.measure.engines:bundle"
    contenders = [Contender(f"toxonnx, {manifest.name}", engine, {"model": str(opened.path), **ours})]
    same: set[str] = set()
    for number, one in enumerate(against):
        if one != "pytorch" and (Path(one) / MANIFEST).is_file():
            contenders.append(Contender(f"toxonnx, {Path(one).name}", engine, {"model": one, **ours}))
            same.add(contenders[-1].name)
            continue
        checkpoint = scratch / str(number)
        what = _checkpoint(opened, one, checkpoint)
        options = {
            "model": str(checkpoint), "threads": threads, "max_length": manifest.max_length, "batch": 32,
            "normalise": list(manifest.text.normalise), "multi": manifest.labels.multi,
        }  # fmt: skip
        pair = (
            Contender(f"transformers pipeline, {what}", "toxonnx.measure.engines:pipeline", options),
            Contender(f"PyTorch sorted, {what}", "toxonnx.measure.engines:pytorch", options),
        )
        contenders += pair
        if one != "pytorch":
            same |= {contender.name for contender in pair}
    names = [contender.name for contender in contenders]
    if len(set(names)) != len(names):
        raise click.UsageError("the same contender is named twice")
    return contenders, frozenset(same)


def _checkpoint(opened: Bundle, source: str, folder: Path) -> str:
    """Writes what PyTorch is to run; returns what to call it."""
    from toxonnx.cli.chatter import hush
    from toxonnx.extras import require

    require("baseline")
    hush()
    if source == "pytorch":
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

        model = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(opened.path))
        tokenizer, what = AutoTokenizer.from_pretrained(opened.path), "random weights"
    else:
        require("train")
        from toxonnx.train.merge import load_trained

        trained = load_trained(source)
        model, tokenizer, what = trained.model, trained.tokenizer, Path(source).name
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return what


def _cold_starts(contenders: list[Contender], opened: Bundle, scratch: Path) -> dict[str, Any]:
    """From nothing to the score of one row: for bundles the command itself, for others a process that does as much."""
    from toxonnx.measure.race import WORKER
    from toxonnx.measure.report import cold_start

    row = scratch / "row.csv"
    column = opened.manifest.text.columns or ("text",)
    row.write_text(f"{','.join(column)}\n{','.join('What a lovely morning' for _ in column)}\n", encoding="utf-8")
    texts = scratch / "row.json"
    texts.write_text(json.dumps(["What a lovely morning"]), encoding="utf-8")
    commands = ({"do": "texts", "file": str(texts)}, {"do": "score"})
    colds = {}
    for contender in contenders:
        _say(f"cold start of {contender.name}")
        if contender.factory.endswith(":bundle"):
            line = [sys.executable, "-m", "toxonnx", "predict", str(row), "--bundle", contender.options["model"]]
            colds[contender.name] = cold_start([*line, *(f"--text={name}" for name in column)], COLD_STARTS)
        else:
            given = "".join(json.dumps(line) + "\n" for line in (contender.spec, *commands))
            colds[contender.name] = cold_start([contender.python, str(WORKER)], COLD_STARTS, given)
    return colds


def _figures(opened: Bundle, texts: list[str]) -> dict[str, Any]:
    from toxonnx.measure.report import padding, text_figures
    from toxonnx.tokens import Tokenizer

    clean = [opened.manifest.text.clean(text) for text in texts]
    tokens = Tokenizer(opened.path / "tokenizer.json", opened.manifest.max_length)(clean)
    shares = {
        "batches of 32 in the file's order": padding(tokens.lengths, 32, ordered=False),
        "batches of 32 ordered by length": padding(tokens.lengths, 32, ordered=True),
        "toxonnx, batches of one length": 0.0,
    }
    return {**text_figures(clean, tokens.lengths, tokens.truncated), "padding": shares}


def _say(line: str) -> None:
    click.echo(line, err=True)


def _show(report: dict[str, Any]) -> None:
    from statistics import median

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 132)
    first, *others = report["contenders"]
    texts, machine = report["texts"], report["machine"]
    table = Table(box=None, padding=(0, 2, 0, 0))
    headings = ["", "rows/s", "of rounds", "p50 ms", "p99 ms", "peak MB", "cold start s", "its MB"]
    headings += ["a million rows"] if report["price_per_hour"] is not None else []
    for at, heading in enumerate(headings):
        table.add_column(heading, justify="right" if at else "left", no_wrap=bool(at))
    for entry in report["contenders"]:
        rate, latency, cold = (entry[key] for key in ("rows_per_second", "latency_ms", "cold_start"))
        cells = [
            escape(entry["name"]), f"{rate['median']:,.0f}", f"{rate['min']:,.0f}-{rate['max']:,.0f}",
            f"{latency['p50']:.2f}", f"{latency['p99']:.2f}", f"{entry['peak_memory_mb']:,.0f}",
            f"{median(cold['seconds']):.2f}", f"{cold['peak_memory_mb']:,.0f}",
        ]  # fmt: skip
        if entry["cost_per_million_rows"] is not None:
            cells.append(f"{entry['cost_per_million_rows']:.3f}")
        table.add_row(*cells)
    console.print(table)
    lines = [
        f"{texts['from']}: {texts['distinct']:,} distinct, {texts['tokens_mean']} tokens on average, "
        f"{texts['truncated']} cut",
        f"{machine['cpu']}, {report['threads']} cores, {', '.join(machine['instruction_sets'])}",
    ]
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
    console.print("\n".join(map(escape, lines)), highlight=False, soft_wrap=True)
