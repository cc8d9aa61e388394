"""From the logits of windows to the logits of texts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toxonnx.inference.scores import probabilities
from toxonnx.labels import Labels

__all__ = ["pool_windows"]


def pool_windows(
    logits: NDArray[np.float32], windows: NDArray[np.int64], labels: Labels, pool: str
) -> NDArray[np.float32]:
    """The logits of texts; those of a text with one window are that window's.

    Calibration is part of the windows' logits. ``mean``, and ``max`` with a sigmoid, give the same result as
    calibrating the pooled logits would: both commute with a positive scale and a shift.

    Args:
        logits: of all windows, text after text, float32 [windows, labels].
        windows: number of windows of each text, int64 [texts].
        labels: the label set.
        pool: ``mean``: the mean of each label's logits. ``max``: with a sigmoid, the largest logit of each label; with
            a softmax, whose logits can be compared within a window only, the logarithm of its largest probability.

    Returns:
        float32 [texts, labels].
    """
    starts = np.cumsum(windows) - windows
    pooled: NDArray[np.float32] = logits[starts]
    # One by one, so that the rounding of a text's mean does not depend on the texts around it.
    for i in np.flatnonzero(windows > 1):
        pooled[i] = _pool(logits[starts[i] : starts[i] + windows[i]], labels, pool)
    return pooled


def _pool(logits: NDArray[np.float32], labels: Labels, pool: str) -> NDArray[np.floating]:
    """The logits of a text of several windows, [labels]."""
    if pool == "mean":
        mean: NDArray[np.float64] = logits.mean(axis=0, dtype=np.float64)
        return mean
    if labels.multi:
        largest_logits: NDArray[np.float32] = logits.max(axis=0)
        return largest_logits
    largest = probabilities(logits, labels).max(axis=0)
    scaled: NDArray[np.float64] = labels.temperature * np.log(largest + np.finfo(np.float64).tiny)
    return scaled
