"""Calibration of probabilities on held-out rows: a temperature (softmax), or a scale and a shift (sigmoid)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toxonnx.inference.scores import probabilities
from toxonnx.labels import Labels

__all__ = ["Calibration", "cross_validated_logits", "fit_calibration"]

#: limits of a scale, between which the rows have to determine one: they do not if all are predicted correctly, for
#: example, or if a label is no more frequent where its logits are higher
MIN_SCALE, MAX_SCALE = 0.05, 20.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Calibrated logits are ``scale * logits + shift``."""

    scale: float = 1.0
    shift: float = 0.0

    @property
    def is_determined(self) -> bool:
        """Whether the scale is within its limits; positive, it keeps the order of the logits."""
        return MIN_SCALE * 1.01 < self.scale < MAX_SCALE * 0.99

    def __call__(self, logits: NDArray[np.floating]) -> Floats:
        """Calibrated logits, float64 of the same shape."""
        calibrated: Floats = self.scale * logits.astype(np.float64) + self.shift
        return calibrated


def fit_calibration(logits: NDArray[np.floating], y_true: NDArray[np.int64], labels: Labels) -> Calibration:
    """Calibrates a softmax by a temperature, and the sigmoid of a single label by Platt scaling.

    Args:
        logits: float [rows, labels].
        y_true: int64 [rows] of label numbers (softmax), or int64 [rows, 1] of 0 and 1 (sigmoid).
        labels: the label set; its own temperature is ignored. With a sigmoid it has one label: each label of a
            multi-label model is fitted on the rows in which it is known.
    """
    if labels.multi:
        return _fit_platt(logits[:, 0].astype(np.float64), y_true[:, 0] > 0)
    return Calibration(1 / _fit_temperature(logits, y_true, labels))


def _fit_temperature(logits: NDArray[np.floating], y_true: NDArray[np.int64], labels: Labels) -> float:
    """The temperature that minimises the loss on these rows.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    z = logits.astype(np.float64)
    actual = np.eye(len(labels))[y_true]

    def slope(temperature: float) -> float:
        """Derivative of the loss by 1 / temperature, in which the loss is convex."""
        probs = probabilities(logits, dataclasses.replace(labels, temperature=temperature))
        return float(((probs - actual) * z).sum())

    low, high = 1 / MAX_SCALE, 1 / MIN_SCALE
    for _ in range(50):
        middle = float(np.sqrt(low * high))
        if slope(middle) > 0:  # the probabilities are too extreme
            low = middle
        else:
            high = middle
    return float(np.sqrt(low * high))


def _fit_platt(z: Floats, actual: NDArray[np.bool_]) -> Calibration:
    """Scale and shift that minimise the cross-entropy with smoothed labels.

    The targets are (n + 1) / (n + 2) for the n rows that have the label and 1 / (m + 2) for the m others, so that few
    rows of a kind, or rows that a threshold separates, do not lead to extreme probabilities. Sources: Platt,
    "Probabilistic Outputs for Support Vector Machines", 1999; Lin, Lin and Weng, "A Note on Platt's Probabilistic
    Outputs for Support Vector Machines", Machine Learning 68, 2007, for Newton's method with backtracking.
    """
    positive = int(actual.sum())
    negative = len(actual) - positive
    target = np.where(actual, (positive + 1) / (positive + 2), 1 / (negative + 2))
    features = np.stack([z, np.ones_like(z)])

    def loss(theta: Floats) -> float:
        x = theta @ features
        return float((np.logaddexp(0, x) - target * x).sum())

    theta = np.array([0.0, np.log((positive + 1) / (negative + 1))])
    sigmoid = Labels(("label",), "sigmoid")
    for _ in range(100):
        probs = probabilities((theta @ features)[:, None], sigmoid)[:, 0]
        gradient = features @ (probs - target)
        hessian = (features * (probs * (1 - probs))) @ features.T + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        decrement = float(gradient @ step)
        if decrement < 1e-12 * len(z):
            break
        length, before = 1.0, loss(theta)
        while loss(theta - length * step) > before - 1e-4 * length * decrement and length > 1e-10:
            length /= 2
        theta = theta - length * step
    return Calibration(float(theta[0]), float(theta[1]))


def cross_validated_logits(
    logits: NDArray[np.floating],
    y_true: NDArray[np.int64],
    labels: Labels,
    groups: NDArray[np.int64],
    folds: int,
) -> Floats:
    """The logits, each calibrated by a fit on the other folds: what to expect of new rows.

    Rows of one group (see :func:`toxonnx.evaluate.intervals.cluster_ids`) are in the same fold, so that nothing is
    fitted on a text that it is measured on.

    Args:
        logits, y_true, labels: as :func:`fit_calibration` takes them.
        groups: int64 [rows].
        folds: number of folds.

    Returns:
        float64 [rows, labels]; not calibrated where the groups do not fill two folds.
    """
    rng = np.random.default_rng(0)
    fold = (rng.permutation(int(groups.max()) + 1) % folds)[groups]
    calibrated = logits.astype(np.float64)
    used = np.unique(fold)
    for i in used if len(used) > 1 else []:
        held_out = fold == i
        calibrated[held_out] = fit_calibration(logits[~held_out], y_true[~held_out], labels)(logits[held_out])
    return calibrated
