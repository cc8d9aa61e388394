"""Texts to token ids: ragged, truncated, counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as _Tokenizer

__all__ = ["Tokenizer", "Tokens"]


@dataclass(frozen=True)
class Tokens:
    """Token ids of some texts.

    Attributes:
        ids: one int64 array of shape [tokens of that text] per text, special tokens included.
        lengths: int64 [texts].
        truncated: bool [texts], whether the text was cut at the limit.
    """

    ids: list[NDArray[np.int64]]
    lengths: NDArray[np.int64]
    truncated: NDArray[np.bool_]


class Tokenizer:
    """A ``tokenizer.json``, cutting at ``max_length`` tokens, special ones included. Safe to share between threads."""

    def __init__(self, path: Path, max_length: int) -> None:
        self._tokenizer = _Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Token ids of the texts, in their order."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        ids = [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]
        return Tokens(
            ids,
            np.array([len(row) for row in ids], dtype=np.int64),
            np.array([bool(encoding.overflowing) for encoding in encodings], dtype=np.bool_),
        )
