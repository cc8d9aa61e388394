"""Cells that a recipe makes part of the loss: shares, votes and weights that training would refuse."""

from __future__ import annotations

import math
from collections.abc import Iterable

from toxonnx.check.finding import Finding, format_share, make_finding
from toxonnx.check.raw_table import RawTable
from toxonnx.check.row_labels import RowLabels
from toxonnx.data.label_values import whole_number
from toxonnx.recipe import Recipe

__all__ = ["target_findings"]


def target_findings(table: RawTable, labels: RowLabels, recipe: Recipe) -> list[Finding]:
    """Rows with such cells, one finding per column; of shares and votes, those of rows with a usable label."""
    usable = labels.valid.tolist()
    found: list[tuple[str, str, Iterable[bool]]] = []
    if recipe.labels.soft and not recipe.labels.votes:
        for name in recipe.labels.columns or (recipe.labels.column,):
            shares = [_number(cell) for cell in table.column(name)]
            # A cell that is no number was not judged, or has been reported.
            wrong = (ok and not math.isnan(one) and not 0 <= one <= 1 for ok, one in zip(usable, shares, strict=True))
            found.append((name, "a value other than a share from 0 to 1 (labels.soft)", wrong))
    votes = {name: [_votes(cell) for cell in table.column(name)] for name in recipe.labels.votes.values()}
    for name, counts in votes.items():
        found.append(
            (
                name,
                "a value other than a number of votes",
                (ok and one is None for ok, one in zip(usable, counts, strict=True)),
            )
        )
    if recipe.training.weight_column:
        weights = [_number(cell) for cell in table.column(recipe.training.weight_column)]
        wrong = (not 0 <= weight < math.inf for weight in weights)
        found.append((recipe.training.weight_column, "a weight that is not a number of at least 0", wrong))
    findings = [
        _finding(table, wrong, f"have {what} in column {table.display_names[name]!r}") for name, what, wrong in found
    ]
    if votes:
        none = (ok and not any(cells) for ok, *cells in zip(usable, *votes.values(), strict=True))
        findings.append(_finding(table, none, "have no votes"))
    return [one for one in findings if one is not None]


def _finding(table: RawTable, wrong: Iterable[bool], what: str) -> Finding | None:
    lines = [line for line, is_wrong in zip(table.table.lines, wrong, strict=True) if is_wrong]
    if not lines:
        return None
    return make_finding(
        "refused-values", f"{format_share(len(lines), len(table.table))} {what}", lines, file=table.file
    )


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _votes(cell: str) -> int | None:
    value = whole_number(cell.strip())
    return int(value) if value.isascii() and value.isdigit() else None
