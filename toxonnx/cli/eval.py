"""``toxonnx eval``"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toxonnx.cli.options import device_options, read_options, warn_of_fallback

if TYPE_CHECKING:
    from toxonnx.evaluate.models import Model
    from toxonnx.evaluate.sections import Section
    from toxonnx.io.base import ReadOptions

#: resamples under which an interval means nothing, and columns over which a table does not fit a terminal
MIN_BOOTSTRAP_SAMPLES, WIDEST = 100, 14


@click.command("eval")
@click.argument("bundle")
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--compare", multiple=True, metavar="DIR|NAME", help="Another bundle, a run or a checkpoint; repeatable.")
@click.option("--text-column", multiple=True, metavar="COLUMN", help="Text column of DATA; again for each further one.")
@click.option(
    "--label-column", multiple=True, metavar="COLUMN", help="Label column of DATA; one a label for several labels."
)
@click.option(
    "--label-map", metavar="VALUE=LABEL,...", help="What the values of the label column mean, where they differ."
)
@click.option(
    "--group-by", multiple=True, metavar="COLUMN", help="Metrics for each value of this column too; repeatable."
)
@click.option("--suite", metavar="NAME|FILE", help="A functional suite: hatecheck, or a TOML file that defines one.")
@click.option("--cases", type=click.Path(path_type=Path), help="The suite's cases.")
@click.option(
    "--positive-labels",
    multiple=True,
    metavar="LABEL,...",
    help="Labels that mean what the suite asks for; again to compare.",
)
@click.option(
    "--bootstrap-samples", type=click.IntRange(min=0), default=1000, show_default=True, help="Resamples for intervals."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resamples.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Batches scored at a time; one a core that may be used, two on a GPU, if not given.",
)
@device_options
@read_options
@click.option(
    "--fail-under", metavar="FIGURE=X", multiple=True, help="Exit code 1 unless, log, macro_f1=0.8 is reached."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all of it.")
@click.option("--markdown", "markdown_path", type=click.Path(path_type=Path), help="Write the tables for GitHub.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write one page with plots.")
@click.option("--force", is_flag=True, help="Replace these files if they exist.")
def command(
    bundle: str,
    data: Path | None,
    against: tuple[str, ...],
    text: tuple[str, ...],
    label: tuple[str, ...],
    names: str | None,
    by: tuple[str, ...],
    suite: str | None,
    cases: Path | None,
    positive: tuple[str, ...],
    bootstrap_samples: int,
    seed: int,
    threads: int | None,
    device: str,
    allow_fallback: bool,
    reading: ReadOptions,
    at_least: tuple[str, ...],
    json_path: Path | None,
    markdown_path: Path | None,
    html_path: Path | None,
    force: bool,
) -> None:
    """Measure what BUNDLE gets right on labelled rows (DATA), on a functional suite, or on both.

    Metrics come with 95% intervals. Rows that the model met in training are found by their hashes, and metrics are
    given with and without them.
    """
    from toxonnx.cli.outputs import open_outputs
    from toxonnx.errors import InputError
    from toxonnx.evaluate.run import Asked, evaluate_models
    from toxonnx.evaluate.sections import markdown, sections
    from toxonnx.evaluate.suites import read_questions
    from toxonnx.extras import require
    from toxonnx.io.table import read_table

    require("cpu")
    if html_path:
        require("bench")
    if data is None and suite is None:
        raise InputError("nothing to evaluate on", "Give a labelled file, or --suite NAME --cases FILE.")
    if data is None and (by or at_least or text or label or names):
        raise InputError(
            "--group-by, --fail-under, --text-column, --label-column and --label-map are about DATA, which was not given"
        )
    if 0 < bootstrap_samples < MIN_BOOTSTRAP_SAMPLES:
        raise InputError(
            f"{bootstrap_samples} resamples are too few for a 95% interval",
            f"Say {MIN_BOOTSTRAP_SAMPLES} or more, or 0 for none.",
        )
    limits = _limits(at_least)
    meanings = _pairs(names)
    questions = read_questions(suite, cases, positive, reading)
    asked = Asked(read_table(data, reading), text, label, meanings, by) if data else None
    paths = {"--json": json_path, "--markdown": markdown_path, "--html": html_path}
    with open_outputs(paths, inputs=(data, cases), force=force) as sinks:
        models = [_model(bundle, threads, device, allow_fallback)]
        # The others run where they can: an int8 bundle beside one for the GPU stays on the CPU.
        models += [_model(source, threads, "cpu" if device == "cpu" else "auto", allow_fallback) for source in against]
        models = _distinct(models)
        report = evaluate_models(models, asked, questions, bootstrap_samples=bootstrap_samples, seed=seed, log=_log)
        found = sections(report)
        if "--json" in sinks:
            sinks["--json"].write(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        if "--markdown" in sinks:
            sinks["--markdown"].write(markdown(found))
        if "--html" in sinks:
            from toxonnx.evaluate.page import page

            sinks["--html"].write(page(report))
    _show(found)
    _hold(report, limits)


def _log(line: str) -> None:
    click.echo(line, err=True)


def _model(source: str, threads: int | None, device: str, allow_fallback: bool) -> Model:
    """A bundle, by folder or name; anything else is for PyTorch."""
    from toxonnx.bundle import MANIFEST, open_bundle
    from toxonnx.errors import BundleError
    from toxonnx.evaluate.models import of_bundle
    from toxonnx.inference.classifier import Classifier
    from toxonnx.inference.options import RuntimeOptions
    from toxonnx.resources import find_bundle

    folder = Path(source)
    if not folder.is_dir() or (folder / MANIFEST).is_file():
        try:
            opened = open_bundle(find_bundle(source))
        except BundleError:
            if "/" not in source or folder.exists():
                raise
            # A hub id looks like this too.
        else:
            classifier = Classifier(
                opened, RuntimeOptions(device=device, allow_fallback=allow_fallback, threads=threads)
            )
            warn_of_fallback(classifier)
            return of_bundle(classifier)
    from toxonnx.cli.quiet import silence_transformers
    from toxonnx.extras import require

    require("train")
    silence_transformers()
    from toxonnx.convert.verify import of_checkpoint

    return of_checkpoint(source, on_gpu=device != "cpu")


def _distinct(models: Sequence[Model]) -> list[Model]:
    """The same, each with a name of its own."""
    import dataclasses

    named: list[Model] = []
    for model in models:
        taken = sum(one.name == model.name or one.name.startswith(f"{model.name} (") for one in named)
        named.append(dataclasses.replace(model, name=f"{model.name} ({taken + 1})") if taken else model)
    return named


def _pairs(given: str | None) -> dict[str, str]:
    from toxonnx.errors import InputError

    pairs = [one.partition("=") for one in given.split(",")] if given else []
    if not all(sign and name.strip() for _, sign, name in pairs):
        raise InputError(f"--label-map {given!r} is no list of VALUE=LABEL")
    return {value.strip(): name.strip() for value, _, name in pairs}


def _limits(at_least: Sequence[str]) -> dict[str, float]:
    from toxonnx.errors import InputError

    known = ("accuracy", "macro_f1", "weighted_f1", "roc_auc", "average_precision")
    limits = {}
    for one in at_least:
        name, sign, value = one.partition("=")
        try:
            limits[name.strip()] = float(value)
        except ValueError:
            sign = ""
        if not sign or name.strip() not in known or not 0 <= limits[name.strip()] <= 1:
            raise InputError(
                f"--fail-under {one!r} is no limit", f"Say FIGURE=X, X from 0 to 1; the metrics: {', '.join(known)}."
            )
    return limits


def _hold(report: dict[str, Any], limits: dict[str, float]) -> None:
    """Raises GateError unless the first model's metrics, on rows it had not met, reach the limits."""
    from toxonnx.errors import GateError

    model, missed = report["models"][0] if report["models"] else {}, []
    if limits and "clean" not in model:
        raise GateError(f"{model['name']} has met every row before: metrics on them show nothing")
    for name, limit in limits.items():
        value = model["clean"]["metrics"][name]
        if value is None or not value >= limit:
            missed.append(f"{name} is {'undefined' if value is None else format(value, '.4f')}, asked for {limit:g}")
    if missed:
        raise GateError(f"{model['name']}, on {model['clean']['rows']:,} rows: {'; '.join(missed)}")


def _show(found: Sequence[Section]) -> None:
    from toxonnx.cli.console import Terminal

    screen = Terminal(width=200)
    for part in found:
        screen.print_text(f"\n{part.title}", "bold")
        for note in part.notes:
            screen.print_text(note)
        if len(part.header) > WIDEST:
            screen.print_text(
                f"{len(part.header)} columns: too many to show here; they stand in --json, --markdown and --html"
            )
        elif part.rows:
            screen.table(part.header, part.rows, left=part.left)
