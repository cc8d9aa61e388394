"""Calibration: a temperature, or a scale and a shift."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.optimize
from helpers import LETTERS
from hypothesis import given, settings
from hypothesis import strategies as st

from toxonnx.evaluate.calibration import cross_validated_logits, fit_calibration
from toxonnx.evaluate.metrics import evaluate
from toxonnx.inference.scores import probabilities
from toxonnx.labels import Labels

ONE = Labels(("rude",), "sigmoid")


@pytest.mark.parametrize("sharpness", [0.3, 4.0])
def test_the_temperature_minimises_the_loss(sharpness: float) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(4000, 3)) * 2
    labels = Labels(LETTERS)
    y_true = (rng.random((4000, 1)) > probabilities(logits, labels).cumsum(axis=1)).sum(axis=1)
    found = fit_calibration(logits * sharpness, y_true, labels)

    def loss(temperature: float) -> float:
        return evaluate(logits * sharpness, y_true, dataclasses.replace(labels, temperature=temperature)).loss

    best = scipy.optimize.minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x
    assert 1 / found.scale == pytest.approx(best, rel=1e-3) == pytest.approx(sharpness, rel=0.1)
    assert found.shift == 0
    calibrated = cross_validated_logits(logits * sharpness, y_true, labels, np.arange(4000), folds=5)
    before = evaluate(logits * sharpness, y_true, labels).ece
    assert evaluate(calibrated, y_true, labels).ece < min(0.03, before / 2)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.3, 5), shift=st.floats(-3, 3))
def test_platt_scaling_recovers_scale_and_shift(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(6000, 1)) * 1.5
    y_true = (rng.random((6000, 1)) < probabilities(scale * z + shift, ONE)).astype(np.int64)
    found = fit_calibration(z, y_true, ONE)
    assert (found.scale, found.shift) == pytest.approx((scale, shift), rel=0.2, abs=0.2)
    assert found.is_determined and (np.argsort(found(z[:, 0])) == np.argsort(z[:, 0])).all()

    n, m = y_true.sum(), (1 - y_true).sum()
    targets = np.where(y_true > 0, (n + 1) / (n + 2), 1 / (m + 2))[:, 0]

    def loss(theta: np.ndarray) -> float:
        x = theta[0] * z[:, 0] + theta[1]
        return float((np.logaddexp(0, x) - targets * x).sum())

    assert (found.scale, found.shift) == pytest.approx(scipy.optimize.minimize(loss, (1.0, 0.0)).x, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(st.floats(-50, 50), st.booleans()), min_size=1, max_size=60))
def test_platt_scaling_of_any_rows(rows: list[tuple[float, bool]]) -> None:
    z, y_true = np.array([[score] for score, _ in rows]), np.array([[int(label)] for _, label in rows])
    found, mirrored = fit_calibration(z, y_true, ONE), fit_calibration(-z, y_true, ONE)
    # Rows of one kind do not make a label certain: the mean is that of the smoothed targets.
    n, m = int(y_true.sum()), len(rows) - int(y_true.sum())
    smoothed = (n * (n + 1) / (n + 2) + m / (m + 2)) / len(rows)
    assert probabilities(found(z), ONE).mean() == pytest.approx(smoothed, abs=1e-3)
    # A label that is rarer where its logits are higher has no scale that keeps their order.
    assert not (found.is_determined and mirrored.is_determined)
    if found.is_determined:
        assert (np.diff(found(np.sort(z[:, 0]))) >= 0).all()
