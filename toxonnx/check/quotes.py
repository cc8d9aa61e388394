"""Rows that a quote, opened by mistake, has put together in silence."""

from __future__ import annotations

from collections.abc import Sequence

from toxonnx.check.classes import Classes
from toxonnx.check.finding import Finding, found, part
from toxonnx.check.sheet import Sheet
from toxonnx.recipe import LabelSpec

__all__ = ["swallowed"]

#: lines from which a record is long, where such records are rare: at most one, or this share of the rows
LONG, RARE = 5, 0.05


def swallowed(sheet: Sheet, spec: LabelSpec, classes: Classes) -> list[Finding]:
    """Records that a quote, opened by mistake, has made of several rows."""
    header = list(sheet.table.columns)
    place = header.index(spec.columns[0] if spec.columns else spec.column)
    long = [span.lines >= LONG for span in sheet.spans]
    # Where records of many lines are usual, one more says nothing.
    usual = sum(long) > max(1, RARE * sheet.rows)
    bad = [
        span.line for span, is_long in zip(sheet.spans, long, strict=True)
        if (is_long and not usual) or _holds_a_row(span.fields, place, len(header), sheet.delimiter, classes.sure)
    ]  # fmt: skip
    if not bad:
        return []
    return [
        found(
            "swallowed-rows", "warning",
            f"{part(len(bad), sheet.rows)} run over several lines and look like several rows in one", bad,
            file=sheet.file,
            advice="Look for a quote at the start of a field that is not closed: it takes all up to the next quote.",
        )
    ]  # fmt: skip


def _holds_a_row(fields: Sequence[str], place: int, width: int, delimiter: str, labels: frozenset[str]) -> bool:
    """Whether a line inside a field has as many delimiters as a row would, and a label where a row has it."""
    for i, value in enumerate(fields):
        lines = value.split("\n")
        for at, line in enumerate(lines if len(lines) > 1 else []):
            cells = line.rstrip("\r").split(delimiter)
            start = i if at == 0 else 0
            whole = (i + 1 if at == len(lines) - 1 else width) - start
            here = place - start
            fits = len(cells) == whole > 1 and 0 <= here < whole
            # A space behind the comma is a comma of the sentence.
            if fits and cells[here].strip('"') in labels and not any(cell.startswith(" ") for cell in cells[1:]):
                return True
    return False
