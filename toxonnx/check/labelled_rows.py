"""The rows of a file that training would use, and the findings about a single file."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toxonnx.check.class_sizes import ClassSize, count_classes
from toxonnx.check.finding import Finding, format_names, format_share, make_finding
from toxonnx.check.merged_rows import merged_row_findings
from toxonnx.check.raw_table import RawTable
from toxonnx.check.row_labels import RowLabels, read_labels
from toxonnx.check.row_targets import target_findings
from toxonnx.check.text_quality import text_findings
from toxonnx.data.examples import Examples
from toxonnx.data.label_values import MISSING
from toxonnx.recipe import Recipe
from toxonnx.texts import fold

__all__ = ["LabelledRows", "possible_label_column_findings", "read_rows"]


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """The rows of a file, as training reads them.

    Attributes:
        table: the file.
        recipe: gives columns, normalisation and split.
        row_labels: labels of all rows of the table.
        rows_with_text: normalised text of every row that has one, with or without a usable label.
        lines_with_text: the lines of these rows.
        indices: int64, positions in the table of the usable rows, which have a text and a usable label.
        texts: normalised text of each usable row.
        keys: the same for usable rows with the same text, see :func:`toxonnx.texts.fold`.
        lines: line of each usable row.
        findings: problems of the table, its labels and its texts.
    """

    table: RawTable
    recipe: Recipe
    row_labels: RowLabels
    rows_with_text: list[str]
    lines_with_text: list[int]
    indices: NDArray[np.int64]
    texts: list[str]
    keys: list[str]
    lines: list[int]
    findings: list[Finding]

    def __len__(self) -> int:
        return len(self.texts)

    def display(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Names of columns as they may be shown."""
        return tuple(self.table.display_names[name] for name in columns)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Names of the label columns as they may be shown."""
        return self.display(self.recipe.labels.columns or (self.recipe.labels.column,))

    def labels(self) -> list[Hashable]:
        """The label of each usable row, hashable; what nobody judged is as in another row of the same text."""
        y_true = self.row_labels.y_true[self.indices].tolist()
        if not self.recipe.multi:
            return list(y_true)
        judged: dict[tuple[str, int], int] = {}
        for key, row in zip(self.keys, y_true, strict=True):
            judged |= {(key, i): value for i, value in enumerate(row) if value != MISSING}
        return [
            tuple(judged.get((key, i), MISSING) if value == MISSING else value for i, value in enumerate(row))
            for key, row in zip(self.keys, y_true, strict=True)
        ]

    def class_sizes(self) -> list[ClassSize]:
        """The classes of the usable rows."""
        return count_classes(self.row_labels, self.keys, self.indices)

    def class_lines(self) -> list[list[int]]:
        """Lines of the usable rows of each class."""
        return [[self.lines[i] for i in members] for members in self.row_labels.members(self.indices)]

    def column(self, name: str) -> list[str]:
        """The value of each usable row in a column."""
        values = self.table.table.columns[name]
        return [values[i] for i in self.indices.tolist()]

    def groups(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """The combined value of each usable row in some columns, as training compares them; empty for no columns."""
        return tuple("\0".join(map(fold, row)) for row in zip(*map(self.column, columns), strict=True))

    def examples(self) -> Examples | None:
        """The usable rows for training; None if there are none, or only one class."""
        labels = self.row_labels.labels
        if labels is None or not self.texts:
            return None
        return Examples(self.texts, self.row_labels.y_true[self.indices], self.lines, labels, self.recipe.text)


def read_rows(table: RawTable, recipe: Recipe, training: RowLabels | None = None) -> LabelledRows:
    """Reads labels and texts of a file.

    Args:
        table: the file.
        recipe: gives columns and normalisation.
        training: labels of the training file, if ``table`` is a validation file.
    """
    row_labels, label_findings = read_labels(table, recipe.labels, training)
    if training is None:
        label_findings += target_findings(table, row_labels, recipe)
    rendered = [recipe.text.render(row) for row in zip(*map(table.column, recipe.text.columns), strict=True)]
    all_lines, file = table.table.lines, table.file
    with_text = [i for i, text in enumerate(rendered) if text.strip()]
    findings = [*table.findings(), *merged_row_findings(table, recipe.labels, row_labels), *label_findings]
    empty = [line for line, text in zip(all_lines, rendered, strict=True) if not text.strip()]
    if empty:
        message = f"{format_share(len(empty), len(rendered))} have no text after normalization"
        findings.append(make_finding("empty-texts", message, empty, file=file))
    # Undecodable bytes are reported already; in the texts, they are U+FFFD.
    undecodable = set(table.undecodable_lines)
    decoded = [i for i in with_text if all_lines[i] not in undecodable]
    if decoded:
        texts, lines = [rendered[i] for i in decoded], [all_lines[i] for i in decoded]
        findings += text_findings(texts, lines, has_html="html" in recipe.text.normalise, file=file)
    usable = [i for i in with_text if row_labels.valid[i]]
    # Texts with lost characters may have been different texts.
    keys = [f"\0{file}{all_lines[i]}" if all_lines[i] in undecodable else fold(rendered[i]) for i in usable]
    return LabelledRows(
        table=table, recipe=recipe, row_labels=row_labels, rows_with_text=[rendered[i] for i in with_text],
        lines_with_text=[all_lines[i] for i in with_text], indices=np.array(usable, dtype=np.int64),
        texts=[rendered[i] for i in usable], keys=keys, lines=[all_lines[i] for i in usable], findings=findings,
    )  # fmt: skip


def possible_label_column_findings(rows: LabelledRows) -> list[Finding]:
    """Further columns of 0 and 1 next to a label column of 0 and 1, for files without a recipe."""
    certain = rows.row_labels.certain
    if rows.recipe.multi or not certain or not certain <= {"0", "1"}:
        return []
    known = (*rows.recipe.text.columns, rows.recipe.labels.column)
    others = [
        name for name, values in rows.table.table.columns.items()
        if name not in known and {value.strip() for value in values} == {"0", "1"}
    ]  # fmt: skip
    if not others:
        return []
    names = format_names([repr(name) for name in rows.display(tuple(others))])
    message = f"{names} {'contains' if len(others) == 1 else 'contain'} only 0 and 1, like the label column"
    return [make_finding("possible-label-columns", message, count=len(others))]
