"""From logits to decisions: temperature and thresholds, fitted on held-out rows and measured on others."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.convert.verify import Rows
from toxonnx.errors import InputError
from toxonnx.evaluate.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    Target,
    cross_validated_metrics,
    fit_temperature,
    fit_thresholds,
    measure_thresholds,
)
from toxonnx.evaluate.intervals import cluster_ids
from toxonnx.evaluate.metrics import Sample
from toxonnx.labels import Labels
from toxonnx.recipe import Export
from toxonnx.texts import fold

__all__ = ["fit_temperature_and_thresholds", "measure_decisions", "target_of"]

#: distinct labelled texts under which a temperature is not fitted
LEAST_TEXTS = 50
FOLDS = 5


def target_of(limits: Export) -> Target | None:
    """What a recipe wants of thresholds."""
    if limits.target_precision:
        return Target("precision", limits.target_precision)
    if limits.target_recall:
        return Target("recall", limits.target_recall)
    return Target("f1") if limits.best_f1 else None


def fit_temperature_and_thresholds(
    logits: NDArray[np.float32], rows: Rows, labels: Labels, limits: Export
) -> tuple[Labels, dict[str, Any]]:
    """Fits what a recipe asks for.

    Args:
        logits: of the model that will be sealed, float32 [rows, labels].
        rows: held-out rows.
        labels: the label set as the model has it.
        limits: says whether to calibrate, and what thresholds are to reach.

    Returns:
        The label set with its temperature and thresholds, and what the manifest says of it.

    Raises:
        InputError: thresholds are asked for, and there are no labelled rows to fit them on.
        GateError: no threshold reaches the target.
    """
    target = target_of(limits)
    if rows.y_true is None:
        if target:
            raise InputError(
                f"{target} needs labelled rows", "Give some with --data, --text-column and --label-column."
            )
        return labels, {}
    about: dict[str, Any] = {"rows": len(rows.texts), "rows_from": rows.where, "temperature": 1.0}
    if limits.calibrate:
        labels, about = _calibrated(logits, rows, labels, about)
    if target:
        groups = cluster_ids([fold(text) for text in rows.texts])
        thresholds = fit_thresholds(Sample.of_logits(logits, rows.y_true, labels, groups), target)
        labels = dataclasses.replace(labels, thresholds=thresholds)
        about |= {
            "target": str(target),
            "kind": target.kind,
            "wanted": {name: target.of(name) for name in labels.names},
        }
        about["fitted"] = asdict(measure_thresholds(Sample.of_logits(logits, rows.y_true, labels, groups)))
    return labels, about


def _calibrated(
    logits: NDArray[np.float32], rows: Rows, labels: Labels, about: dict[str, Any]
) -> tuple[Labels, dict[str, Any]]:
    """A temperature, where these rows show that it helps others; measured on rows that it was not fitted on."""
    y_true, groups = rows.y_true, cluster_ids([fold(text) for text in rows.texts])
    assert y_true is not None
    distinct = int(groups.max()) + 1
    if distinct < LEAST_TEXTS:
        return labels, {
            **about,
            "left": f"{distinct} distinct texts are too few to fit a temperature on ({LEAST_TEXTS} are needed)",
        }
    before = Sample.of_logits(logits, y_true, labels).metrics()
    after = cross_validated_metrics(logits, y_true, labels, groups, FOLDS)
    temperature = fit_temperature(logits, y_true, labels)
    about |= {
        "measured_on": f"the same rows, in {FOLDS} folds: each with the temperature of the others",
        "before": {"ece": before.ece, "loss": before.loss},
        "after": {"ece": after.ece, "loss": after.loss},
    }
    if not MIN_TEMPERATURE * 1.01 < temperature < MAX_TEMPERATURE * 0.99 or not after.loss < before.loss:
        return labels, {**about, "left": "no temperature made the probabilities of other rows better"}
    return dataclasses.replace(labels, temperature=temperature), {**about, "temperature": temperature}


def measure_decisions(
    about: dict[str, Any], logits: NDArray[np.float32], rows: Rows, before: Labels, after: Labels
) -> dict[str, Any]:
    """What was settled, with what it does on rows that took no part in it: these replace the folds' metrics."""
    if rows.y_true is None or not about:
        return about
    groups = cluster_ids([fold(text) for text in rows.texts])
    plain, settled = (Sample.of_logits(logits, rows.y_true, labels, groups) for labels in (before, after))
    found = dict(about)
    if after.temperature != before.temperature:
        one, other = plain.metrics(), settled.metrics()
        found["measured_on"] = f"{len(rows.texts)} rows, {rows.where}"
        found["before"] = {"ece": one.ece, "loss": one.loss}
        found["after"] = {"ece": other.ece, "loss": other.loss}
    if "target" in about:
        found["test"] = asdict(measure_thresholds(settled))
        found["missed"] = [
            name
            for name, one in found["test"]["per_class"].items()
            if about["wanted"][name] is not None and not (one[about["kind"]] or (0.0,))[0] >= about["wanted"][name]
        ]
    return found
