"""Ragged rows to rectangular batches with next to no padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["pad", "plan"]


def plan(lengths: NDArray[np.int64], *, max_tokens: int, max_rows: int) -> Iterator[NDArray[np.int64]]:
    """Cuts rows, longest first, into batches.

    Args:
        lengths: int64 [rows], tokens of each row.
        max_tokens: budget of a batch, padding included. A row over it makes a batch of its own.
        max_rows: rows of a batch at most.

    Yields:
        int64 [rows of the batch]: indices into ``lengths``. Each index comes once; the longest batch comes first, so
        that threads end together.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        rows = max(1, min(max_rows, max_tokens // longest))
        yield order[start : start + rows]
        start += rows


def pad(ids: Sequence[NDArray[np.int64]], pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to a rectangle.

    Returns:
        ``input_ids`` and ``attention_mask``, both int64 [rows, longest].
    """
    width = max(len(row) for row in ids)
    input_ids = np.full((len(ids), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(ids), width), dtype=np.int64)
    for i, row in enumerate(ids):
        input_ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return input_ids, mask
