"""Thresholds of a bundle: fitted on held-out rows, measured on others."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from typing import cast

import numpy as np
from numpy.typing import NDArray

from toxonnx.convert.verify import VerificationRows
from toxonnx.evaluate.intervals import cluster_ids
from toxonnx.evaluate.metrics import Sample
from toxonnx.evaluate.thresholds import Target, ThresholdMetrics, fit_thresholds, measure_thresholds
from toxonnx.labels import Labels
from toxonnx.manifest_decisions import Decisions, ThresholdCurve, ThresholdsDict
from toxonnx.recipe import Export
from toxonnx.texts import fold

__all__ = ["add_threshold_curves", "fit_bundle_thresholds", "measure_thresholds_on_test_rows", "threshold_target"]


def threshold_target(settings: Export) -> Target | None:
    """The target that a recipe sets for thresholds; None for no thresholds."""
    if settings.target_precision:
        return Target("precision", settings.target_precision)
    if settings.target_recall:
        return Target("recall", settings.target_recall)
    return Target("f1") if settings.best_f1 else None


def fit_bundle_thresholds(
    logits: NDArray[np.float32], rows: VerificationRows, labels: Labels, target: Target, decisions: Decisions
) -> tuple[Labels, Decisions]:
    """Fits the thresholds of a bundle.

    Args:
        logits: of the exported model, float32 [rows, labels].
        rows: held-out rows with true labels.
        labels: the model's label set.
        target: what the thresholds have to reach.
        decisions: the manifest's section, with the calibration.

    Returns:
        The label set with its thresholds, and the completed section.

    Raises:
        GateError: no threshold reaches the target.
    """
    sample = _sample(logits, rows, labels)
    labels = dataclasses.replace(labels, thresholds=fit_thresholds(sample, target))
    return labels, dataclasses.replace(
        decisions,
        target=str(target),
        target_kind=target.kind,
        wanted={name: target.of(name) for name in labels.names},
        fitted=_plain(measure_thresholds(_sample(logits, rows, labels))),
    )


def _sample(logits: NDArray[np.float32], rows: VerificationRows, labels: Labels) -> Sample:
    assert rows.y_true is not None
    return Sample.of_logits(logits, rows.y_true, labels, cluster_ids([fold(text) for text in rows.texts]))


def measure_thresholds_on_test_rows(
    decisions: Decisions | None, logits: NDArray[np.float32], rows: VerificationRows, labels: Labels
) -> Decisions | None:
    """Measures thresholds on test rows.

    Args:
        decisions: what was fitted.
        logits: of the test rows, float32 [rows, labels].
        rows: the test rows.
        labels: the label set, with its thresholds.
    """
    if rows.y_true is None or decisions is None or not decisions.target:
        return decisions
    measured, wanted = measure_thresholds(_sample(logits, rows, labels)), decisions.wanted
    missed = [
        name
        for name, label in measured.per_class.items()
        if (share := wanted[name]) is not None
        and not label.share(decisions.target_kind) >= share
        # Where no row has the label, only wrong predictions say anything.
        and (label.recall is not None or (decisions.target_kind == "precision" and label.precision is not None))
    ]
    return dataclasses.replace(decisions, test=_plain(measured), missed=missed)


def add_threshold_curves(
    decisions: Decisions | None, logits: NDArray[np.float32], rows: VerificationRows, labels: Labels
) -> Decisions | None:
    """Adds the effect of every threshold on the rows of the report.

    Args:
        decisions: what was fitted; None without labelled rows.
        logits: of the rows, float32 [rows, labels].
        rows: the rows.
        labels: the label set.
    """
    if rows.y_true is None or decisions is None:
        return decisions
    sample = _sample(logits, rows, labels)
    grid = np.arange(101) / 100
    curves = {}
    for i, name in enumerate(labels.names):
        known = sample.known[:, i]
        probs, actual = sample.probs[known, i], sample.actual[known, i]
        reached = probs >= grid[:, np.newaxis]
        curves[name] = ThresholdCurve(
            positives=int(actual.sum()),
            negatives=int((~actual).sum()),
            true_positives=(reached & actual).sum(axis=1).tolist(),
            false_positives=(reached & ~actual).sum(axis=1).tolist(),
        )
    return dataclasses.replace(decisions, curves=curves)


def _plain(measured: ThresholdMetrics) -> ThresholdsDict:
    return cast("ThresholdsDict", asdict(measured))
