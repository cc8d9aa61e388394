"""Texts to token ids, truncated, without padding."""

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
    """Token ids of some texts, concatenated.

    Attributes:
        ids: int32 [tokens of all texts], text after text, with special tokens.
        lengths: int64 [texts].
        truncated: bool [texts], whether the text was truncated to the maximum length.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int64]
    truncated: NDArray[np.bool_]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each text begins in ``ids``, int64 [texts]."""
        return np.cumsum(self.lengths) - self.lengths

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """The ids of some of the texts, int32 [their tokens], text after text."""
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        shift = self.starts[rows] - (ends - lengths)
        ids: NDArray[np.int32] = self.ids[np.arange(ends[-1] if len(ends) else 0) + np.repeat(shift, lengths)]
        return ids

    def subset(self, rows: Sequence[int]) -> Tokens:
        """The tokens of some of the texts."""
        chosen = np.asarray(rows, dtype=np.int64)
        return Tokens(self.of(chosen), self.lengths[chosen], self.truncated[chosen])


class Tokenizer:
    """A ``tokenizer.json``, truncating at ``max_length`` tokens with special tokens. Safe to share between threads."""

    def __init__(self, path: Path, max_length: int) -> None:
        try:
            self._tokenizer = _Tokenizer.from_file(str(path))
        except Exception as error:  # the library's exceptions have no base class of their own
            raise InputError(f"{path} is not a tokenizer: {error!s:.200}") from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._start = 64 * max_length  # characters that nearly always make more than max_length tokens

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Token ids of the texts, in their order."""
        encodings = []
        for part in _slices(texts):
            encodings += self._encode(part)
        ids = [encoding.ids for encoding in encodings]
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        return Tokens(
            np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int32, count=int(lengths.sum())),
            lengths,
            np.array([bool(encoding.overflowing) for encoding in encodings], dtype=np.bool_),
        )

    def _encode(self, texts: list[str]) -> list[Any]:
        """Encodings, reading no more of a long text than it takes to reach the maximum length.

        Words are tokenized one by one from the left, so the start of a text, cut between two words, has the same first
        tokens as the whole text if it is itself too long. Where it is not, the whole text is read.
        """
        starts = [self._start_of(text) for text in texts]
        try:
            encodings: list[Any] = self._tokenizer.encode_batch_fast(starts)
        except TypeError:  # raised for a text that cannot be encoded in UTF-8
            lone = next((text for text in texts if any("\ud800" <= char <= "\udfff" for char in text)), None)
            if lone is None:
                raise
            raise InputError(f"a text contains a lone surrogate: {lone!r:.60}", "It was decoded incorrectly.") from None
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
    """The texts in parts of about ``characters`` characters: the tokenizer holds a whole part in memory."""
    part: list[str] = []
    size = 0
    for text in texts:
        part.append(text)
        size += len(text)
        if size >= characters:
            yield part
            part, size = [], 0
    if part:
        yield part
