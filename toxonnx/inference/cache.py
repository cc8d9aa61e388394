"""A cache of logits, so that identical texts are scored once, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

__all__ = ["LogitCache", "digest"]


def digest(text: str) -> bytes:
    """A text's 16-byte key in the cache, regardless of its length."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class LogitCache:
    """Assigns each distinct text a slot for its logits, and the same slot when the text comes again.

    The slots form a ring buffer. A slot is reused only after ``capacity`` further distinct texts, and a text whose slot
    is about to be reused gets a new one, so that a slot in use is never overwritten.

    Args:
        labels: number of logits per row.
        capacity: number of distinct texts that are remembered.
        in_flight: number of texts that may be waiting for their logits, or to be read, at one time; at most half of the
            capacity.
    """

    def __init__(self, labels: int, capacity: int, in_flight: int) -> None:
        if in_flight * 2 > capacity:
            raise ValueError(f"capacity {capacity} is too small for {in_flight} texts in flight")
        self.logits: NDArray[np.float32] = np.empty((capacity, labels), dtype=np.float32)
        self.truncated: NDArray[np.bool_] = np.zeros(capacity, dtype=np.bool_)
        self.no_tokens: NDArray[np.bool_] = np.zeros(capacity, dtype=np.bool_)
        self.early: NDArray[np.bool_] = np.zeros(capacity, dtype=np.bool_)
        self._capacity, self._kept = capacity, capacity - in_flight
        self._number: dict[bytes, int] = {}  # number of slots that were assigned before
        self._keys: list[bytes] = []  # by slot; it grows up to the capacity
        self._next = 0

    def assign(self, keys: Sequence[bytes]) -> tuple[NDArray[np.int64], list[int]]:
        """Where the logits of these texts are, or will be.

        Args:
            keys: the :func:`digest` of each text.

        Returns:
            The slots, int64 [texts], indices into ``logits``; and the positions of the misses, which are to be scored.
        """
        slots = np.empty(len(keys), dtype=np.int64)
        misses: list[int] = []
        for i, key in enumerate(keys):
            number = self._number.get(key, -1)
            if number < 0 or self._next - number > self._kept:
                number = self._allocate(key)
                misses.append(i)
            slots[i] = number % self._capacity
        return slots, misses

    def _allocate(self, key: bytes) -> int:
        number, self._next = self._next, self._next + 1
        if number < self._capacity:
            self._keys.append(key)
        else:
            slot = number % self._capacity
            before, self._keys[slot] = self._keys[slot], key
            # A text that was given a newer slot keeps it.
            if self._number.get(before) == number - self._capacity:
                del self._number[before]
        self._number[key] = number
        return number
