"""Ragged rows to rectangular batches without padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["plan", "stack"]


def plan(lengths: NDArray[np.int64], *, max_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Cuts rows into batches of one length each, longest first.

    Rows of one length need no padding: no work is wasted on it, and a row meets the same arithmetic whatever stands
    beside it. The price is small batches of rare lengths.

    Args:
        lengths: int64 [rows], tokens of each row.
        max_tokens: tokens of a batch at most. A row over it makes a batch of its own.

    Yields:
        int64 [rows of the batch]: indices into ``lengths``. Each index comes once; the longest batch comes first, so
        that threads end together.
    """
    order = np.argsort(-lengths, kind="stable")
    ends = np.flatnonzero(np.diff(lengths[order])) + 1
    for group in np.split(order, ends):
        rows = max(1, max_tokens // max(int(lengths[group[0]]), 1)) if len(group) else 1
        for start in range(0, len(group), rows):
            yield group[start : start + rows]


def stack(ids: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of one length as ``input_ids`` and ``attention_mask``, both int64 [rows, tokens]."""
    input_ids = np.stack(ids)
    return input_ids, np.ones_like(input_ids)
