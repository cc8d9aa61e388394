"""Logits to probabilities to decisions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toxonnx.labels import Labels

__all__ = ["decide", "probabilities"]


def probabilities(logits: NDArray[np.floating], labels: Labels) -> NDArray[np.float64]:
    """Softmax or sigmoid of logits [rows, labels], as float64 of the same shape."""
    x = logits.astype(np.float64)
    if labels.multi:
        # Two forms, so that the exponential never overflows.
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + small), small / (1 + small))
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = e / e.sum(axis=-1, keepdims=True)
    return result


def decide(probs: NDArray[np.float64], labels: Labels) -> NDArray[np.bool_]:
    """Which labels hold, bool [rows, labels]: the likeliest one (softmax), or all over their threshold (sigmoid)."""
    if labels.multi:
        return probs >= np.asarray(labels.thresholds)
    held = np.zeros(probs.shape, dtype=np.bool_)
    held[np.arange(len(probs)), probs.argmax(axis=-1)] = True
    return held
