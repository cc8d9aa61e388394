"""Texts to token ids: truncated or in windows, without padding."""

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

from toxonnx.errors import BundleError, InputError
from toxonnx.long_texts import TRUNCATE, LongTexts
from toxonnx.texts import replace_surrogates

__all__ = ["EmptyText", "TokenizedTexts", "Tokenizer", "Tokens", "concatenate_ids"]

#: characters of a long text that are tokenized at first, and then, for each token that is read: most texts have fewer
#: characters per token than the first number, and nearly all have fewer than the second
START_CHARACTERS = (8, 64)
#: words at the end of a part of a text that may be other words in the whole text
UNSURE_WORDS = 16
_FOREIGN = "Its tokenizer.json is not one that toxonnx export writes."


@dataclass(frozen=True)
class Tokens:
    """Token ids of some rows, concatenated. A row is a text, or a window of one.

    Attributes:
        ids: int32 [tokens of all rows], row after row, with special tokens.
        lengths: int64 [rows].
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int64]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each row begins in ``ids``, int64 [rows]."""
        return np.cumsum(self.lengths) - self.lengths

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """The ids of some of the rows, int32 [their tokens], row after row."""
        return self.ids[_spans(self.starts[rows], self.lengths[rows])]

    def subset(self, rows: Sequence[int] | NDArray[np.int64]) -> Tokens:
        """The tokens of some of the rows."""
        chosen = np.asarray(rows, dtype=np.int64)
        return Tokens(self.of(chosen), self.lengths[chosen])


@dataclass(frozen=True)
class TokenizedTexts:
    """Tokens of some texts.

    Attributes:
        tokens: one row per window, text after text.
        windows: int64 [texts], number of windows of each text: 1 for all but long texts.
        truncated: bool [texts], whether the text goes on after its last window.
        no_tokens: bool [texts], whether the text has no known token; it has the ids of an empty text.
    """

    tokens: Tokens
    windows: NDArray[np.int64]
    truncated: NDArray[np.bool_]
    no_tokens: NDArray[np.bool_]

    @classmethod
    def of_windows(
        cls, tokens: Tokens, no_tokens: NDArray[np.bool_], windows: NDArray[np.int64], truncated: NDArray[np.bool_]
    ) -> TokenizedTexts:
        """The same with ``no_tokens`` of each window: a text has no known token where none of its windows has one."""
        starts = np.cumsum(windows) - windows
        every = np.logical_and.reduceat(no_tokens, starts) if len(windows) else no_tokens
        return cls(tokens, windows, truncated, every)

    @cached_property
    def first_rows(self) -> NDArray[np.int64]:
        """The row of each text's first window, int64 [texts]."""
        return np.cumsum(self.windows) - self.windows

    @cached_property
    def first_windows(self) -> Tokens:
        """The tokens of each text's first window."""
        return self.tokens if len(self.tokens.lengths) == len(self) else self.tokens.subset(self.first_rows)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each text in all of its windows, int64 [texts]."""
        return np.add.reduceat(self.tokens.lengths, self.first_rows) if len(self) else self.windows

    def rows(self, texts: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of some of the texts, int64, text after text."""
        return _spans(self.first_rows[texts], self.windows[texts])

    def subset(self, texts: Sequence[int] | NDArray[np.int64]) -> TokenizedTexts:
        """The tokens of some of the texts."""
        chosen = np.asarray(texts, dtype=np.int64)
        tokens = self.tokens.subset(self.rows(chosen))
        return TokenizedTexts(tokens, self.windows[chosen], self.truncated[chosen], self.no_tokens[chosen])

    @classmethod
    def concatenate(cls, parts: Sequence[TokenizedTexts]) -> TokenizedTexts:
        """The texts of all parts, in order."""
        tokens = Tokens(
            np.concatenate([part.tokens.ids for part in parts]), np.concatenate([part.tokens.lengths for part in parts])
        )
        flags = (np.concatenate([getattr(part, name) for part in parts]) for name in ("truncated", "no_tokens"))
        return cls(tokens, np.concatenate([part.windows for part in parts]), *flags)

    def __len__(self) -> int:
        return len(self.windows)


