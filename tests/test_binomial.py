"""Exact binomial tests, compared with SciPy."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from toxonnx.binomial import clopper_pearson, most_failures, rows_needed


@settings(deadline=None)
@given(
    count=st.integers(0, 3000),
    share=st.sampled_from([0.001, 0.005, 0.03, 0.5, 0.99]),
    error=st.sampled_from([0.05, 0.01]),
)
def test_the_most_failures_that_show_a_share(count: int, share: float, error: float) -> None:
    most = most_failures(count, share, error)
    assert most < 0 or binom.cdf(most, count, share) <= error
    assert most == count or binom.cdf(most + 1, count, share) > error
    assert (most >= 0) == (count >= rows_needed(share, error))


@settings(deadline=None)
@given(data=st.data(), count=st.integers(1, 2000))
def test_the_interval_is_the_exact_one(data: st.DataObject, count: int) -> None:
    cases = data.draw(st.integers(0, count))
    expected = binomtest(cases, count).proportion_ci(0.95, "exact")
    assert clopper_pearson(cases, count) == pytest.approx((expected.low, expected.high), abs=1e-9)
