"""``toxonnx eval``"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from toxonnx.evaluate.models import Model


@click.command("eval")
@click.argument("bundle")
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--against", multiple=True, metavar="DIR|NAME", help="Another bundle, a run or a checkpoint; repeatable.")
@click.option("--text", multiple=True, metavar="COLUMN", help="Text column of DATA; again for each further one.")
@click.option("--label", multiple=True, metavar="COLUMN", help="Label column of DATA; one a label for several labels.")
@click.option("--names", metavar="VALUE=LABEL,...", help="What the values of the label column mean, where they differ.")
@click.option("--by", multiple=True, metavar="COLUMN", help="Figures for each value of this column too; repeatable.")
@click.option("--suite", metavar="NAME|FILE", help="A functional suite: hatecheck, or a TOML file that defines one.")
@click.option("--cases", type=click.Path(path_type=Path), help="The suite's cases.")
@click.option(
    "--positive", multiple=True, metavar="LABEL,...", help="Labels that mean what the suite asks for; again to compare."
)
@click.option("--draws", type=click.IntRange(min=0), default=1000, show_default=True, help="Resamples for intervals.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resamples.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads that score; all allowed cores if not given.")
@click.option("--encoding", help="Encoding of the files; UTF-8 if not given.")
@click.option("--delimiter", help="Delimiter of the files, or tab; a comma (a tab for .tsv) if not given.")
@click.option("--at-least", metavar="FIGURE=X", multiple=True, help="Exit code 1 unless, say, macro_f1=0.8 is reached.")
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
    draws: int,
    seed: int,
    threads: int | None,
    encoding: str | None,
    delimiter: str | None,
    at_least: tuple[str, ...],
    json_path: Path | None,
    markdown_path: Path | None,
    html_path: Path | None,
    force: bool,
) -> None:
    """Measure what BUNDLE gets right on labelled rows (DATA), on a functional suite, or on both.

    Every figure comes with a 95% interval. Rows that the model met in training are found by their hashes, and figures
    are given with and without them.
    """
    from toxonnx import __version__
    from toxonnx.errors import InputError
    from toxonnx.evaluate.models import score, suite_report
    from toxonnx.evaluate.report import compare, model_report
    from toxonnx.evaluate.sections import markdown, sections
    from toxonnx.evaluate.suites import read_questions
    from toxonnx.extras import require
    from toxonnx.rows import OutputFile, read_table

    require("cpu")
    if html_path:
        require("bench")
    if data is None and suite is None:
        raise InputError("nothing to evaluate on", "Give a labelled file, or --suite NAME --cases FILE.")
    if data is None and (by or at_least or text or label or names):
        raise InputError("--by, --at-least, --text, --label and --names are about DATA, which was not given")
    limits = _limits(at_least)
    meanings = _pairs(names, "--names")
    questions = read_questions(suite, cases, positive, encoding, delimiter)
    table = read_table(data, encoding, None, delimiter) if data else None
    groups = {column: table.column(column) for column in by} if table else {}
    with contextlib.ExitStack() as stack:
        sinks = {
            path: stack.enter_context(OutputFile(path, force=force))
            for path in (json_path, markdown_path, html_path)
            if path is not None
        }
        models = _distinct([_model(source, threads) for source in (bundle, *against)])
        report: dict[str, Any] = {
            "toxonnx": __version__, "file": None, "models": [], "comparisons": [], "suite": None,
            "intervals": {"draws": draws, "seed": seed},
        }  # fmt: skip
        if questions:
            click.echo(f"asking {len(questions.cases.texts):,} cases of {questions.suite.title}", err=True)
            report["suite"] = suite_report(questions, models)
        if table is not None and data is not None:
            first = models[0]
            other = next((model for model in models if model.labels.names != first.labels.names), None)
            if other:
                raise InputError(
                    f"{other.name} has the labels {', '.join(other.labels.names)}; "
                    f"{first.name} has {', '.join(first.labels.names)}",
                    "Models are compared on the same labels, in the same order.",
                )
            scored = []
            for model in models:
                click.echo(f"scoring {len(table):,} rows with {model.name}", err=True)
                scored.append(score(model, table, text=text, label=label, names=meanings))
            click.echo(f"measuring ({draws} resamples for each interval)", err=True)
            report["models"] = [model_report(one, groups, draws=draws, seed=seed) for one in scored]
            report["comparisons"] = [compare(scored[0], one, draws=draws, seed=seed) for one in scored[1:]]
            report["file"] = {
                "name": data.name, "rows": len(table), "distinct_texts": report["models"][0]["distinct_texts"],
            }  # fmt: skip
        found = sections(report)
        _show(found)
        if json_path:
            sinks[json_path].write(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        if markdown_path:
            sinks[markdown_path].write(markdown(found))
        if html_path:
            from toxonnx.evaluate.page import page

            sinks[html_path].write(page(report))
    _hold(report, limits)


def _model(source: str, threads: int | None) -> Model:
    """A bundle, by folder or name; anything else is for PyTorch."""
    from toxonnx.bundle import MANIFEST, open_bundle
    from toxonnx.errors import BundleError
    from toxonnx.evaluate.models import of_bundle
    from toxonnx.resources import find_bundle

    folder = Path(source)
    if not folder.is_dir() or (folder / MANIFEST).is_file():
        try:
            return of_bundle(open_bundle(find_bundle(source)), threads)
        except BundleError:
            if "/" not in source or folder.exists():
                raise
            # A hub id looks like this too.
    from toxonnx.cli.chatter import hush
    from toxonnx.extras import require

    require("train")
    hush()
    from toxonnx.convert.verify import of_checkpoint

    return of_checkpoint(source)


def _distinct(models: Sequence[Model]) -> list[Model]:
    """The same, each with a name of its own."""
    import dataclasses

    named: list[Model] = []
    for model in models:
        taken = sum(one.name == model.name or one.name.startswith(f"{model.name} (") for one in named)
        named.append(dataclasses.replace(model, name=f"{model.name} ({taken + 1})") if taken else model)
    return named


def _pairs(given: str | None, option: str) -> dict[str, str]:
    from toxonnx.errors import InputError

    pairs = [one.partition("=") for one in given.split(",")] if given else []
    if not all(sign and name.strip() for _, sign, name in pairs):
        raise InputError(f"{option} {given!r} is no list of VALUE=LABEL")
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
        if not sign or name.strip() not in known:
            raise InputError(f"--at-least {one!r} is no limit", f"Say FIGURE=X; the figures: {', '.join(known)}.")
    return limits


def _hold(report: dict[str, Any], limits: dict[str, float]) -> None:
    """Raises GateError unless the first model's figures, on rows it had not met, reach the limits."""
    from toxonnx.errors import GateError

    for name, limit in limits.items():
        model = report["models"][0]
        if "clean" not in model:
            raise GateError(f"{model['name']} was trained on every row: its {name} shows nothing")
        value = model["clean"]["figures"][name]
        if value is None or not value >= limit:
            raise GateError(f"{name} of {model['name']} is {value}, at least {limit:g} was asked for")


def _show(found: Sequence[Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 200)
    for part in found:
        console.print(f"\n[bold]{escape(part.title)}[/]", highlight=False)
        for note in part.notes:
            console.print(escape(note), highlight=False)
        if part.rows:
            table = Table(box=None, padding=(0, 2, 0, 0))
            for at, name in enumerate(part.header):
                table.add_column(escape(name), justify="right" if at >= part.left else "left")
            for row in part.rows:
                table.add_row(*map(escape, row))
            console.print(table)
