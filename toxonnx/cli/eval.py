"""``toxonnx eval``"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toxonnx.cli.options import device_options, read_options, text_column_option, threads_option, warn_of_fallback
from toxonnx.records import to_json

if TYPE_CHECKING:
    from toxonnx.evaluate.models import EvaluatedModel
    from toxonnx.evaluate.sections import Section
    from toxonnx.io.base import ReadOptions

#: smallest number of bootstrap samples for a 95% interval, and largest number of columns of a table on a terminal
MIN_BOOTSTRAP_SAMPLES, MAX_COLUMNS = 100, 14


@click.command("eval")
@click.argument("bundle")
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--compare", multiple=True, metavar="DIR|NAME", help="Another bundle, a run or a checkpoint; repeatable.")
@text_column_option
@click.option(
    "--label-column", "label_columns", multiple=True, metavar="COLUMN",
    help="Column with the label; repeatable for a multi-label model.",
)  # fmt: skip
@click.option(
    "--label-map",
    metavar="NAME=LABEL,...",
    help="Labels of the model for the values of the label column, or (multi-label) for label columns.",
)
@click.option("--group-by", multiple=True, metavar="COLUMN", help="Metrics for each value of a column; repeatable.")
@click.option("--suite", metavar="NAME|FILE", help="A functional suite: hatecheck, or a TOML file that defines one.")
@click.option("--cases", type=click.Path(path_type=Path), help="The suite's cases.")
@click.option(
    "--positive-labels", multiple=True, metavar="LABEL,...",
    help="Labels that correspond to the suite's positive label; repeatable, one evaluation each.",
)  # fmt: skip
@click.option(
    "--bootstrap-samples", type=click.IntRange(min=0), default=1000, show_default=True,
    help="Number of bootstrap samples for intervals; 0 for no intervals.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed of the bootstrap.")
@threads_option
@device_options
@read_options
@click.option("--fail-under", metavar="METRIC=X", multiple=True, help="Exit code 1 if a metric is below X; repeatable.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the report as JSON.")
@click.option("--markdown", "markdown_path", type=click.Path(path_type=Path), help="Write the tables as Markdown.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write an HTML page with plots.")
@click.option("--force", is_flag=True, help="Replace these files if they exist.")
def command(
    bundle: str,
    data: Path | None,
    compare: tuple[str, ...],
    text_columns: tuple[str, ...],
    label_columns: tuple[str, ...],
    label_map: str | None,
    group_by: tuple[str, ...],
    suite: str | None,
    cases: Path | None,
    positive_labels: tuple[str, ...],
    bootstrap_samples: int,
    seed: int,
    threads: int | None,
    device: str,
    allow_fallback: bool,
    reading: ReadOptions,
    fail_under: tuple[str, ...],
    json_path: Path | None,
    markdown_path: Path | None,
    html_path: Path | None,
    force: bool,
) -> None:
    """Evaluate BUNDLE on labelled rows (DATA), on a functional suite, or on both.

    Metrics have 95% intervals. Rows that the model has seen in training are identified by their fingerprints, and
    metrics are given with and without them.
    """
    from toxonnx.cli.console import log
    from toxonnx.cli.outputs import open_outputs
    from toxonnx.errors import InputError
    from toxonnx.evaluate.gate import check_metrics, parse_limits
    from toxonnx.evaluate.loading import load_models
    from toxonnx.evaluate.report import BootstrapOptions
    from toxonnx.evaluate.run import LabelledFile, evaluate_models
    from toxonnx.evaluate.sections import markdown, sections
    from toxonnx.evaluate.suites import read_suite_request
    from toxonnx.extras import require
    from toxonnx.inference.options import RuntimeOptions
    from toxonnx.io.table import read_table

    require("cpu")
    if html_path:
        require("bench")
    if data is None and suite is None:
        raise InputError("there is nothing to evaluate on", "Give a labelled file, or --suite NAME --cases FILE.")
    if data is None and (group_by or fail_under or text_columns or label_columns or label_map):
        raise InputError("--group-by, --fail-under, --text-column, --label-column and --label-map need DATA")
    if 0 < bootstrap_samples < MIN_BOOTSTRAP_SAMPLES:
        raise InputError(
            f"{bootstrap_samples} bootstrap samples are too few for a 95% interval",
            f"Use at least {MIN_BOOTSTRAP_SAMPLES}, or 0 for no intervals.",
        )
    limits = parse_limits(fail_under)
    names = _parse_label_map(label_map)
    request = read_suite_request(suite, cases, positive_labels, reading)
    file = LabelledFile(read_table(data, reading), text_columns, label_columns, names, group_by) if data else None
    paths = {"--json": json_path, "--markdown": markdown_path, "--html": html_path}
    with open_outputs(paths, inputs=(data, cases), force=force) as outputs:
        options = RuntimeOptions(device=device, allow_fallback=allow_fallback, threads=threads)
        models = load_models((bundle, *compare), options, _load_checkpoint, on_bundle=warn_of_fallback)
        report = evaluate_models(models, file, request, BootstrapOptions(bootstrap_samples, seed), log)
        tables = sections(report)
        if "--json" in outputs:
            with outputs["--json"] as json_file:  # complete, also if the page cannot be drawn
                json_file.write(to_json(report.to_dict()))
        if "--markdown" in outputs:
            with outputs["--markdown"] as markdown_file:
                markdown_file.write(markdown(tables))
        if "--html" in outputs:
            from toxonnx.evaluate.page import page

            outputs["--html"].write(page(report))
    _print(tables)
    check_metrics(report, limits)


def _load_checkpoint(source: str, on_gpu: bool) -> EvaluatedModel:
    """A run, adapter or checkpoint in PyTorch."""
    from toxonnx.cli.quiet import silence_transformers
    from toxonnx.extras import require

    require("train")
    silence_transformers()
    from toxonnx.convert.evaluated_checkpoint import evaluated_checkpoint

    return evaluated_checkpoint(source, on_gpu=on_gpu)


def _parse_label_map(text: str | None) -> dict[str, str]:
    from toxonnx.errors import InputError

    pairs = [pair.partition("=") for pair in text.split(",")] if text else []
    if not all(sign and name.strip() for _, sign, name in pairs):
        raise InputError(f"--label-map must be NAME=LABEL,..., got {text!r}")
    values = [value.strip() for value, _, _ in pairs]
    if repeated := [value for value in values if values.count(value) > 1]:
        raise InputError(f"--label-map {text!r} has two labels for {repeated[0]}")
    return {value.strip(): name.strip() for value, _, name in pairs}


def _print(tables: Sequence[Section]) -> None:
    from toxonnx.cli.console import Terminal

    terminal = Terminal(width=200)
    for table in tables:
        terminal.print_text(f"\n{table.title}", "bold")
        for text in table.alerts:
            terminal.print_text(text, "bold red")
        for note in table.notes:
            terminal.print_text(note)
        if len(table.header) > MAX_COLUMNS:
            terminal.print_text(
                f"{len(table.header)} columns are too many for a terminal; use --json, --markdown or --html"
            )
        elif table.rows:
            terminal.table(table.header, table.rows, left=table.left)
