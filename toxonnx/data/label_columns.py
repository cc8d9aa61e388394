"""The label columns of a file, and the true labels in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import InputError, RowError
from toxonnx.io.table import Table
from toxonnx.labels import Labels
from toxonnx.texts import TextSpec

__all__ = ["LabelColumns", "find_label_columns", "join_texts", "read_y_true"]


@dataclass(frozen=True)
class LabelColumns:
    """Where a file has its labels.

    Attributes:
        columns: one column that contains a class, or one column of 0 and 1 per label.
        label_map: value in the file -> label name, where they differ.
    """

    columns: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_plain(cls, table: Mapping[str, Any] | None) -> LabelColumns | None:
        """From a recipe's ``labels`` as plain values: ``column`` or ``columns``, and ``names``; None for nothing."""
        if not table:
            return None
        columns = tuple(table.get("columns") or [table["column"]])
        return cls(columns, dict(table.get("names", {})))


def join_texts(table: Table, spec: TextSpec, text_columns: Sequence[str] = ()) -> list[str]:
    """The texts of a table by a model's template, not normalised yet.

    Args:
        table: the rows.
        spec: the model's.
        text_columns: columns to read in place of the model's; see :meth:`toxonnx.texts.TextSpec.choose_columns`.

    Raises:
        InputError: a column is missing, or the file has no rows.
    """
    try:
        columns = spec.choose_columns(list(table.columns), text_columns)
    except InputError as error:
        raise InputError(f"{table.path}: {error.what}", error.hint) from None
    if not len(table):
        raise InputError(f"{table.path} has no rows")
    return [spec.join(row) for row in zip(*(table.column(name) for name in columns), strict=True)]


def find_label_columns(table: Table, labels: Labels, known: Sequence[str] = ()) -> tuple[str, ...]:
    """The label columns of a table: those that the model was trained on, else (for a multi-label model) columns named
    like the labels.

    Raises:
        InputError: there are none.
    """
    for columns in (tuple(known), labels.names if labels.multi else ()):
        if columns and all(name in table.columns for name in columns):
            return tuple(columns)
    raise InputError(
        f"{table.path}: no column is known to contain the labels",
        f"Name it with --label-column; the columns are {', '.join(map(repr, table.columns))}.",
    )


def read_y_true(
    table: Table, labels: Labels, columns: Sequence[str], label_map: Mapping[str, str] | None = None
) -> NDArray[np.int64]:
    """The true labels of each row.

    Args:
        table: the rows.
        labels: the model's.
        columns: one that contains a class, or (sigmoid) one of 0 and 1 for each label, in the model's order.
        label_map: value in the file -> label name, where they differ.

    Returns:
        int64 [rows] of label numbers, or int64 [rows, labels] of 0 and 1 (sigmoid).

    Raises:
        InputError: the number of columns is wrong, or ``label_map`` has an unknown label.
        RowError: a value is not a label of the model.
    """
    if labels.multi:
        return _read_columns_of_0_and_1(table, labels, columns)
    if len(columns) != 1:
        raise InputError(f"{len(columns)} --label-column options given, but the model is single-label")
    names = label_map or {}
    unknown = sorted(set(names.values()) - set(labels.names))
    if unknown:
        raise InputError(f"the model has no label {', '.join(unknown)}", f"Its labels are {', '.join(labels.names)}.")
    numbers = {name: i for i, name in enumerate(labels.names)}
    y_true: list[int] = []
    for line, value in zip(table.lines, table.column(columns[0]), strict=True):
        name = names.get(value.strip(), value.strip())
        if name not in numbers:
            raise RowError(
                table.path,
                line,
                f"{value!r:.40} is not a label of the model; these are {', '.join(numbers)}",
                "Fix the row, or map the file's values: --label-map VALUE=LABEL in eval, labels.names in a recipe.",
            )
        y_true.append(numbers[name])
    return np.array(y_true, dtype=np.int64)


def _read_columns_of_0_and_1(table: Table, labels: Labels, columns: Sequence[str]) -> NDArray[np.int64]:
    if len(columns) != len(labels):
        raise InputError(f"{len(columns)} --label-column options given, but the model has {len(labels)} labels")
    cells = [[value.strip() for value in table.column(name)] for name in columns]
    for name, values in zip(columns, cells, strict=True):
        wrong = next((i for i, value in enumerate(values) if value not in {"0", "1"}), None)
        if wrong is not None:
            raise RowError(
                table.path, table.lines[wrong], f"column {name!r} must contain 0 or 1, got {values[wrong]!r:.40}"
            )
    return np.array(cells, dtype=np.int64).T
