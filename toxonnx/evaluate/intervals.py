"""How far a figure may be off: bootstrap and McNemar's test."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.evaluate.metrics import Metrics, Sample

__all__ = ["Ends", "bootstrap", "clusters", "flat", "mcnemar", "resamples"]

#: lower and upper end of a 95% interval
Ends = tuple[float, float]


def clusters(keys: Sequence[Any]) -> NDArray[np.int64]:
    """A number for each row, the same for rows of the same key, int64 [rows]."""
    first: dict[Any, int] = {}
    return np.array([first.setdefault(key, len(first)) for key in keys], dtype=np.int64)


def resamples(groups: NDArray[np.int64], bootstrap_samples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each row counts in each of some resamples of its groups, int64 [rows].

    Groups are drawn, not rows: rows that repeat one text tell no more than one, and would make intervals too narrow.
    """
    rng = np.random.default_rng(seed)
    count = int(groups.max()) + 1 if len(groups) else 0
    for _ in range(bootstrap_samples if count else 0):
        yield np.bincount(rng.integers(0, count, count), minlength=count)[groups]


def flat(metrics: Metrics) -> dict[str, float]:
    """Metrics as one level of names, ``per_class/LABEL/f1`` for those of a label; undefined ones NaN.

    Counts are left out, and so is the calibration error, for which resampling gives no honest interval: chance adds to
    it in each resample once more (see :meth:`Sample.chance_ece`).
    """
    table = metrics.to_dict()
    single = {key: value for key, value in table.items() if key not in {"per_class", "confusion", "ece"}}
    for label, one in table["per_class"].items():
        single |= {
            f"per_class/{label}/{key}": value for key, value in one.items() if key not in {"support", "predicted"}
        }
    return {key: math.nan if value is None else value for key, value in single.items()}


def bootstrap(
    measure: Callable[[NDArray[np.int64]], Mapping[str, float]],
    groups: NDArray[np.int64],
    bootstrap_samples: int,
    seed: int,
) -> dict[str, Ends | None]:
    """95% intervals: the middle of what is measured on resampled rows (percentile bootstrap).

    Args:
        measure: metrics from how often each row counts.
        groups: rows that are drawn together, see :func:`clusters`.
        bootstrap_samples: resamples; none give no intervals.
        seed: of the drawing.

    Returns:
        An interval for each figure; None where resampling cannot tell: it was undefined in a tenth of the resamples or
        more, or the same in nearly all of them (every row right does not mean that every new one will be).
    """
    table: dict[str, list[float]] = {}
    for weights in resamples(groups, bootstrap_samples, seed):
        for key, value in measure(weights).items():
            table.setdefault(key, []).append(value)
    return {key: _middle(np.array(values)) for key, values in table.items()}


def _middle(values: NDArray[np.float64]) -> Ends | None:
    defined = values[~np.isnan(values)]
    if len(defined) <= 0.9 * len(values):
        return None
    low, high = (float(end) for end in np.percentile(defined, [2.5, 97.5]))
    return (low, high) if low < high else None


def mcnemar(one: Sample, other: Sample) -> dict[str, Any]:
    """Whether two classifiers err on the same rows equally often: McNemar's exact test, two-sided.

    Returns:
        ``only_first_right``, ``only_second_right`` (rows), and ``p``: how probable a difference as large is where
        neither is better.
    """
    first = int((one.right & ~other.right).sum())
    second = int((other.right & ~one.right).sum())
    n, k = first + second, min(first, second)
    logs = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k + 1)])
    p = min(1.0, 2 * float(np.exp(logs - n * math.log(2)).sum()))
    return {"only_first_right": first, "only_second_right": second, "p": p}
