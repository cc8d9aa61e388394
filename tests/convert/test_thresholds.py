"""Thresholds of an export."""

from __future__ import annotations

import dataclasses

import numpy as np

from toxonnx.convert.thresholds import add_threshold_curves, fit_bundle_thresholds, measure_thresholds_on_test_rows
from toxonnx.convert.verify import VerificationRows
from toxonnx.evaluate.thresholds import Target
from toxonnx.inference.scores import probabilities
from toxonnx.labels import Labels
from toxonnx.manifest_decisions import Decisions


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


def test_a_recall_that_no_test_row_can_show_is_not_missed() -> None:
    labels = Labels(("a", "b"), "sigmoid")
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 2, (200, 2))
    logits = (rng.normal(size=(200, 2)) + 4 * y_true - 2).astype(np.float32)
    rows = VerificationRows([f"day {i}" for i in range(200)], y_true, "validation rows", "validation")
    target = Target("recall", {"*": 0.9})
    fitted, decisions = fit_bundle_thresholds(logits, rows, labels, target, Decisions(rows=200, rows_from=rows.where))
    without = dataclasses.replace(rows, y_true=y_true * [1, 0])
    assert measure_thresholds_on_test_rows(decisions, logits, without, fitted).missed == []


def test_curves_count_what_reaches_each_threshold() -> None:
    rng = np.random.default_rng(1)
    labels = Labels(("rude", "spam"), "sigmoid", (0.5, 0.5))
    logits = rng.normal(scale=3, size=(80, 2)).astype(np.float32)
    y_true = rng.integers(0, 2, (80, 2)).astype(np.float64)
    y_true[:30, 1] = np.nan  # not judged
    rows = VerificationRows([f"day {i}" for i in range(80)], y_true, "test rows", "test")
    decisions = add_threshold_curves(Decisions(rows=80, rows_from="test rows"), logits, rows, labels)
    assert decisions is not None
    probs = probabilities(logits, labels)
    for i, name in enumerate(labels.names):
        curve, known = decisions.curves[name], ~np.isnan(y_true[:, i])
        assert (curve.positives, curve.negatives) == (np.nansum(y_true[:, i]), (known & (y_true[:, i] == 0)).sum())
        for step, threshold in ((0, 0.0), (37, 0.37), (100, 1.0)):
            reached = probs[:, i] >= threshold
            assert curve.true_positives[step] == (reached & (y_true[:, i] == 1)).sum()
            assert curve.false_positives[step] == (reached & (y_true[:, i] == 0)).sum()
