"""Splits: identical texts and groups stay on one side."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toxonnx.data.examples import Examples
from toxonnx.data.splits import split
from toxonnx.errors import InputError
from toxonnx.labels import Labels
from toxonnx.recipe import Split
from toxonnx.texts import TextSpec, fold


def _examples(texts: list[str], y_true: list[int], names: tuple[str, ...] = ("a", "b")) -> Examples:
    lines = list(range(2, len(texts) + 2))
    return Examples(texts, np.array(y_true, dtype=np.int64), lines, Labels(names), TextSpec())


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(1, 6), min_size=6, max_size=40),
    shares=st.tuples(st.floats(0.05, 0.4), st.sampled_from([0.0, 0.1, 0.3])),
    seed=st.integers(0, 5),
)
def test_identical_texts_are_on_one_side(counts: list[int], shares: tuple[float, float], seed: int) -> None:
    texts, y_true = [], []
    for i, count in enumerate(counts):
        for copy in range(count):
            texts.append(f"Text  {i} " if copy % 2 else f"text {i}")
            y_true.append(i % 2)
    parts = split(_examples(texts, y_true), Split(*shares, seed=seed), "here")
    sides = [parts.train, parts.validation, parts.test]
    assert sorted(np.concatenate(sides).tolist()) == list(range(len(texts)))
    seen = [{fold(texts[i]) for i in side} for side in sides]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    assert parts.leaking == 0
    assert parts.duplicates == len(texts) - len(counts)
    for side, share in zip(sides, (1.0, *shares), strict=True):
        assert {y_true[i] for i in side} == ({0, 1} if share else set())
    again = split(_examples(texts, y_true), Split(*shares, seed=seed), "here")
    assert all((a == b).all() for a, b in zip(sides, (again.train, again.validation, again.test), strict=True))


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=30, max_size=80), seed=st.integers(0, 5)
)
def test_rows_of_a_group_stay_together(rows: list[tuple[int, int]], seed: int) -> None:
    # Also chains: rows that share a text with one row and a group with another.
    texts, groups = [f"text {a}" for a, _ in rows], tuple(str(b) for _, b in rows)
    y_true = np.zeros(len(rows), dtype=np.int64)
    for extra in range(4):  # single rows, so that there is always something to draw
        texts.append(f"lone {extra}")
        groups += (f"lone {extra}",)
    y_true = np.concatenate([y_true, np.zeros(4, dtype=np.int64)])
    examples = Examples(texts, y_true, list(range(len(texts))), Labels(("a", "b")), TextSpec(), groups=groups)
    parts = split(examples, Split(0.3, seed=seed, group=("g",)), "here")
    for keys in (texts, groups):
        assert not {keys[i] for i in parts.train} & {keys[i] for i in parts.validation}
    assert parts.leaking == 0 and len(parts.train) + len(parts.validation) == len(texts)


def test_a_random_split_reports_its_leaks() -> None:
    texts = [f"text {i % 20}" for i in range(200)]
    parts = split(_examples(texts, [i % 2 for i in range(200)]), Split(0.2, method="random"), "here")
    assert parts.leaking == parts.leaked == len(parts.validation)


def test_a_class_with_too_few_texts_is_an_error() -> None:
    with pytest.raises(InputError, match=r"rows\.csv: class 'b' has 1 distinct text \(line 6\), the split needs 2"):
        split(_examples(["v", "w", "x", "y", "z", "Z "], [0, 0, 0, 0, 1, 1]), Split(0.2), "rows.csv")


def test_a_text_in_the_label_column_is_not_in_the_error() -> None:
    labels = ("a", "I think that the soup was far too cold, thanks")
    with pytest.raises(InputError, match=r"rows\.csv: class a value of 46 characters has 1 distinct text \(line 6\)"):
        split(_examples(["v", "w", "x", "y", "z"], [0, 0, 0, 0, 1], labels), Split(0.2), "rows.csv")


def test_groups_with_several_labels_are_not_divided() -> None:
    """Four countries, each with every class: every class is accepted, no country is on two sides."""
    examples = _examples([f"day {i}" for i in range(80)], [i % 3 for i in range(80)], ("a", "b", "c"))
    countries = tuple("abcd"[i // 20] for i in range(80))
    parts = split(dataclasses.replace(examples, groups=countries), Split(0.25, seed=1), "rows.csv")
    sides = [{countries[i] for i in part} for part in (parts.train, parts.validation)]
    assert not sides[0] & sides[1] and len(sides[1]) == 1
    # A class that is in a single group cannot be on both sides.
    single = dataclasses.replace(examples, y_true=np.array([2 if i < 20 and i % 2 else i % 2 for i in range(80)]))
    with pytest.raises(InputError, match="class 'c' has 1 distinct group, the split needs 2"):
        split(dataclasses.replace(single, groups=countries), Split(0.25), "rows.csv")
