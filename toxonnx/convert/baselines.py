"""Whether a model is better than the baselines: always predicting the most frequent class, and TF-IDF."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toxonnx.convert.verify import VerificationRows
from toxonnx.errors import GateError
from toxonnx.evaluate.baseline import majority
from toxonnx.evaluate.intervals import bootstrap, cluster_ids
from toxonnx.evaluate.metrics import Sample
from toxonnx.labels import Labels
from toxonnx.texts import fold
from toxonnx.train.adapters import Trained

__all__ = ["check_baselines"]

BOOTSTRAP_SAMPLES = 1000
_NAMES = {"macro_f1": "macro F1", "accuracy": "accuracy"}


def check_baselines(
    trained: Trained,
    logits: Sequence[NDArray[np.float32]],
    rows: VerificationRows,
    *,
    labels: Labels,
    allow_worse: bool,
) -> list[str]:
    """Compares a model with the baselines, in the metric that its recipe optimizes.

    A shift of a label's logit moves the rows for which it is predicted, so the logits with and without calibration are
    compared, without thresholds, and the better ones count. On the test rows, on which no threshold was fitted, the
    decisions of the bundle count as well if they are better. TF-IDF is known for the rows of a run only. By more than
    chance means: it is above the 95% interval of the model's metric over distinct texts.

    Args:
        trained: the model.
        logits: of the exported model, float32 [rows, labels] each: with and without calibration.
        labels: with the thresholds of the bundle, which are for the first of the logits.
        rows: the rows; without true labels there is nothing to compare.
        allow_worse: warn where the model would be refused.

    Returns:
        In what the model is worse than a baseline, if it may be exported.

    Raises:
        GateError: it is not better than the most frequent class, or worse than TF-IDF by more than chance.
    """
    if rows.y_true is None:
        return []
    optimized = trained.recipe.training.metric if trained.recipe else "macro_f1"
    metric = optimized if optimized in _NAMES else "macro_f1"
    known = trained.run.baselines.get(rows.part, {}) if trained.run else {}
    if any(metric not in measured for measured in known.values()):  # accuracy, of a run with further labels
        metric = "macro_f1"
    constant = known.get("majority") or majority(rows.y_true, rows.y_true, trained.labels)
    groups = cluster_ids([fold(text) for text in rows.texts])
    samples = [Sample.of_logits(one, rows.y_true, trained.labels, groups) for one in logits]
    if rows.part == "test":
        samples.append(Sample.of_logits(logits[0], rows.y_true, labels, groups))
    sample = max(samples, key=lambda one: _measure(one, metric))
    value = _measure(sample, metric)
    found = f"{_NAMES[metric]} {value:.4f} on {rows.where}"
    refused, warnings = "", []
    if value <= constant[metric] < 1:  # on rows of one class nothing can be better
        refused = f"{found} is no better than always predicting the most frequent class ({constant[metric]:.4f})"
    elif "tfidf" in known and value < known["tfidf"][metric]:
        tfidf = known["tfidf"][metric]
        high = _upper_end(sample, metric)
        refused = f"{found} is below the TF-IDF baseline ({tfidf:.4f})"
        if high is None or high >= tfidf:
            warnings.append(f"{refused}, though not by more than chance")
            refused = ""
    if refused and not allow_worse:
        raise GateError(
            f"not sealed: {refused}",
            "Train for more epochs, with another learning rate or on more rows; --allow-worse-than-baseline seals it.",
        )
    return [*warnings, *([refused] if refused else [])]


def _measure(sample: Sample, metric: str, weights: NDArray[np.int64] | None = None, undefined: float = 0.0) -> float:
    return float(getattr(sample.metrics(weights, ranked=False, undefined=undefined), metric))


def _upper_end(sample: Sample, metric: str) -> float | None:
    """The upper end of the metric's 95% interval; None where the bootstrap gives none."""
    ends = bootstrap(
        lambda weights: {metric: _measure(sample, metric, weights, math.nan)}, sample.groups, BOOTSTRAP_SAMPLES, seed=0
    )[metric]
    return ends[1] if ends else None
