"""Fingerprints of the texts that a model has seen, so that an evaluation recognises them without storing them.

A fingerprint is a hash of 48 bits: a text that was not seen matches one of 200,000 by chance with a probability of
1e-9. Short or common texts can be recovered from it by hashing guesses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toxonnx.arrays import load_array
from toxonnx.errors import InputError
from toxonnx.texts import fold

__all__ = ["FINGERPRINT_FILES", "hashes", "is_seen", "load_fingerprints", "save_fingerprints"]

#: where a model has seen texts -> file in a run or bundle: texts it was trained on, texts that chose its epoch, and
#: other texts on which scales, calibration or thresholds were fitted
FINGERPRINT_FILES = {
    "training": "training_texts.npy",
    "validation": "validation_texts.npy",
    "fitted": "fitted_texts.npy",
}

_BYTES = 6
_MASK = np.uint64((1 << 8 * _BYTES) - 1)


def hashes(texts: Iterable[str]) -> NDArray[np.uint64]:
    """A hash of each text, uint64 [texts] below 2**48; equal for texts that differ only in white space and case."""
    digests = (hashlib.blake2b(fold(text).encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64) & _MASK


def is_seen(texts: Iterable[str], seen: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each text is among those with these fingerprints, bool [texts]."""
    return np.isin(hashes(texts), seen)


def save_fingerprints(path: Path, texts: Iterable[str], others: NDArray[np.uint64] | None = None) -> None:
    """Writes the distinct hashes of texts, and ``others``, sorted, so that they do not show the order of the rows.

    The file has uint8 [hashes, 6], the least significant byte first.
    """
    known = np.unique(hashes(texts) if others is None else np.concatenate([hashes(texts), others]))
    np.save(path, known.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :_BYTES], allow_pickle=False)


def load_fingerprints(path: Path) -> NDArray[np.uint64]:
    """The hashes that :func:`save_fingerprints` wrote, uint64 [hashes] below 2**48.

    Files with hashes of 64 bits, as they were written before, are read, too.

    Raises:
        InputError: it is another kind of file.
    """
    table = load_array(path, "fingerprints")
    if table.dtype == np.uint64 and table.ndim == 1:
        return table & _MASK
    if table.dtype != np.uint8 or table.shape[1:] != (_BYTES,):
        raise InputError(f"{path} does not contain fingerprints, but {table.dtype} {table.shape}")
    padded = np.pad(np.ascontiguousarray(table), [(0, 0), (0, 8 - _BYTES)])
    return padded.view("<u8").reshape(-1).astype(np.uint64)
