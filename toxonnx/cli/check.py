"""``toxonnx check``"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toxonnx.cli.options import read_options

if TYPE_CHECKING:
    from toxonnx.io.base import ReadOptions


@click.command("check")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--text-column", multiple=True, metavar="COLUMN", help="Column with the text; again for each further column."
)
@click.option(
    "--label-column", multiple=True, metavar="COLUMN",
    help="Column with the label; again for each further one, if a text may have several labels (columns of 0 and 1).",
)  # fmt: skip
@click.option("--recipe", metavar="NAME|FILE", help="A recipe that names columns, limit, group and shares.")
@click.option("--validation", type=click.Path(path_type=Path), help="A second labelled file, held beside DATA.")
@click.option("--bundle", metavar="DIR|NAME", help="Whose tokenizer counts; the bundle that ships if not given.")
@click.option("--max-length", type=click.IntRange(min=3), help="Tokens a model reads; the recipe's or the bundle's.")
@click.option(
    "--group", multiple=True, metavar="COLUMN", help="Rows that agree in this column (these columns) stay together."
)
@read_options
@click.option("--seed", type=click.IntRange(min=0), help="Of the splits; the recipe's, or 42.")
@click.option("--no-baseline", is_flag=True, help="Train nothing: no baselines, no columns by themselves.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all of it.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write one page with plots.")
@click.option("--force", is_flag=True, help="Replace these files if they exist.")
@click.option("--strict", is_flag=True, help="Exit code 1 if there is any error or warning.")
def command(
    data: Path,
    text: tuple[str, ...],
    label: tuple[str, ...],
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
    """Look for what makes the metrics of labelled DATA (CSV or TSV) lie, before training.

    Bad rows and labels, texts that stand there twice, splits that flatter, columns that give the label away, and what
    counting words scores. Nothing that it says or writes holds the text of a row.
    """
    from toxonnx.bundle import open_bundle
    from toxonnx.cli.outputs import open_outputs
    from toxonnx.errors import GateError, MachineError
    from toxonnx.extras import require
    from toxonnx.recipe import load_recipe
    from toxonnx.resources import find_bundle

    wanted_recipe = load_recipe(recipe) if recipe else None
    require("check")
    opened = open_bundle(find_bundle(bundle))
    from toxonnx.check.columns import Wanted
    from toxonnx.check.report import check
    from toxonnx.inference.tokenizer import Tokenizer

    limit = max_length or (None if wanted_recipe else opened.manifest.max_length)
    wanted = Wanted(
        data, wanted_recipe, text, label, group, limit, seed, validation, reading, not no_baseline
    )  # fmt: skip
    # It has to count what lies behind the limit too.
    tokenizer = Tokenizer(opened.path / "tokenizer.json", 1 << 24)
    paths = {"--json": json_path, "--html": html_path}
    with open_outputs(paths, inputs=[data, validation], force=force) as sinks:
        try:
            report = check(wanted, tokenizer, opened.manifest.name, _log)
        except MemoryError:
            raise MachineError(f"{data}: there is not enough memory", "Check a part of the file.") from None
        if "--json" in sinks:
            sinks["--json"].write(json.dumps(report, indent=1) + "\n")
        if "--html" in sinks:
            from toxonnx.check.page import page

            sinks["--html"].write(page(report))
    _show(report)
    bad = report["counts"]["error"] + report["counts"]["warning"]
    if strict and bad:
        raise GateError(f"{data}: {bad} finding{'s' * (bad > 1)} of severity error or warning")


def _log(line: str) -> None:
    click.echo(line, err=True)


def _show(report: dict[str, Any]) -> None:
    from toxonnx.check.render import baseline_table, class_table, column_table, fact_lines, finding_lines, verdict
    from toxonnx.cli.console import Terminal

    screen = Terminal(132)
    screen.table(["", ""], [[key, value] for key, value in fact_lines(report).items()], left=2)
    screen.print_text("")
    screen.table(*class_table(report))
    for one in report["findings"]:
        colour = {"error": "red", "warning": "yellow", "note": "cyan"}[one["severity"]]
        first, *others = finding_lines(one)
        screen.print_text("")
        screen.print_text(f"{one['severity']} {first}", f"bold {colour}")
        for line in others:
            screen.print_text(f"  {line}")
    for title, (header, rows) in (
        ("what needs no transformer (TF-IDF and logistic regression)", baseline_table(report)),
        ("each column by itself", column_table(report)),
    ):
        if rows:
            screen.print_text("")
            screen.print_text(title, "bold")
            screen.table(header, rows)
    for line in report["left_out"]:
        screen.print_text(f"left out: {line}")
    screen.print_text("")
    screen.print_text(verdict(report))
