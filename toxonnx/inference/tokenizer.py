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
from toxonnx.texts import replace_surrogates

__all__ = ["EmptyText", "Tokenizer", "Tokens", "concatenate_ids"]


@dataclass(frozen=True)
class Tokens:
    """Token ids of some texts, concatenated.

    Attributes:
        ids: int32 [tokens of all texts], text after text, with special tokens.
        lengths: int64 [texts].
        truncated: bool [texts], whether the text was truncated to the maximum length.
        no_tokens: bool [texts], whether the text has no known token; it has the ids of an empty text.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int64]
    truncated: NDArray[np.bool_]
    no_tokens: NDArray[np.bool_]

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
        return Tokens(self.of(chosen), self.lengths[chosen], self.truncated[chosen], self.no_tokens[chosen])


@dataclass(frozen=True)
class EmptyText:
    """The tokens of an empty text, which a text without a known token gets, too.

    To a model an unknown token is a token like others: where its vocabulary lacks the emoji of its training data, any
    lone emoji would get the scores of the texts that contained them.

    Attributes:
        ids: int32 [tokens]: the special tokens, or a single token where the tokenizer adds none.
        special_tokens: number of special tokens that the tokenizer adds to a text.
        ignored: int32 [tokens]: tokens that say nothing about a text: the unknown one, and a mere space.
    """

    ids: NDArray[np.int32]
    special_tokens: int
    ignored: NDArray[np.int32]

    @classmethod
    def of(cls, tokenizer: _Tokenizer) -> EmptyText:
        """That of a tokenizer.

        Raises:
            InputError: unknown words would be an error.
        """
        try:
            tokens = tokenizer.model.tokenize("\U0010ffff")  # a code point that is no character
        except Exception as error:  # the library raises nothing more specific
            raise InputError(f"the tokenizer cannot tokenize unknown words: {error}") from None
        # Several tokens are the bytes of the character, which are known; none are a vocabulary of all bytes.
        unknown = [tokens[0].id] if len(tokens) == 1 else []
        space = tokenizer.token_to_id("\N{LOWER ONE EIGHTH BLOCK}")  # SentencePiece puts it before every word
        empty = tokenizer.encode("")
        ids = [token for token, mask in zip(empty.ids, empty.attention_mask, strict=True) if mask]
        if not ids:
            special = (key for key, token in tokenizer.get_added_tokens_decoder().items() if token.special)
            ids = unknown or [min(special, default=0)]
        return cls(
            np.array(ids, dtype=np.int32),
            tokenizer.num_special_tokens_to_add(False),
            np.array(unknown + ([] if space is None else [space]), dtype=np.int32),
        )

    def replace(
        self, ids: NDArray[np.int32], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.bool_]]:
        """Gives each text without a known token the tokens of an empty text.

        Args:
            ids: int32 [tokens of all texts], text after text, with special tokens.
            lengths: int64 [texts].

        Returns:
            Ids and lengths with these replaced, and which texts they are: bool [texts].
        """
        ends = np.cumsum(lengths)
        known = np.concatenate([[0], np.cumsum(~np.isin(ids, self.ignored))])
        no_tokens = known[ends] - known[ends - lengths] <= self.special_tokens
        if not no_tokens.any():
            return ids, lengths, no_tokens
        replaced = np.where(no_tokens, len(self.ids), lengths)
        new = np.empty(int(replaced.sum()), dtype=np.int32)
        is_empty = np.repeat(no_tokens, replaced)
        new[is_empty] = np.tile(self.ids, int(no_tokens.sum()))
        new[~is_empty] = ids[~np.repeat(no_tokens, lengths)]
        return new, replaced, no_tokens


class Tokenizer:
    """A ``tokenizer.json``, truncating at ``max_length`` tokens with special tokens. Safe to share between threads.

    Raises:
        InputError: see :meth:`EmptyText.of`.
    """

    def __init__(self, path: Path, max_length: int) -> None:
        try:
            self._tokenizer = _Tokenizer.from_file(str(path))
        except Exception as error:  # the library's exceptions have no base class of their own
            raise InputError(f"{path} is not a tokenizer: {error!s:.200}") from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._start = 64 * max_length  # characters that nearly always make more than max_length tokens
        self._empty = EmptyText.of(self._tokenizer)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Token ids of the texts, in their order; at least one token of each."""
        encodings = []
        for part in _slices(texts):
            encodings += self._encode(part)
        rows = [encoding.ids for encoding in encodings]
        truncated = np.array([bool(encoding.overflowing) for encoding in encodings], dtype=np.bool_)
        ids, lengths, no_tokens = self._empty.replace(*concatenate_ids(rows))
        return Tokens(ids, lengths, truncated, no_tokens)

    def _encode(self, texts: list[str]) -> list[Any]:
        """Encodings, reading no more of a long text than it takes to reach the maximum length.

        Words are tokenized one by one from the left, so the start of a text, cut between two words, has the same first
        tokens as the whole text if it is itself too long. Where it is not, the whole text is read.
        """
        starts = [self._start_of(text) for text in texts]
        try:
            encodings: list[Any] = self._tokenizer.encode_batch_fast(starts)
        except TypeError:  # raised for a text that cannot be encoded in UTF-8
            texts = [replace_surrogates(text) for text in texts]
            starts = [self._start_of(text) for text in texts]
            encodings = self._tokenizer.encode_batch_fast(starts)
        for i, (start, text) in enumerate(zip(starts, texts, strict=True)):
            if len(start) < len(text) and not encodings[i].overflowing:
                (encodings[i],) = self._tokenizer.encode_batch_fast([text])
        return encodings

    def _start_of(self, text: str) -> str:
        if len(text) <= 2 * self._start:
            return text
        end = text.rfind(" ", 0, self._start)
        return text[:end] if end > 0 else text


def concatenate_ids(rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The ids of all rows, int32 [ids], and the length of each row, int64 [rows]."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    return np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int32, count=int(lengths.sum())), lengths


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
