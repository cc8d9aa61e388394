"""``toxonnx map-scores``"""

from __future__ import annotations

from dataclasses import asdict
from decimal import ROUND_FLOOR, Context
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toxonnx.cli.options import (
    FiniteRange,
    device_options,
    read_options,
    text_column_option,
    threads_option,
    warn_of_fallback,
)
from toxonnx.errors import InputError, RowError
from toxonnx.records import to_json

if TYPE_CHECKING:
    from toxonnx.evaluate.score_map import ScoreMap
    from toxonnx.io.base import ReadOptions
    from toxonnx.io.table import Table
    from toxonnx.manifest import Manifest

DEFAULT_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@click.command("map-scores")
@click.argument("data", type=click.Path(path_type=Path))
@text_column_option
@click.option(
    "--score-column", "score_columns", multiple=True, required=True, metavar="COLUMN[=LABEL]",
    help="Column with old scores from 0 to 1, and the label to compare them with, if the bundle has none of that name; "
    "repeatable. Names of Perspective and OpenAI that the bundle maps are known.",
)  # fmt: skip
@click.option("--bundle", metavar="DIR|NAME", help="The model  [default: the one that ships with toxonnx]")
@click.option(
    "--threshold", "thresholds", type=FiniteRange(0, 1, min_open=True), multiple=True, default=DEFAULT_THRESHOLDS,
    help="A threshold of old scores to map; repeatable  [default: 0.5, 0.6, 0.7, 0.8, 0.9]",
)  # fmt: skip
@device_options
@threads_option
@read_options
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the maps as JSON.")
@click.option("--force", is_flag=True, help="Replace this file if it exists.")
def command(
    data: Path,
    text_columns: tuple[str, ...],
    score_columns: tuple[str, ...],
    bundle: str | None,
    thresholds: tuple[float, ...],
    device: str,
    allow_fallback: bool,
    threads: int | None,
    reading: ReadOptions,
    json_path: Path | None,
    force: bool,
) -> None:
    """Find the thresholds that replace those for the scores of another service.

    DATA has texts, and the scores that another service gave them, from 0 to 1; an empty cell is no score. A monotone
    map is fitted from these scores to the probabilities of a label: as many texts reach the new threshold as reached
    the old one.
    """
    import numpy as np

    from toxonnx.bundle import open_bundle
    from toxonnx.cli.outputs import open_outputs
    from toxonnx.data.label_columns import join_texts
    from toxonnx.evaluate.score_map import fit_score_map
    from toxonnx.inference.classifier import Classifier
    from toxonnx.inference.options import RuntimeOptions
    from toxonnx.io.table import read_table
    from toxonnx.resources import find_bundle

    opened = open_bundle(find_bundle(bundle))
    manifest = opened.manifest
    columns: dict[str, str] = {}
    for option in score_columns:
        column, label = _column_and_label(option, manifest)
        if column in columns:
            raise InputError(
                f"--score-column names the column {column!r} twice", "Run the command once for each of its labels."
            )
        columns[column] = label
    table = read_table(data, reading)
    scores = {column: _scores(table, column) for column in columns}
    texts = join_texts(table, manifest.text, text_columns)
    with open_outputs({"--json": json_path}, inputs=[data], force=force) as outputs:
        options = RuntimeOptions(device=device, allow_fallback=allow_fallback, threads=threads)
        classifier = Classifier(opened, options)
        warn_of_fallback(classifier)
        probabilities = classifier.score(texts).probabilities
        maps = {}
        for column, label in columns.items():
            rows = [row for row, score in enumerate(scores[column]) if score is not None]
            old = np.array([scores[column][row] for row in rows], dtype=np.float64)
            new = probabilities[rows, manifest.labels.names.index(label)]
            try:
                maps[column] = fit_score_map(old, new, [texts[row] for row in rows], sorted(set(thresholds)))
            except InputError as error:
                raise InputError(f"{data}, column {column!r}: {error.what}", error.hint) from None
        if "--json" in outputs:
            report = {
                "bundle": {"name": manifest.name, "sha256": opened.seal},
                "maps": {column: {"label": columns[column], **asdict(one)} for column, one in maps.items()},
            }
            outputs["--json"].write(to_json(report))
    for column, one in maps.items():
        _print(column, f"{columns[column]} of {manifest.name} ({opened.seal[:16]})", one)


def _column_and_label(text: str, manifest: Manifest) -> tuple[str, str]:
    """A column of old scores, and the label that they are compared with."""
    column, sign, label = text.rpartition("=")  # a column may have an = in its name
    column = column if sign else text
    known = manifest.labels.names
    names = {name: label for of_service in manifest.mappings.values() for name, label in of_service.items()}
    if not sign:
        label = names.get(column, column)
    if label not in known:
        raise InputError(
            f"{manifest.name} has no label {label!r}",
            f"If one of its labels means the same, use --score-column {column}=LABEL; they are {', '.join(known)}.",
        )
    return column, label


def _scores(table: Table, column: str) -> list[float | None]:
    """The scores in a column; None for a missing one."""
    from toxonnx.data.label_values import is_missing, read_number

    scores: list[float | None] = []
    for line, cell in zip(table.lines, map(str.strip, table.column(column)), strict=True):
        score = None if is_missing(cell) else read_number(cell)
        if score is not None and not 0 <= score <= 1:
            raise RowError(str(table.path), line, f"{column!r} is not a score from 0 to 1")
        scores.append(score)
    return scores


def _print(column: str, label: str, found: ScoreMap) -> None:
    from toxonnx.cli.console import Terminal
    from toxonnx.wording import plural

    terminal = Terminal(width=100)
    terminal.print_text(f"\n{column} → {label}", "bold")
    terminal.print_text(f"{found.rows:,} texts; rank correlation {found.rank_correlation:.3f}")
    rows = [
        [f"{one.old:.10g}", "" if one.new is None else _round_down(one.new), *(
            "" if share is None else f"{share:.1%}" for share in (one.flagged_old, one.flagged_new, one.agreement)
        )]
        for one in found.thresholds
    ]  # fmt: skip
    terminal.table(["old threshold", "new", "flagged before", "flagged now", "same decision"], rows, left=0)
    for one in found.thresholds:
        if one.new is None:
            above, below = one.reached, found.rows - one.reached
            few = plural(above, "text reaches", "texts reach")
            if below < above:
                few = plural(below, "text stays below", "texts stay below")
            terminal.print_text(f"{few} {one.old:.10g}, too few for a new threshold: add such texts")


def _round_down(threshold: float) -> str:
    """Its first six digits: rounded up, it could be above the probability of texts that reach it."""
    return f"{float(Context(prec=6, rounding=ROUND_FLOOR).create_decimal_from_float(threshold)):.6g}"
