from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toxonnx.check import near_duplicates
from toxonnx.check.near_duplicates import SIMILARITY, find_near_duplicates, similarity


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.lists(st.sampled_from(["soup", "bread", "film", "train"]), min_size=1, max_size=9), max_size=12),
    ends=st.lists(st.sampled_from(["", "s", " now"]), min_size=12, max_size=12),
)
def test_near_duplicates_are_at_least_as_similar_as_the_limit(texts: list[list[str]], ends: list[str]) -> None:
    keys = list(dict.fromkeys(" ".join(words) + end for words, end in zip(texts, ends, strict=False)))
    pairs = find_near_duplicates(keys).pairs
    assert len(set(pairs)) == len(pairs)
    for i, j in pairs:
        assert i < j and similarity(keys[i], keys[j]) >= SIMILARITY
    comparable = [i for i, key in enumerate(keys) if len(key.split()) >= 3]
    certain = {(i, j) for i in comparable for j in comparable if i < j and similarity(keys[i], keys[j]) >= 0.95}
    assert certain <= set(pairs)


def test_a_sample_is_a_limitation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "MAX_TEXTS", 50)
    assert find_near_duplicates([f"all of them are {i}" for i in range(60)]).limitation == (
        "a random sample of 50 of 60 distinct texts was compared"
    )
