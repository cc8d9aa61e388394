"""Batching: which rows are scored together, and the arrays that a graph takes.

===========================  ====================  ========================================================
:class:`EqualLengthBatcher`  CPU                   rows of equal length: no padding
:class:`PaddedBatcher`       GPU, plain and fused  rows of similar length, padded; a bounded number of shapes
:class:`PackedBatcher`       GPU, packed           rows concatenated: no padding
===========================  ====================  ========================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from toxonnx.inference.tokenizer import Tokens

__all__ = ["Batcher", "EqualLengthBatcher", "Feed", "PackedBatcher", "PaddedBatcher"]

#: a graph's inputs by name, int32
Feed = dict[str, NDArray[np.int32]]


class Batcher(Protocol):
    """How rows become batches."""

    @property
    def max_tokens(self) -> int:
        """Largest number of tokens in a batch; a longer row forms a batch of its own."""
        ...

    @property
    def has_equal_lengths(self) -> bool:
        """Whether all rows of a batch have the same length."""
        ...

    def batches(self, lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Divides rows into batches, longest first, so that threads finish at about the same time.

        Args:
            lengths: int64 [rows], number of tokens in each row.

        Yields:
            int64 [rows of the batch]: indices into ``lengths``. Each index occurs once.
        """
        ...

    def feed(self, tokens: Tokens, rows: NDArray[np.int64]) -> Feed:
        """The inputs for some rows. Their logits come first, in their order; any others belong to padding."""
        ...


@dataclass(frozen=True)
class EqualLengthBatcher:
    """Batches of rows of equal length.

    They need no padding: no work is wasted on it, and the arithmetic on a row does not depend on the other rows of the
    batch. The price is small batches of rare lengths.
    """

    max_tokens: int
    has_equal_lengths: ClassVar = True

    def batches(self, lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """One length after another, longest first; see :class:`Batcher`."""
        order = np.argsort(-lengths, kind="stable")
        ends = np.flatnonzero(np.diff(lengths[order])) + 1
        for group in np.split(order, ends):
            rows = max(1, self.max_tokens // max(int(lengths[group[0]]), 1)) if len(group) else 1
            for start in range(0, len(group), rows):
                yield group[start : start + rows]

    def feed(self, tokens: Tokens, rows: NDArray[np.int64]) -> Feed:
        """The ids, and a mask of ones."""
        width = int(tokens.lengths[rows[0]])
        input_ids = tokens.of(rows).reshape(len(rows), width)
        return {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}


@dataclass(frozen=True)
class PaddedBatcher:
    """Batches of rows of similar length, padded on the right.

    A GPU needs large batches, and its kernels are selected (in TensorRT and cuDNN, built) for each new shape. So widths
    are multiples of ``step``, or ``longest``, the most that the model takes, and a batch that is not full is padded to
    a power of two rows.
    """

    max_tokens: int
    pad_id: int
    longest: int
    step: int = 16
    has_equal_lengths: ClassVar = False

    def batches(self, lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Sorted by length, as many rows as the longest of them leaves room for."""
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            rows = max(1, self.max_tokens // self._width(int(lengths[order[start]])))
            yield order[start : start + rows]
            start += rows

    def feed(self, tokens: Tokens, rows: NDArray[np.int64]) -> Feed:
        """Ids and mask, padded with padding tokens and with rows of one token."""
        lengths = tokens.lengths[rows]
        width = self._width(int(lengths.max(initial=1)))
        full = max(1, self.max_tokens // width)
        height = min(1 << (len(rows) - 1).bit_length(), max(full, len(rows)))
        mask = np.zeros((height, width), dtype=np.int32)
        mask[:, 0] = 1  # attention over a row without any token would divide by zero
        is_token = np.arange(width) < lengths[:, None]
        mask[: len(rows)] = is_token
        input_ids = np.full((height, width), self.pad_id, dtype=np.int32)
        input_ids[: len(rows)][is_token] = tokens.of(rows)
        return {"input_ids": input_ids, "attention_mask": mask}

    def _width(self, length: int) -> int:
        return min(-(-max(length, 1) // self.step) * self.step, self.longest)


@dataclass(frozen=True)
class PackedBatcher:
    """Batches of concatenated rows, for the graphs of :mod:`toxonnx.convert.fused`.

    ====================  ==========================================================================
    ``input_ids``         int32 [tokens], all rows
    ``position_ids``      int32 [tokens], of each token in its row, from 0
    ``first_tokens``      int32 [rows], where each row begins
    ``cu_seqlens``        int32 [rows + 1], the same with the end of the last row
    ``token_offset``      int32 [rows, longest], the indices that the tokens, and then the padding, would have if the
                          rows were padded to the longest
    ====================  ==========================================================================
    """

    max_tokens: int
    has_equal_lengths: ClassVar = False

    def batches(self, lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Sorted by length, as many rows as ``max_tokens`` leaves room for."""
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
        """The inputs for concatenated rows.

        Args:
            ids: int32 [tokens].
            lengths: int64 [rows].
            longest: number of columns of ``token_offset``; the longest row's length when None.
        """
        cu_seqlens = np.zeros(len(lengths) + 1, dtype=np.int32)
        np.cumsum(lengths, out=cu_seqlens[1:])
        is_token = np.arange(longest or int(lengths.max(initial=0))) < lengths[:, None]
        offset = np.concatenate([np.flatnonzero(is_token), np.flatnonzero(~is_token)]).astype(np.int32)
        positions = np.arange(len(ids), dtype=np.int32) - np.repeat(cu_seqlens[:-1], lengths)
        return {
            "input_ids": ids, "position_ids": positions, "first_tokens": cu_seqlens[:-1],
            "cu_seqlens": cu_seqlens, "token_offset": offset.reshape(is_token.shape),
        }  # fmt: skip
