"""Temperature and thresholds of a bundle: fitted on held-out rows, measured on others."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from typing import cast

import numpy as np
from numpy.typing import NDArray

from toxonnx.convert.verify import VerificationRows
from toxonnx.errors import InputError
from toxonnx.evaluate.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    Target,
    ThresholdMetrics,
    cross_validated_metrics,
    fit_temperature,
    fit_thresholds,
    measure_thresholds,
)
from toxonnx.evaluate.intervals import cluster_ids
from toxonnx.evaluate.metrics import Metrics, Sample
from toxonnx.labels import Labels
from toxonnx.manifest import Decisions, ProbabilityError, ThresholdsDict
from toxonnx.recipe import Export
from toxonnx.texts import fold

__all__ = ["fit_temperature_and_thresholds", "measure_on_test_rows", "threshold_target"]

#: fewest distinct labelled texts on which a temperature is fitted
MIN_TEXTS = 50
FOLDS = 5


def threshold_target(settings: Export) -> Target | None:
    """The target that a recipe sets for thresholds; None for no thresholds."""
    if settings.target_precision:
        return Target("precision", settings.target_precision)
    if settings.target_recall:
        return Target("recall", settings.target_recall)
    return Target("f1") if settings.best_f1 else None


def fit_temperature_and_thresholds(
    logits: NDArray[np.float32], rows: VerificationRows, labels: Labels, settings: Export
) -> tuple[Labels, Decisions | None]:
    """Fits temperature and thresholds as a recipe asks for them.

    Args:
        logits: of the exported model, float32 [rows, labels].
        rows: held-out rows.
        labels: the model's label set.
        settings: whether to calibrate, and the target of the thresholds.

    Returns:
        The label set with its temperature and thresholds, and the manifest's section; None without labelled rows.

    Raises:
        InputError: thresholds are requested, but there are no labelled rows to fit them on.
        GateError: no threshold reaches the target.
    """
    target = threshold_target(settings)
    if rows.y_true is None:
        if target:
            raise InputError(
                f"thresholds for {target} can only be fitted on labelled rows",
                "Add labelled rows with --data, --text-column and --label-column.",
            )
        return labels, None
    decisions = Decisions(rows=len(rows.texts), rows_from=rows.where)
    if settings.calibrate:
        labels, decisions = _calibrate(logits, rows.y_true, rows.texts, labels, decisions)
    if target:
        groups = _groups(rows)
        thresholds = fit_thresholds(Sample.of_logits(logits, rows.y_true, labels, groups), target)
        labels = dataclasses.replace(labels, thresholds=thresholds)
        decisions = dataclasses.replace(
            decisions,
            target=str(target),
            target_kind=target.kind,
            wanted={name: target.of(name) for name in labels.names},
            fitted=_plain(measure_thresholds(Sample.of_logits(logits, rows.y_true, labels, groups))),
        )
    return labels, decisions


def _groups(rows: VerificationRows) -> NDArray[np.int64]:
    return cluster_ids([fold(text) for text in rows.texts])


def _calibrate(
    logits: NDArray[np.float32], y_true: NDArray[np.int64], texts: list[str], labels: Labels, decisions: Decisions
) -> tuple[Labels, Decisions]:
    """Fits a temperature, and keeps it if cross-validation shows that it lowers the loss."""
    groups = cluster_ids([fold(text) for text in texts])
    distinct = int(groups.max()) + 1
    if distinct < MIN_TEXTS:
        reason = f"{distinct} distinct texts are too few to fit a temperature ({MIN_TEXTS} are needed)"
        return labels, dataclasses.replace(decisions, not_calibrated=reason)
    before = Sample.of_logits(logits, y_true, labels).metrics()
    after = cross_validated_metrics(logits, y_true, labels, groups, FOLDS)
    temperature = fit_temperature(logits, y_true, labels)
    decisions = dataclasses.replace(
        decisions,
        measured_on=f"the same rows, by {FOLDS}-fold cross-validation",
        before=_probability_error(before),
        after=_probability_error(after),
    )
    if not MIN_TEMPERATURE * 1.01 < temperature < MAX_TEMPERATURE * 0.99 or not after.loss < before.loss:
        return labels, dataclasses.replace(
            decisions, not_calibrated="in cross-validation, no temperature improved the probabilities"
        )
    return (
        dataclasses.replace(labels, temperature=temperature),
        dataclasses.replace(decisions, temperature=temperature),
    )


def _plain(measured: ThresholdMetrics) -> ThresholdsDict:
    return cast("ThresholdsDict", asdict(measured))


def _probability_error(metrics: Metrics) -> ProbabilityError:
    return ProbabilityError(metrics.ece, metrics.loss)


def measure_on_test_rows(
    decisions: Decisions | None, logits: NDArray[np.float32], rows: VerificationRows, before: Labels, after: Labels
) -> Decisions | None:
    """Measures temperature and thresholds on test rows; this replaces the cross-validated values.

    Args:
        decisions: what was fitted.
        logits: of the test rows, float32 [rows, labels].
        rows: the test rows.
        before, after: the label set without and with temperature and thresholds.
    """
    if rows.y_true is None or decisions is None:
        return decisions
    without, fitted = (Sample.of_logits(logits, rows.y_true, labels, _groups(rows)) for labels in (before, after))
    if after.temperature != before.temperature:
        decisions = dataclasses.replace(
            decisions,
            measured_on=f"{len(rows.texts)} rows, {rows.where}",
            before=_probability_error(without.metrics()),
            after=_probability_error(fitted.metrics()),
        )
    if decisions.target:
        measured, wanted = measure_thresholds(fitted), decisions.wanted
        missed = [
            name
            for name, label in measured.per_class.items()
            if (share := wanted[name]) is not None and not label.share(decisions.target_kind) >= share
        ]
        decisions = dataclasses.replace(decisions, test=_plain(measured), missed=missed)
    return decisions
