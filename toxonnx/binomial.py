"""Exact tests and intervals of a share of which a number of cases was observed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["clopper_pearson", "most_failures", "rows_needed"]


def _log_probabilities(most: int, count: int, share: float) -> NDArray[np.float64]:
    """Logarithms of the probabilities of 0, 1, ..., ``most`` of ``count`` cases, float64 [most + 1]."""
    k = np.arange(1, most + 1)
    chosen = np.concatenate([[0.0], np.cumsum(np.log((count - k + 1) / k))])
    k = np.arange(most + 1)
    logs: NDArray[np.float64] = chosen + k * math.log(share) + (count - k) * math.log1p(-share)
    return logs


def most_failures(count: int, share: float, error: float = 0.05) -> int:
    """The most failures in ``count`` cases that show that failures are rarer than ``share``.

    The exact test of Clopper and Pearson (1934): the largest k for which k or fewer failures have a probability of at
    most ``error`` where the share is ``share``.

    Returns:
        The number of failures; -1 where even none would show it.
    """
    if share >= 1:
        return count
    if share <= 0 or not count:
        return -1
    at_most = np.cumsum(np.exp(_log_probabilities(math.ceil(count * share), count, share)))
    return int(np.searchsorted(at_most, error, side="right")) - 1


def rows_needed(share: float, error: float = 0.05) -> int:
    """The fewest cases that, without any failure, show that failures are rarer than ``share`` (above 0)."""
    return 0 if share >= 1 else math.ceil(math.log(error) / math.log1p(-share))


def clopper_pearson(cases: int, count: int, error: float = 0.05) -> tuple[float, float]:
    """The exact two-sided interval of a share (Clopper and Pearson, "The use of confidence or fiducial limits
    illustrated in the case of the binomial", Biometrika 26, 1934).

    Args:
        cases: observed, out of ``count``.
        count: of all cases.
        error: one minus the confidence.
    """
    return 1 - _upper(count - cases, count, error / 2), _upper(cases, count, error / 2)


def _upper(cases: int, count: int, error: float) -> float:
    """The share at which this number of cases, or fewer, has a probability of ``error``."""
    low, high = (cases / count if count else 0.0), 1.0
    if cases == count:
        return 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if np.exp(_log_probabilities(cases, count, middle)).sum() > error:
            low = middle
        else:
            high = middle
    return high
