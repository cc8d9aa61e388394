"""Labelled rows to evaluate a model on: what is true of each, held to the model's labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import InputError, RowError
from toxonnx.io.table import Table
from toxonnx.labels import Labels
from toxonnx.texts import TextSpec

__all__ = ["find_label_columns", "joined", "read_y_true"]


def joined(table: Table, spec: TextSpec, asked: Sequence[str] = ()) -> list[str]:
    """The texts of a table by a model's template, not yet normalised; :meth:`TextSpec.choose` says which columns.

    Raises:
        InputError: the columns are not there, or the file has no rows.
    """
    try:
        columns = spec.choose_columns(list(table.columns), asked)
    except InputError as error:
        raise InputError(f"{table.path}: {error.what}", error.hint) from None
    if not len(table):
        raise InputError(f"{table.path} has no rows")
    return [spec.join(row) for row in zip(*(table.column(name) for name in columns), strict=True)]


def find_label_columns(table: Table, labels: Labels, known: Sequence[str] = ()) -> tuple[str, ...]:
    """The label columns of a table that nobody named: those the model was trained on, else (for several labels a text)
    columns that bear the labels' names.

    Raises:
        InputError: they are not there.
    """
    for columns in (tuple(known), labels.names if labels.multi else ()):
        if columns and all(name in table.columns for name in columns):
            return tuple(columns)
    listing = ", ".join(map(repr, table.columns))
    raise InputError(
        f"{table.path}: no column is known to hold the labels", f"Name it with --label-column, out of: {listing}."
    )


def read_y_true(
    table: Table, labels: Labels, columns: Sequence[str], names: Mapping[str, str] | None = None
) -> NDArray[np.int64]:
    """What is true of each row.

    Args:
        table: the rows.
        labels: the model's.
        columns: one that holds a class, or (sigmoid) one of 0 and 1 for each label, in the model's order.
        names: value in the file -> label name, where they differ.

    Returns:
        int64 [rows] of label numbers, or int64 [rows, labels] of 0 and 1 (sigmoid).

    Raises:
        InputError: the number of columns does not fit.
        RowError: a value that is no label of the model.
    """
    if labels.multi:
        if len(columns) != len(labels):
            raise InputError(f"{len(columns)} --label-column columns given, the model has {len(labels)} labels")
        cells = [[value.strip() for value in table.column(name)] for name in columns]
        for name, values in zip(columns, cells, strict=True):
            wrong = next((i for i, value in enumerate(values) if value not in {"0", "1"}), None)
            if wrong is not None:
                raise RowError(
                    table.path, table.lines[wrong], f"column {name!r} holds {values[wrong]!r:.40}, not 0 or 1"
                )
        return np.array(cells, dtype=np.int64).T
    if len(columns) != 1:
        raise InputError("several --label-column columns given, and the model gives one label a text")
    named = names or {}
    strange = sorted(set(named.values()) - set(labels.names))
    if strange:
        raise InputError(f"{', '.join(strange)} is no label of the model: {', '.join(labels.names)}")
    number = {name: i for i, name in enumerate(labels.names)}
    numbers: list[int] = []
    for line, value in zip(table.lines, table.column(columns[0]), strict=True):
        name = named.get(value.strip(), value.strip())
        if name not in number:
            raise RowError(
                table.path,
                line,
                f"label {value!r:.40} is not one of the model's: {', '.join(number)}",
                "Mend the file, or say what its values mean: eval --label-map VALUE=LABEL, or labels.names in a recipe.",
            )
        numbers.append(number[name])
    return np.array(numbers, dtype=np.int64)
