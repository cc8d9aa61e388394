"""What the loss of a training compares with, where a file has shares or votes in place of classes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from toxonnx.data.label_columns import LabelColumns
from toxonnx.data.label_values import quote, whole_number
from toxonnx.errors import RowError
from toxonnx.io.table import Table
from toxonnx.labels import Labels
from toxonnx.recipe import LabelSpec

__all__ = ["read_targets"]


def read_targets(table: Table, spec: LabelSpec, labels: Labels) -> NDArray[np.float32] | None:
    """The targets of the rows.

    Args:
        table: the rows.
        spec: where the labels are.
        labels: the label set.

    Returns:
        float32 [rows, labels], NaN for a label that nobody judged; None if the loss compares with the classes.

    Raises:
        RowError: a cell is not a share or a number of votes, or a row has no votes.
    """
    if spec.votes:
        return _votes(table, spec, labels)
    if not spec.soft:
        return None
    shares = np.array([_shares(table, name) for name in LabelColumns.of(spec).columns], dtype=np.float32).T
    return shares if labels.multi else np.concatenate([1 - shares, shares], axis=1)


def _shares(table: Table, column: str) -> list[float]:
    shares = []
    for row, value in enumerate(table.column(column)):
        # Cells that are not numbers have been reported before.
        share = float(value) if any(map(str.isdigit, value)) else math.nan
        if not math.isnan(share) and not 0 <= share <= 1:
            what = f"column {column!r} must contain a share from 0 to 1, since labels.soft is set, got {value.strip()}"
            raise RowError(table.path, table.lines[row], what)
        shares.append(share)
    return shares


def _votes(table: Table, spec: LabelSpec, labels: Labels) -> NDArray[np.float32]:
    counts = []
    for name in labels.names:
        column = table.column(spec.votes[name])
        column = [whole_number(value.strip()) for value in column]
        wrong = next((i for i, value in enumerate(column) if not (value.isascii() and value.isdigit())), None)
        if wrong is not None:
            where = f"column {spec.votes[name]!r} must contain a number of votes, got {quote(column[wrong])}"
            raise RowError(table.path, table.lines[wrong], where)
        counts.append([int(value) for value in column])
    votes = np.array(counts, dtype=np.float32).T
    total = votes.sum(axis=1)
    if (total == 0).any():
        raise RowError(table.path, table.lines[int(np.flatnonzero(total == 0)[0])], "the row has no votes")
    shares: NDArray[np.float32] = votes / total[:, None]
    return shares
