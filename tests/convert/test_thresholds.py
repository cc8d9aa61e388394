"""Thresholds of an export."""

from __future__ import annotations

import numpy as np

from toxonnx.convert.thresholds import fit_bundle_thresholds, measure_thresholds_on_test_rows
from toxonnx.convert.verify import VerificationRows
from toxonnx.evaluate.thresholds import Target
from toxonnx.labels import Labels
from toxonnx.manifest import Decisions


def test_a_target_missed_on_other_rows_is_reported() -> None:
    rng = np.random.default_rng(0)
    labels = Labels(("calm", "rude"))
    y_true = rng.integers(0, 2, 200)
    easy = (rng.normal(size=(200, 2)) + 3 * np.eye(2)[y_true]).astype(np.float32)
    hard = (rng.normal(size=(200, 2)) + 0.3 * np.eye(2)[y_true]).astype(np.float32)
    rows = VerificationRows([f"day {i}" for i in range(200)], y_true, "validation rows", "validation")
    target = Target("precision", {"rude": 0.95})
    fitted, decisions = fit_bundle_thresholds(easy, rows, labels, target, Decisions(rows=200, rows_from=rows.where))
    assert decisions.fitted["per_class"]["rude"]["precision"][0] >= 0.95
    assert measure_thresholds_on_test_rows(decisions, easy, rows, fitted).missed == []
    other = measure_thresholds_on_test_rows(decisions, hard, rows, fitted)
    assert other.missed == ["rude"] and other.test["per_class"]["rude"]["precision"][0] < 0.95
