"""``toxonnx check``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toxonnx.cli.options import read_options, text_column_option
from toxonnx.records import to_json
from toxonnx.wording import plural

if TYPE_CHECKING:
    from toxonnx.check.report import CheckReport
    from toxonnx.io.base import ReadOptions

SEVERITY_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
#: no text is truncated, since tokens beyond the model's maximum length are counted too
UNLIMITED = 1 << 24


@click.command("check")
@click.argument("data", type=click.Path(path_type=Path))
@text_column_option
@click.option(
    "--label-column", "label_columns", multiple=True, metavar="COLUMN",
    help="Column with the label; repeat for columns of 0 and 1, if a text can have several labels.",
)  # fmt: skip
@click.option("--recipe", metavar="NAME|FILE", help="Recipe with the columns, maximum length, group and shares.")
@click.option("--validation", type=click.Path(path_type=Path), help="A validation file to compare DATA with.")
@click.option(
    "--bundle", metavar="DIR|NAME",
    help="Bundle whose tokenizer counts the tokens  [default: the one that ships with toxonnx]",
)  # fmt: skip
@click.option(
    "--max-length", type=click.IntRange(min=3, max=1_000_000),
    help="Tokens that the model reads  [default: the recipe's; without a recipe, the bundle's]",
)  # fmt: skip
@click.option(
    "--group", multiple=True, metavar="COLUMN",
    help="Group column, repeatable: rows with equal values in all group columns stay on one side of a split.",
)  # fmt: skip
@read_options
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the splits  [default: the recipe's, or 42]")
@click.option("--no-baseline", is_flag=True, help="Skip the baselines and the check of single columns.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the report as JSON to this file.")
@click.option(
    "--html", "html_path", type=click.Path(path_type=Path), help="Write the report as an HTML page to this file."
)
@click.option("--force", is_flag=True, help="Replace these files if they exist.")
@click.option("--strict", is_flag=True, help="Exit with code 1 if there is an error or a warning.")
def command(
    data: Path,
    text_columns: tuple[str, ...],
    label_columns: tuple[str, ...],
    recipe: str | None,
    validation: Path | None,
    bundle: str | None,
    max_length: int | None,
    group: tuple[str, ...],
    reading: ReadOptions,
    seed: int | None,
    no_baseline: bool,
    json_path: Path | None,
    html_path: Path | None,
    force: bool,
    strict: bool,
) -> None:
    """Find problems in labelled DATA that would inflate the metrics of a model trained on it.

    DATA is CSV, TSV, JSON lines or Parquet.

    Reports bad rows and labels, duplicates, splits that leak, columns that predict the label, and the scores of a
    TF-IDF baseline. Reports never contain the text of a row.
    """
    from toxonnx.bundle import open_bundle
    from toxonnx.cli.console import log
    from toxonnx.cli.outputs import open_outputs
    from toxonnx.errors import GateError, MachineError
    from toxonnx.extras import require
    from toxonnx.recipe_files import load_recipe
    from toxonnx.resources import find_bundle

    loaded_recipe = load_recipe(recipe) if recipe else None
    require("check")
    opened = open_bundle(find_bundle(bundle))
    from toxonnx.check.options import CheckOptions
    from toxonnx.check.run import check
    from toxonnx.inference.tokenizer import Tokenizer

    options = CheckOptions(
        data=data, recipe=loaded_recipe, text_columns=text_columns, label_columns=label_columns, group=group,
        max_length=max_length or (None if loaded_recipe else opened.manifest.max_length), seed=seed,
        validation=validation, reading=reading, with_baseline=not no_baseline,
    )  # fmt: skip
    tokenizer = Tokenizer(opened.path / "tokenizer.json", UNLIMITED)
    paths = {"--json": json_path, "--html": html_path}
    with open_outputs(paths, inputs=[data, validation], force=force) as outputs:
        try:
            report = check(options, tokenizer, opened.manifest.name, log)
        except MemoryError:
            raise MachineError(f"{data}: not enough memory", "Check a part of the file.") from None
        if "--json" in outputs:
            with outputs["--json"] as json_file:  # complete, also if the page cannot be drawn
                json_file.write(to_json(report.to_dict()))
        if "--html" in outputs:
            from toxonnx.check.page import page

            outputs["--html"].write(page(report))
    _print_report(report)
    counts = report.counts()
    severe = counts["error"] + counts["warning"]
    if strict and severe:
        raise GateError(f"{data}: {plural(severe, 'finding')} of severity error or warning")


def _print_report(report: CheckReport) -> None:
    from toxonnx.check.render import (
        baseline_table,
        class_table,
        column_table,
        fact_lines,
        finding_lines,
        summary_line,
    )
    from toxonnx.cli.console import Terminal

    terminal = Terminal(132)
    terminal.table(["", ""], [[key, value] for key, value in fact_lines(report).items()], left=2)
    terminal.print_text("")
    terminal.table(*class_table(report))
    for finding in report.findings:
        first, *others = finding_lines(finding)
        terminal.print_text("")
        terminal.print_text(f"{finding.severity} {first}", f"bold {SEVERITY_COLOURS[finding.severity]}")
        for line in others:
            terminal.print_text(f"  {line}")
    for title, (header, rows) in (
        ("Baselines (TF-IDF and logistic regression)", baseline_table(report)),
        ("Single columns as predictors of the label", column_table(report)),
    ):
        if rows:
            terminal.print_text("")
            terminal.print_text(title, "bold")
            terminal.table(header, rows)
    for limitation in report.limitations:
        terminal.print_text(f"limitation: {limitation}")
    terminal.print_text("")
    terminal.print_text(summary_line(report))
