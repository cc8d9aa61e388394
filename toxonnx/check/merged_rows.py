"""Rows that a quote, opened by mistake, has put together in silence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toxonnx.check.classes import Classes
from toxonnx.check.finding import Finding, format_share, make_finding
from toxonnx.check.raw_table import Sheet
from toxonnx.recipe import LabelSpec

__all__ = ["swallowed"]

#: lines from which a record is long, and times the usual
LONG, TIMES = 5, 3
#: share of the rows up to which records of several lines are no habit of the file; three are none either
RARE = 0.01


def swallowed(sheet: Sheet, spec: LabelSpec, classes: Classes) -> list[Finding]:
    """Records that a quote, opened by mistake, has made of several rows."""
    header = list(sheet.table.columns)
    place = header.index(spec.columns[0] if spec.columns else spec.column)
    usual = 1.0
    if len(sheet.spans) > max(3, RARE * sheet.rows):
        usual = float(np.percentile([span.lines for span in sheet.spans], 99))
    bad = [
        span.line for span in sheet.spans
        if (span.lines >= LONG and span.lines > TIMES * usual)
        or _holds_a_row(span.fields, place, len(header), sheet.delimiter, classes.sure)
    ]  # fmt: skip
    if not bad:
        return []
    return [
        make_finding(
            "swallowed-rows", "warning",
            f"{format_share(len(bad), sheet.rows)} run over several lines and look like several rows in one", bad,
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