def _spans(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of all spans, each from its start on, one after another."""
    ends = np.cumsum(lengths)
    spans: NDArray[np.int64] = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
    return spans


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
            tokens = tokenizer.model.tokenize("\U0010ffff")  # a code point without a character
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
        is_known = (ids[:, np.newaxis] != self.ignored).all(axis=1)
        known = np.concatenate([[0], np.cumsum(is_known)])
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
    """A ``tokenizer.json``. Safe to share between threads.

    Args:
        path: the file.
        max_length: tokens of a row, special tokens included.
        long_texts: how longer texts are read; by default they are truncated.

    Raises:
        InputError: see :meth:`EmptyText.of` and :meth:`toxonnx.long_texts.LongTexts.check`.

    Attributes:
        max_tokens: of the longest text that is read to its end.
    """

    def __init__(self, path: Path, max_length: int, long_texts: LongTexts = TRUNCATE) -> None:
        try:
            self._tokenizer = _Tokenizer.from_file(str(path))
            self._tokenizer.no_padding()
            self._empty = EmptyText.of(self._tokenizer)
            long_texts.check(max_length, self._empty.special_tokens)
            self._tokenizer.enable_truncation(max_length, stride=long_texts.stride)
        except InputError:
            raise
        except BaseException as error:  # the library's exceptions have no base class of their own
            if not isinstance(error, Exception) and not _is_panic(error):
                raise
            raise InputError(f"{path} is not a tokenizer: {error!s:.200}") from None
        self._max_windows = long_texts.max_windows
        self.max_tokens = long_texts.tokens(max_length, self._empty.special_tokens)
        self._sizes = [number * self.max_tokens for number in START_CHARACTERS]

    def __call__(self, texts: Sequence[str]) -> TokenizedTexts:
        """Token ids of the texts, in their order; at least one token of each.

        Raises:
            BundleError: the tokenizer failed, for example at a regular expression that takes too many steps; or an id
                is not an int32.
        """
        rows: list[list[int]] = []
        counts = np.empty(len(texts), dtype=np.int64)
        truncated = np.empty(len(texts), dtype=np.bool_)
        for i, encoding in enumerate(itertools.chain.from_iterable(map(self._encode, split_texts(texts)))):
            others = encoding.overflowing
            rows += [encoding.ids, *(other.ids for other in others[: self._max_windows - 1])]
            counts[i] = min(1 + len(others), self._max_windows)
            truncated[i] = len(others) >= self._max_windows
        try:
            ids, lengths, no_tokens = self._empty.replace(*concatenate_ids(rows))
        except OverflowError:  # an id of more than 31 bits
            raise BundleError("the tokenizer of this bundle gives an id that no model has", _FOREIGN) from None
        return TokenizedTexts.of_windows(Tokens(ids, lengths), no_tokens, counts, truncated)

    def _encode(self, texts: list[str]) -> list[Any]:
        try:
            return self._encode_starts(texts)
        except TypeError:  # raised for a text that cannot be encoded in UTF-8
            return self._encode_starts([replace_surrogates(text) for text in texts])
        except BaseException as error:
            if not _is_panic(error):
                raise
            what = "the tokenizer of this bundle failed on a text"  # the reason may quote it
            raise BundleError(what, _FOREIGN) from None

    def _encode_starts(self, texts: list[str]) -> list[Any]:
        """Encodings, reading no more of a long text than it takes to fill its windows.

        Words are tokenized one by one from the left, so all words of the start of a text but the last ones are those of
        the whole text. Where they do not fill the windows, more is read, and in the end the whole text.
        """
        encodings: list[Any] = [None] * len(texts)
        rest: Sequence[int] = range(len(texts))
        for size in self._sizes:
            long = [i for i in rest if len(texts[i]) > 2 * size]
            for i, encoding in zip(long, self._encode_batch([texts[i][:size] for i in long]), strict=True):
                if self._is_enough(encoding):
                    encodings[i] = encoding
            rest = [i for i in rest if encodings[i] is None]
        for i, encoding in zip(rest, self._tokenizer.encode_batch_fast([texts[i] for i in rest]), strict=True):
            encodings[i] = encoding
        return encodings

    def _encode_batch(self, texts: list[str]) -> list[Any]:
        """Encodings with the position of each token's word, which the faster method leaves out."""
        return self._tokenizer.encode_batch(texts) if texts else []

    def _is_enough(self, encoding: Any) -> bool:
        """Whether the windows of the start of a text are those of the text."""
        windows = [encoding, *encoding.overflowing]
        if len(windows) <= self._max_windows:
            return False
        read, end = (_last_word(window) for window in (windows[self._max_windows - 1], windows[-1]))
        return end - read >= UNSURE_WORDS


def _is_panic(error: BaseException) -> bool:
    """Whether it is a panic of the Rust library, which is not an :class:`Exception`."""
    return type(error).__module__ == "pyo3_runtime"


def _last_word(encoding: Any) -> int:
    """The position of an encoding's last word in the text."""
    return max((word for word in encoding.word_ids if word is not None), default=0)


def concatenate_ids(rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The ids of all rows, int32 [ids], and the length of each row, int64 [rows]."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    return np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int32, count=int(lengths.sum())), lengths


def split_texts(texts: Sequence[str], characters: int = 1 << 20, count: int | None = None) -> Iterator[list[str]]:
    """The texts in parts of about ``characters`` characters, and of at most ``count`` texts: a tokenizer holds what it
    makes of a whole part in memory."""
    part: list[str] = []
    size = 0
    for text in texts:
        part.append(text)
        size += len(text)
        if size >= characters or len(part) == count:
            yield part
            part, size = [], 0
    if part:
        yield part
