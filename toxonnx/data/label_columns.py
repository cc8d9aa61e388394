"""The label columns of a file, and the true labels in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.data.label_values import MISSING, UNKNOWN, quote, read_classes, read_flags
from toxonnx.errors import InputError, RowError
from toxonnx.io.table import Table
from toxonnx.labels import Labels
from toxonnx.recipe import LabelSpec
from toxonnx.texts import TextSpec

__all__ = [
    "LabelColumns",
    "check_label_cells",
    "find_label_columns",
    "join_texts",
    "read_label_cells",
    "read_y_true",
]


@dataclass(frozen=True)
class LabelColumns:
    """Where a file has its labels.

    Attributes:
        columns: one column that contains a class, or one column of 0 and 1 per label.
        label_map: value in the file -> label name, where they differ; with a column per label, column -> label name.
        threshold: see :class:`toxonnx.recipe.LabelSpec`.
    """

    columns: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)
    threshold: float | None = None

    @classmethod
    def of(cls, spec: LabelSpec) -> LabelColumns:
        """Those of a recipe."""
        return cls(spec.columns or (spec.column,), spec.names, spec.threshold)

    @classmethod
    def from_plain(cls, table: Mapping[str, Any] | None) -> LabelColumns | None:
        """From a recipe's ``labels`` as plain values: ``column`` or ``columns``, ``names`` and ``threshold``; None for
        nothing."""
        if not table:
            return None
        columns = tuple(table.get("columns") or [table["column"]])
        return cls(columns, dict(table.get("names", {})), table.get("threshold"))


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
        raise InputError(f"{table.path}: {error.what}", table.columns_hint or error.hint) from None
    if not len(table):
        raise InputError(f"{table.path} has no rows")
    return [spec.join(row) for row in zip(*(table.column(name) for name in columns), strict=True)]


def find_label_columns(table: Table, labels: Labels, known: Sequence[str] = ()) -> tuple[str, ...]:
    """The label columns of a table: those that the model was trained on, else (for a multi-label model) the columns
    named like labels.

    Raises:
        InputError: there are none.
    """
    if known and all(name in table.columns for name in known):
        return tuple(known)
    if labels.multi and (named := tuple(name for name in labels.names if name in table.columns)):
        return named
    raise InputError(
        f"{table.path}: no column is known to contain the labels",
        table.columns_hint or f"Name it with --label-column; the columns are {', '.join(map(repr, table.columns))}.",
    )


def read_y_true(table: Table, labels: Labels, columns: LabelColumns) -> NDArray[np.int64]:
    """The true labels of each row.

    Args:
        table: the rows.
        labels: the model's.
        columns: one that contains a class, or (sigmoid) columns of 0 and 1: named or mapped like labels, of which some
            may be missing, or as many as the model has labels, in its order.

    Returns:
        int64 [rows] of label numbers, or (sigmoid) int64 [rows, labels] of 0, 1, and
        :data:`toxonnx.data.label_values.MISSING` for a label that nobody judged.

    Raises:
        InputError: the number of columns is wrong, ``label_map`` has an unknown label, or (sigmoid) no row has a label.
        RowError: a value is not a label of the model, or (softmax) a row has no label.
    """
    unknown = sorted(set(columns.label_map.values()) - set(labels.names))
    if unknown:
        raise InputError(f"the model has no label {', '.join(unknown)}", f"Its labels are {', '.join(labels.names)}.")
    names = {**{name: name for name in labels.names}, **columns.label_map}
    if labels.multi:
        return _read_label_per_column(table, labels, columns, names)
    if len(columns.columns) != 1:
        raise InputError(f"{len(columns.columns)} --label-column options given, but the model is single-label")
    y_true = read_label_cells(table, columns, names, labels.names)
    check_label_cells(
        table,
        columns,
        y_true,
        names,
        "Fix the row, or map the file's values: --label-map VALUE=LABEL in eval, labels.names in a recipe.",
    )
    return y_true


def _read_label_per_column(
    table: Table, labels: Labels, columns: LabelColumns, names: Mapping[str, str]
) -> NDArray[np.int64]:
    """See :func:`read_y_true`; ``names`` has the label of each known column."""
    given = columns.columns
    unnamed = [column for column in given if column not in names]
    # Columns with names of their own are in the model's order, unless one bears the name of a label in another place.
    elsewhere = any(column in names and name != column for column, name in zip(given, labels.names, strict=False))
    if unnamed and (len(given) != len(labels) or columns.label_map or elsewhere):
        raise InputError(
            f"{', '.join(map(repr, unnamed))} is not a label of the model",
            f"The labels are {', '.join(labels.names)}. Give columns of these names, or one for each in this order; "
            "eval can map them, too: --label-map COLUMN=LABEL,...",
        )
    found = labels.names if unnamed else [names[column] for column in given]
    if twice := [name for name, count in Counter(found).items() if count > 1]:
        raise InputError(f"{table.path}: several columns are given for the label {twice[0]}")
    cells = read_label_cells(table, columns, None)
    hint = "Rows on which nobody judged a label have an empty cell there."
    check_label_cells(table, columns, np.where(cells == MISSING, 0, cells), names, hint)
    if (cells == MISSING).all():
        raise InputError(f"{table.path}: no row has a label in {', '.join(map(repr, given))}")
    y_true = np.full((len(table), len(labels)), MISSING, dtype=np.int64)
    y_true[:, [labels.names.index(name) for name in found]] = cells
    return y_true


def read_label_cells(
    table: Table, columns: LabelColumns, names: Mapping[str, str] | None, order: Sequence[str] = ()
) -> NDArray[np.int64]:
    """Reads the label columns of all rows; unlike :func:`read_y_true`, it accepts rows that are not labelled.

    Args:
        table: the rows.
        columns: where the labels are.
        names: value -> label name for a column that contains a class; None for columns of 0 and 1.
        order: see :func:`toxonnx.data.label_values.read_classes`.

    Returns:
        int64 [rows] as of :func:`toxonnx.data.label_values.read_classes`, or int64 [rows, columns] as of
        :func:`toxonnx.data.label_values.read_flags`.
    """
    if names is not None:
        return read_classes(table.column(columns.columns[0]), names, columns.threshold, order)
    return np.stack([read_flags(table.column(name), columns.threshold) for name in columns.columns], axis=1)


def check_label_cells(
    table: Table, columns: LabelColumns, y_true: NDArray[np.int64], names: Iterable[str], hint: str
) -> None:
    """Checks that every row has a label; with several columns, in one of them.

    Args:
        table: the rows.
        columns: where the labels are.
        y_true: of :func:`read_label_cells`.
        names: the values that a column of classes may contain.
        hint: what to do about another value there.

    Raises:
        RowError: a row has no label, or an unknown one.
    """
    cells = y_true if y_true.ndim == 2 else y_true[:, None]
    no_label = (cells == MISSING).all(axis=1)
    wrong = np.argwhere((cells == UNKNOWN) | no_label[:, None])
    if not len(wrong):
        return
    row, number = wrong[0].tolist()
    column = columns.columns[number]
    value, line = table.column(column)[row].strip(), table.lines[row]
    if cells[row, number] == MISSING:
        found = f" ({quote(value)})" if value else ""
        hint = 'Fix the row or remove it; training leaves such rows out with labels.missing = "drop" in the recipe.'
        several = cells.shape[1] > 1
        where = f"none of {', '.join(map(repr, columns.columns))} has a" if several else f"column {column!r} has no"
        raise RowError(table.path, line, f"{where} label{found}", hint)
    if columns.threshold is not None:
        wanted, hint = "a number, since labels.threshold is set", "Fix the row."
    elif y_true.ndim == 2:
        wanted = "0, 1 or nothing"
        hint = "For numbers such as a share of annotators, set labels.threshold in the recipe."
    else:
        wanted = f"one of {', '.join(dict.fromkeys(names))}"
    raise RowError(table.path, line, f"column {column!r} must contain {wanted}, got {quote(value)}", hint)
