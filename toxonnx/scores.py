"""Logits to probabilities to decisions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toxonnx.labels import Labels

__all__ = ["decide", "doubtful", "probabilities"]


def probabilities(logits: NDArray[np.floating], labels: Labels) -> NDArray[np.float64]:
    """Softmax or sigmoid of logits [rows, labels] over their temperature, as float64 of the same shape."""
    x = logits.astype(np.float64) / labels.temperature
    if labels.multi:
        # Two forms, so that the exponential never overflows.
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + small), small / (1 + small))
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = e / e.sum(axis=-1, keepdims=True)
    return result


def decide(probs: NDArray[np.float64], labels: Labels) -> NDArray[np.bool_]:
    """Which labels hold, bool [rows, labels].

    Sigmoid: all whose probability reaches their threshold. Softmax: the likeliest one; with thresholds, the one that is
    furthest over its own (probability over threshold), and where none reaches it, the likeliest.
    """
    if labels.multi:
        return probs >= np.asarray(labels.thresholds)
    chosen = probs.argmax(axis=-1)
    if labels.thresholds:
        ratio = probs / np.asarray(labels.thresholds)
        chosen = np.where(ratio.max(axis=-1) >= 1, ratio.argmax(axis=-1), chosen)
    held = np.zeros(probs.shape, dtype=np.bool_)
    held[np.arange(len(probs)), chosen] = True
    return held


def doubtful(probs: NDArray[np.float64], labels: Labels, limit: float = 0.0) -> NDArray[np.bool_]:
    """Which rows a person should look at, bool [rows].

    Softmax: no label reaches its threshold, or the one that was chosen is less likely than ``limit``. Sigmoid: some
    label that holds is less likely than ``limit``, or one that does not is missing with less than that.
    """
    held = decide(probs, labels)
    if labels.multi:
        each: NDArray[np.float64] = np.where(held, probs, 1 - probs).min(axis=-1)
        return each < limit
    certain: NDArray[np.float64] = probs[held]
    if not labels.thresholds:
        return certain < limit
    furthest: NDArray[np.float64] = (probs / np.asarray(labels.thresholds)).max(axis=-1)
    return (certain < limit) | (furthest < 1)
