"""Ragged rows to batches: which rows go together, and the arrays that a graph takes.

An arrangement plans batches and makes their inputs. Which one it is depends on the graph and on what runs it:

================  ====================  ============================================================
:class:`Uniform`  CPU                   rows of one length: no padding, and no neighbours to feel
:class:`Padded`   GPU, plain and fused  rows of like lengths, filled up; a bounded number of shapes
:class:`Packed`   GPU, packed           rows end to end: no padding
================  ====================  ============================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from toxonnx.tokens import Tokens

__all__ = ["Arrangement", "Feed", "Packed", "Padded", "Uniform"]

#: a graph's inputs by name, int32
Feed = dict[str, NDArray[np.int32]]


class Arrangement(Protocol):
    """How rows become batches."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a batch at most; a row over it makes a batch of its own."""
        ...

    def plan(self, lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Cuts rows into batches, longest first, so that threads end together.

        Args:
            lengths: int64 [rows], tokens of each row.

        Yields:
            int64 [rows of the batch]: indices into ``lengths``. Each index comes once.
        """
        ...

    def feed(self, tokens: Tokens, rows: NDArray[np.int64]) -> Feed:
        """The inputs for some rows. The first logits are theirs, in their order; others belong to filling."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Batches of one length each.

    Rows of one length need no padding: no work is wasted on it, and a row meets the same arithmetic whatever stands
    beside it. The price is small batches of rare lengths.
    """

    max_tokens: int

    def plan(self, lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """One length after another, from the longest; see Arrangement."""
        order = np.argsort(-lengths, kind="stable")
        ends = np.flatnonzero(np.diff(lengths[order])) + 1
        for group in np.split(order, ends):
            rows = max(1, self.max_tokens // max(int(lengths[group[0]]), 1)) if len(group) else 1
            for start in range(0, len(group), rows):
                yield group[start : start + rows]

    def feed(self, tokens: Tokens, rows: NDArray[np.int64]) -> Feed:
        """Ids as they are, and a mask of ones."""
        width = int(tokens.lengths[rows[0]])
        input_ids = tokens.of(rows).reshape(len(rows), width)
        return {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}


@dataclass(frozen=True)
class Padded:
    """Batches of rows of like lengths, filled up on the right.

    A GPU wants large batches, and its kernels are chosen (in TensorRT and cuDNN, built) anew for each shape. So widths
    are multiples of ``step``, or the ``longest`` that the model takes, and a batch that is not full is filled up to a
    power of two rows.
    """

    max_tokens: int
    pad_id: int
    longest: int
    step: int = 16

    def plan(self, lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """By length, as many rows as the longest of them leaves room for."""
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            rows = max(1, self.max_tokens // self._width(int(lengths[order[start]])))
            yield order[start : start + rows]
            start += rows

    def feed(self, tokens: Tokens, rows: NDArray[np.int64]) -> Feed:
        """Ids and mask, filled up with padding and with rows of one token."""
        lengths = tokens.lengths[rows]
        width = self._width(int(lengths.max(initial=1)))
        full = max(1, self.max_tokens // width)
        height = min(1 << (len(rows) - 1).bit_length(), max(full, len(rows)))
        mask = np.zeros((height, width), dtype=np.int32)
        mask[:, 0] = 1  # a row without a token would be a division by nothing
        held = np.arange(width) < lengths[:, None]
        mask[: len(rows)] = held
        input_ids = np.full((height, width), self.pad_id, dtype=np.int32)
        input_ids[: len(rows)][held] = tokens.of(rows)
        return {"input_ids": input_ids, "attention_mask": mask}

    def _width(self, length: int) -> int:
        return min(-(-max(length, 1) // self.step) * self.step, self.longest)


@dataclass(frozen=True)
class Packed:
    """Batches of rows that stand end to end, for the graphs of :mod:`toxonnx.convert.fused`.

    ====================  ==========================================================================
    ``input_ids``         int32 [tokens], all rows
    ``position_ids``      int32 [tokens], of each token in its row, from 0
    ``first_tokens``      int32 [rows], where each row begins
    ``cu_seqlens``        int32 [rows + 1], the same with the end of the last
    ``token_offset``      int32 [rows, longest], where tokens, and after all of these paddings, would stand if the
                          rows were padded to the longest
    ====================  ==========================================================================
    """

    max_tokens: int

    def plan(self, lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """By length, as many rows as the tokens leave room for."""
        order = np.argsort(-lengths, kind="stable")
        ends = np.cumsum(lengths[order])
        start, before = 0, 0
        while start < len(order):
            end = max(int(np.searchsorted(ends, before + self.max_tokens, side="right")), start + 1)
            yield order[start:end]
            start, before = end, int(ends[end - 1])

    def feed(self, tokens: Tokens, rows: NDArray[np.int64]) -> Feed:
        """See the table above."""
        return self.inputs(tokens.of(rows), tokens.lengths[rows])

    @staticmethod
    def inputs(ids: NDArray[np.int32], lengths: NDArray[np.int64], longest: int | None = None) -> Feed:
        """The inputs for rows of these lengths, int64 [rows], whose ids, int32 [tokens], stand end to end.

        ``longest``: columns of ``token_offset``, where they are not to follow from the rows.
        """
        cu_seqlens = np.zeros(len(lengths) + 1, dtype=np.int32)
        np.cumsum(lengths, out=cu_seqlens[1:])
        held = np.arange(longest or int(lengths.max(initial=0))) < lengths[:, None]
        offset = np.concatenate([np.flatnonzero(held), np.flatnonzero(~held)]).astype(np.int32)
        positions = np.arange(len(ids), dtype=np.int32) - np.repeat(cu_seqlens[:-1], lengths)
        return {
            "input_ids": ids, "position_ids": positions, "first_tokens": cu_seqlens[:-1],
            "cu_seqlens": cu_seqlens, "token_offset": offset.reshape(held.shape),
        }  # fmt: skip
