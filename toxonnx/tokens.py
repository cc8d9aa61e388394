"""Texts to token ids: ragged, truncated, counted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as _Tokenizer

from toxonnx.errors import InputError

__all__ = ["Tokenizer", "Tokens"]


@dataclass(frozen=True)
class Tokens:
    """Token ids of some texts.

    Attributes:
        ids: int32 [tokens of all texts], text after text, special tokens included.
        lengths: int64 [texts].
        truncated: bool [texts], whether the text was cut at the limit.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int64]
    truncated: NDArray[np.bool_]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each text begins in ``ids``, int64 [texts]."""
        return np.cumsum(self.lengths) - self.lengths

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """The ids of some texts, int32 [tokens of these], text after text."""
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        shift = self.starts[rows] - (ends - lengths)
        found: NDArray[np.int32] = self.ids[np.arange(ends[-1] if len(ends) else 0) + np.repeat(shift, lengths)]
        return found

    def subset(self, rows: Sequence[int]) -> Tokens:
        """Some texts alone."""
        chosen = np.asarray(rows, dtype=np.int64)
        return Tokens(self.of(chosen), self.lengths[chosen], self.truncated[chosen])


class Tokenizer:
    """A ``tokenizer.json``, cutting at ``max_length`` tokens, special ones included. Safe to share between threads."""

    def __init__(self, path: Path, max_length: int) -> None:
        self._tokenizer = _Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._start = 64 * max_length  # characters that nearly always hold more than max_length tokens

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Token ids of the texts, in their order."""
        encodings = []
        for some in _slices(texts):
            encodings += self._encode(some)
        ids = [encoding.ids for encoding in encodings]
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        return Tokens(
            np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int32, count=int(lengths.sum())),
            lengths,
            np.array([bool(encoding.overflowing) for encoding in encodings], dtype=np.bool_),
        )

    def _encode(self, texts: list[str]) -> list[Any]:
        """Encodings, reading no more of a long text than it takes to fill the limit.

        Words are tokenized one by one from the left, so the start of a text, cut between two words, gives the whole
        text's tokens if it overflows the limit by itself. Where it does not, the whole text is read.
        """
        starts = [self._start_of(text) for text in texts]
        try:
            encodings: list[Any] = self._tokenizer.encode_batch_fast(starts)
        except TypeError:  # what it says when a text cannot be written in UTF-8
            lone = next((text for text in texts if any("\ud800" <= sign <= "\udfff" for sign in text)), None)
            if lone is None:
                raise
            raise InputError(
                f"a text holds half of a surrogate pair: {lone!r:.60}", "It was decoded wrongly."
            ) from None
        for i, (start, text) in enumerate(zip(starts, texts, strict=True)):
            if len(start) < len(text) and not encodings[i].overflowing:
                (encodings[i],) = self._tokenizer.encode_batch_fast([text])
        return encodings

    def _start_of(self, text: str) -> str:
        if len(text) <= 2 * self._start:
            return text
        end = text.rfind(" ", 0, self._start)
        return text[:end] if end > 0 else text


def _slices(texts: Sequence[str], characters: int = 1 << 20) -> Iterator[list[str]]:
    """The texts in pieces of about so many characters: the tokenizer keeps all of a piece in memory at once."""
    piece: list[str] = []
    size = 0
    for text in texts:
        piece.append(text)
        size += len(text)
        if size >= characters:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
