"""Rows that were scored already: identical texts cost once, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

__all__ = ["Memo", "digest"]


def digest(text: str) -> bytes:
    """What stands for a text, so that a long one takes no more room than a short one: 16 bytes."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Memo:
    """Gives each distinct text a place to put its logits in, and the same place when it comes again.

    Places are used in a ring. A place is handed out again only after ``capacity`` further distinct texts, and a text
    that lies near the end of its time gets a new one, so a place that is in use is never taken away.

    Args:
        labels: logits of a row.
        capacity: distinct texts that are remembered.
        in_flight: texts that may be waiting for their logits, or for being read, at one time; at most half of the
            capacity.
    """

    def __init__(self, labels: int, capacity: int, in_flight: int) -> None:
        if in_flight * 2 > capacity:
            raise ValueError(f"capacity {capacity} is too small for {in_flight} texts in flight")
        self.logits: NDArray[np.float32] = np.empty((capacity, labels), dtype=np.float32)
        self.truncated: NDArray[np.bool_] = np.zeros(capacity, dtype=np.bool_)
        self._capacity, self._kept = capacity, capacity - in_flight
        self._number: dict[bytes, int] = {}  # how many distinct texts came before it
        self._keys: list[bytes | None] = [None] * capacity
        self._next = 0

    def places(self, keys: Sequence[bytes]) -> tuple[NDArray[np.int64], list[int]]:
        """Where the logits of these texts are, or will be.

        Args:
            keys: the :func:`digest` of each text.

        Returns:
            int64 [texts], indices into ``logits``, and the positions of those that are to be scored.
        """
        places = np.empty(len(keys), dtype=np.int64)
        fresh: list[int] = []
        for i, key in enumerate(keys):
            number = self._number.get(key, -1)
            if number < 0 or self._next - number > self._kept:
                number = self._take(key)
                fresh.append(i)
            places[i] = number % self._capacity
        return places, fresh

    def _take(self, key: bytes) -> int:
        number, self._next = self._next, self._next + 1
        before = self._keys[number % self._capacity]
        # A text that was given a newer place keeps that.
        if before is not None and self._number.get(before) == number - self._capacity:
            del self._number[before]
        self._keys[number % self._capacity] = key
        self._number[key] = number
        return number
