"""The cache of logits."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from toxonnx.inference.cache import LogitCache, digest


@given(
    windows=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4), max_size=40),
    capacity=st.integers(32, 48),
    in_flight=st.integers(0, 3),
)
def test_a_repeated_text_finds_its_own_logits(windows: list[list[int]], capacity: int, in_flight: int) -> None:
    cache = LogitCache(1, capacity, in_flight=4 * 4)
    waiting: list[tuple[list[int], np.ndarray]] = []
    scored: set[int] = set()
    for texts in windows:
        slots, misses = cache.assign([digest(str(text)) for text in texts])
        # Scored at once, read some windows later: a slot must not be reused in between.
        cache.logits[slots[misses], 0] = [texts[i] for i in misses]
        scored |= {texts[i] for i in misses}
        assert scored >= set(texts)
        assert len({texts[i] for i in misses}) == len(misses)
        waiting.append((texts, slots))
        if len(waiting) > in_flight:
            then, at = waiting.pop(0)
            assert cache.logits[at, 0].tolist() == then


def test_old_texts_are_evicted() -> None:
    cache = LogitCache(1, 8, in_flight=2)
    assert [cache.assign([digest(text)])[1] for text in "aabab"] == [[0], [], [0], [], []]
    cache.assign([digest(str(number)) for number in range(20)])
    assert cache.assign([digest("a")])[1] == [0]


def test_memory_grows_with_texts_not_with_the_capacity() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    cache = LogitCache(5, 40_000_000, 20_000_000)
    slots, misses = cache.assign([digest("a"), digest("b"), digest("a")])
    assert resident() - before < 50e6
    assert slots.tolist() == [0, 1, 0] and misses == [0, 1]
