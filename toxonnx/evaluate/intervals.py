"""Uncertainty of metrics: bootstrap intervals and McNemar's test."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.evaluate.metrics import Metrics, Sample

__all__ = ["Ends", "McNemar", "bootstrap", "cluster_ids", "flatten", "mcnemar", "resamples"]

#: what has an interval: of all rows, and of each label
_NAMES = ("accuracy", "macro_f1", "weighted_f1", "loss", "roc_auc", "average_precision")
_LABEL_NAMES = ("precision", "recall", "f1", "roc_auc", "average_precision")

#: lower and upper end of a 95% interval
Ends = tuple[float, float]


def cluster_ids(keys: Sequence[Any]) -> NDArray[np.int64]:
    """A number for each row, equal for rows with equal keys, int64 [rows]."""
    first: dict[Any, int] = {}
    return np.array([first.setdefault(key, len(first)) for key in keys], dtype=np.int64)


def resamples(groups: NDArray[np.int64], samples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yields how often each row counts in a resample, int64 [rows].

    Groups are drawn, not rows: repeated texts add no information and would make intervals too narrow.
    """
    rng = np.random.default_rng(seed)
    count = int(groups.max()) + 1 if len(groups) else 0
    for _ in range(samples if count else 0):
        yield np.bincount(rng.integers(0, count, count), minlength=count)[groups]


def flatten(metrics: Metrics) -> dict[str, float]:
    """Metrics by name, ``per_class/LABEL/f1`` for those of a label; NaN if a metric is undefined.

    Counts are left out, and so is the calibration error, whose bootstrap interval is biased: the chance part of the
    error is added again in each resample (see :meth:`toxonnx.evaluate.metrics.Sample.chance_ece`).
    """
    single = {name: getattr(metrics, name) for name in _NAMES}
    for label, of_label in metrics.per_class.items():
        single |= {f"per_class/{label}/{name}": getattr(of_label, name) for name in _LABEL_NAMES}
    return {key: math.nan if value is None else value for key, value in single.items()}


def bootstrap(
    measure: Callable[[NDArray[np.int64]], Mapping[str, float]],
    groups: NDArray[np.int64],
    samples: int,
    seed: int,
) -> dict[str, Ends | None]:
    """95% intervals by the percentile bootstrap.

    Args:
        measure: computes metrics from how often each row counts.
        groups: rows that are drawn together; see :func:`cluster_ids`.
        samples: number of resamples; 0 for no intervals.
        seed: random seed of the resamples.

    Returns:
        An interval for each metric; None if the bootstrap gives none: the metric was undefined in a tenth of the
        resamples or more, or constant (if all rows are correct, that does not mean that all new rows will be).
    """
    table: dict[str, list[float]] = {}
    for weights in resamples(groups, samples, seed):
        for key, value in measure(weights).items():
            table.setdefault(key, []).append(value)
    return {key: _percentile_interval(np.array(values)) for key, values in table.items()}


def _percentile_interval(values: NDArray[np.float64]) -> Ends | None:
    defined = values[~np.isnan(values)]
    if len(defined) <= 0.9 * len(values):
        return None
    low, high = (float(end) for end in np.percentile(defined, [2.5, 97.5]))
    return (low, high) if low < high else None


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """McNemar's exact test, two-sided.

    Attributes:
        rows: rows tested.
        only_first_correct, only_second_correct: rows on which only one of the classifiers is correct.
        p: probability of a difference at least as large if neither classifier is better.
    """

    rows: int
    only_first_correct: int
    only_second_correct: int
    p: float


def mcnemar(one: Sample, other: Sample) -> McNemar:
    """Tests whether two classifiers are wrong equally often on the same rows."""
    first = int((one.correct & ~other.correct).sum())
    second = int((other.correct & ~one.correct).sum())
    n, k = first + second, min(first, second)
    logs = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k + 1)])
    p = min(1.0, 2 * float(np.exp(logs - n * math.log(2)).sum()))
    return McNemar(rows=len(one), only_first_correct=first, only_second_correct=second, p=p)
