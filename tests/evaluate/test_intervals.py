"""Intervals cover what they should; tests agree with SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from toxonnx.evaluate.intervals import bootstrap, cluster_ids, mcnemar, resamples
from toxonnx.evaluate.metrics import Sample, wilson
from toxonnx.labels import Labels


def test_bootstrap_intervals_have_their_coverage() -> None:
    """Of 200 small samples of one population, about 95% have an interval that contains its accuracy."""
    covered = 0
    for seed in range(200):
        right = np.random.default_rng(seed).random(150) < 0.8

        def measure(weights: np.ndarray, right: np.ndarray = right) -> dict[str, float]:
            return {"accuracy": float(weights @ right / weights.sum())}

        low, high = bootstrap(measure, np.arange(150), 300, seed)["accuracy"] or (1, 0)
        covered += low <= 0.8 <= high
    assert 180 <= covered <= 199


def test_repeated_texts_do_not_narrow_an_interval() -> None:
    right = np.random.default_rng(0).random(60) < 0.7
    texts = [str(i) for i in range(60)]

    def width(copies: int) -> float:
        repeated = np.repeat(right, copies)
        groups = cluster_ids([text for text in texts for _ in range(copies)])

        def measure(weights: np.ndarray) -> dict[str, float]:
            return {"accuracy": float(weights @ repeated / weights.sum())}

        low, high = bootstrap(measure, groups, 500, 1)["accuracy"] or (0, 0)
        return high - low

    assert width(5) == pytest.approx(width(1))
    # Nor does the interval of a group's share.
    once, often = (np.repeat(np.array([True] * 8 + [False] * 2), copies) for copies in (1, 7))
    shares = [
        Sample(np.full((len(hits), 2), 0.5), np.zeros(len(hits), dtype=int), Labels(("x", "y")), groups)
        .share(hits, np.ones(len(hits), dtype=bool))
        for hits, groups in ((once, np.arange(10)), (often, np.repeat(np.arange(10), 7)))
    ]  # fmt: skip
    assert shares[0] == shares[1] == (0.8, *wilson(0.8, 10))
    for weights in resamples(cluster_ids(["x", "y", "x"]), 20, 0):
        assert weights[0] == weights[2]


def test_an_interval_contains_its_share() -> None:
    # An error bar cannot have a negative length: rounding put the end for 4 of 4 below 1.
    for count in range(1, 300):
        for right in (0, count // 3, count):
            low, high = wilson(right / count, count)
            assert 0 <= low <= right / count <= high <= 1, (right, count)


@settings(deadline=None)
@given(right=st.integers(0, 60), others=st.integers(0, 60))
def test_wilson_and_mcnemar_agree_with_scipy(right: int, others: int) -> None:
    if right + others:
        low, high = scipy.stats.binomtest(right, right + others).proportion_ci(method="wilson")
        assert wilson(right / (right + others), right + others) == pytest.approx((low, high), abs=1e-6)
    # Each model is the only correct one on some rows.
    correct, wrong = np.eye(2)
    labels, y_true = Labels(("x", "y")), np.zeros(right + others + 3, dtype=int)
    one = Sample(np.array([*([correct] * (right + 3)), *([wrong] * others)]), y_true, labels)
    two = Sample(np.array([*([wrong] * right), *([correct] * (others + 3))]), y_true, labels)
    found = mcnemar(one, two)
    assert (found.only_first_correct, found.only_second_correct) == (right, others)
    expected = scipy.stats.binomtest(right, right + others).pvalue if right + others else 1.0
    assert found.p == pytest.approx(expected)
