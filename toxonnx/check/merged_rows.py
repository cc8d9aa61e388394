"""Rows that an unbalanced quote has merged into one, which is valid CSV and raises no error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toxonnx.check.finding import Finding, format_share, make_finding
from toxonnx.check.raw_table import RawTable
from toxonnx.check.row_labels import RowLabels
from toxonnx.recipe import LabelSpec

__all__ = ["merged_row_findings"]

#: a record is suspiciously long from this many lines, if it is also this many times longer than usual
LONG_RECORD_LINES, LONG_RECORD_RATIO = 5, 3
#: if more records than this share (and more than three) span several lines, long records are usual in the file
MULTILINE_SHARE = 0.01


def merged_row_findings(table: RawTable, spec: LabelSpec, labels: RowLabels) -> list[Finding]:
    """Records that look like several rows merged by an unbalanced quote.

    Args:
        table: the file.
        spec: the label columns.
        labels: labels of the file.
    """
    header = list(table.table.columns)
    label_index = header.index(spec.columns[0] if spec.columns else spec.column)
    usual = 1.0
    if len(table.multiline_records) > max(3, MULTILINE_SHARE * table.rows):
        usual = float(np.percentile([record.line_count for record in table.multiline_records], 99))
    lines = [
        record.line
        for record in table.multiline_records
        if (record.line_count >= LONG_RECORD_LINES and record.line_count > LONG_RECORD_RATIO * usual)
        or _contains_row(record.fields, label_index, len(header), table.delimiter, labels.certain)
    ]
    if not lines:
        return []
    message = f"{format_share(len(lines), table.rows)} span several lines and look like several merged rows"
    return [make_finding("merged-rows", message, lines, file=table.file)]


def _contains_row(fields: Sequence[str], label_index: int, width: int, delimiter: str, labels: frozenset[str]) -> bool:
    """Whether a line inside a field has as many delimiters as a row, and a label in the label column."""
    for i, value in enumerate(fields):
        lines = value.split("\n")
        for number, line in enumerate(lines if len(lines) > 1 else []):
            cells = line.rstrip("\r").split(delimiter)
            # The first line of a field continues the cells before it, the last line those after it.
            start = i if number == 0 else 0
            expected = (i + 1 if number == len(lines) - 1 else width) - start
            label_cell = label_index - start
            fits = len(cells) == expected > 1 and 0 <= label_cell < expected
            # A comma followed by a space is punctuation of a sentence.
            if fits and cells[label_cell].strip('"') in labels and not any(cell.startswith(" ") for cell in cells[1:]):
                return True
    return False
