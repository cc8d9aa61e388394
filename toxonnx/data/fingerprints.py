"""Hashes of texts that a model has met in training, so that an evaluation knows them again without keeping them.

A hash hides a text only as far as nobody can guess it: short or common texts can be tried out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import InputError
from toxonnx.texts import fold

__all__ = ["FINGERPRINT_FILES", "hashes", "is_seen", "load_fingerprints", "save_fingerprints"]

#: where a model met texts -> the file, in a run or a bundle, that keeps their hashes: what it was trained on, what its
#: epoch was chosen on, and other rows that scales, temperature or thresholds were fitted on
FINGERPRINT_FILES = {
    "training": "training_texts.npy",
    "validation": "validation_texts.npy",
    "fitted": "fitted_texts.npy",
}


def hashes(texts: Iterable[str]) -> NDArray[np.uint64]:
    """A hash for each text, uint64 [texts]. Texts that differ in white space and case alone have the same."""
    digests = (hashlib.blake2b(fold(text).encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def is_seen(texts: Iterable[str], seen: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """For each text, whether its hash is one of those, bool [texts]."""
    return np.isin(hashes(texts), seen)


def save_fingerprints(path: Path, texts: Iterable[str]) -> None:
    """Keeps the distinct hashes of texts, in the order of their values: nothing tells which row one is from."""
    np.save(path, np.unique(hashes(texts)), allow_pickle=False)


def load_fingerprints(path: Path) -> NDArray[np.uint64]:
    """What :func:`save_fingerprints` kept.

    Raises:
        InputError: the file is none of these.
    """
    try:
        table: NDArray[np.uint64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} holds no hashes: {error}") from None
    if table.dtype != np.uint64 or table.ndim != 1:
        raise InputError(f"{path} holds no hashes but {table.dtype} {table.shape}")
    return table
