"""Calibration of a classifier's probabilities, folded into its last linear layer.

The logits that the exported graph computes are the calibrated ones, so every program that runs it gets the same
probabilities.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toxonnx.convert.last_layer import copy_with_own_last_layer
from toxonnx.convert.sample_texts import SENTENCES
from toxonnx.convert.verify import VerificationRows, reference_logits
from toxonnx.errors import CheckpointError
from toxonnx.evaluate.calibration import MAX_SCALE, MIN_SCALE, Calibration, cross_validated_logits, fit_calibration
from toxonnx.evaluate.intervals import cluster_ids
from toxonnx.evaluate.metrics import Sample
from toxonnx.labels import Labels
from toxonnx.manifest_decisions import CalibrationEffect, Decisions, LabelCalibration, ProbabilityError
from toxonnx.texts import fold
from toxonnx.train.adapters import Trained

__all__ = ["calibrate", "fold_into_last_layer", "measure_calibration", "uncalibrated"]

#: fewest distinct texts on which a temperature is fitted
MIN_TEXTS = 50
#: fewest distinct texts with a label, and without it, on which its scale and shift are fitted
MIN_EACH = 25
FOLDS = 5

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def calibrate(trained: Trained, rows: VerificationRows) -> Decisions:
    """Fits a temperature (softmax), or a scale and a shift for each label (sigmoid), to PyTorch's logits.

    A temperature, or the calibration of a label, is used only if cross-validation shows that it lowers the loss.

    Args:
        trained: the classifier.
        rows: held-out rows with true labels.
    """
    assert rows.y_true is not None
    labels, y_true, logits = trained.labels, rows.y_true, reference_logits(trained, rows.texts)
    groups = cluster_ids([fold(text) for text in rows.texts])
    decisions = Decisions(rows=len(rows.texts), rows_from=rows.where)
    if not labels.multi:
        fit = _Fit.of(logits, y_true, labels, groups)
        decisions = dataclasses.replace(decisions, temperature=1 / fit.found.scale, not_calibrated=fit.left_out)
        return _with_effect(decisions, fit.effect)
    cross_validated, each = logits.astype(np.float64), {}
    for i, name in enumerate(labels.names):
        known = y_true[:, i] >= 0
        column, actual = np.ix_(known, np.array([i])), y_true[known, i : i + 1]
        fit = _Fit.of(logits[column], actual, Labels((name,), "sigmoid"), groups[known])
        cross_validated[column] = fit.cross_validated
        each[name] = LabelCalibration(
            rows=len(actual),
            positives=int(actual.sum()),
            scale=fit.found.scale,
            shift=fit.found.shift,
            cross_validated=fit.effect,
            left_out=fit.left_out,
        )
    decisions = dataclasses.replace(decisions, calibration=each)
    if all(one.left_out for one in each.values()):
        return decisions
    return _with_effect(decisions, _effect(logits, cross_validated, y_true, labels))


@dataclass(frozen=True)
class _Fit:
    """One fit: of a temperature, or of the scale and shift of one label.

    Attributes:
        found: the identity if it is left out.
        cross_validated: the logits calibrated by cross-validation; unchanged if it is left out.
        effect: by cross-validation; None if nothing could be fitted.
        left_out: the reason; empty if it is used.
    """

    found: Calibration
    cross_validated: Floats
    effect: CalibrationEffect | None
    left_out: str

    @classmethod
    def of(cls, logits: NDArray[np.float32], y_true: Ints, labels: Labels, groups: Ints) -> _Fit:
        """See :func:`toxonnx.evaluate.calibration.fit_calibration` for the arguments."""
        unchanged = logits.astype(np.float64)
        if left_out := _too_few(y_true, labels, groups):
            return cls(Calibration(), unchanged, None, left_out)
        found = fit_calibration(logits, y_true, labels)
        if not found.is_determined:
            left_out = f"no scale between {MIN_SCALE:g} and {MAX_SCALE:g} fits the rows"
            return cls(Calibration(), unchanged, None, left_out)
        calibrated = cross_validated_logits(logits, y_true, labels, groups, FOLDS)
        effect = _effect(logits, calibrated, y_true, labels)
        if effect.after.loss < effect.before.loss:
            return cls(found, calibrated, effect, "")
        return cls(Calibration(), unchanged, effect, "in cross-validation, calibration does not lower the loss")


def _too_few(y_true: Ints, labels: Labels, groups: Ints) -> str:
    """Why there are too few distinct texts to fit on; empty if there are enough."""
    if not labels.multi:
        count = len(np.unique(groups))
        return f"{count} distinct texts are too few ({MIN_TEXTS} are needed)" if count < MIN_TEXTS else ""
    actual = y_true[:, 0] > 0
    with_it, without = (len(np.unique(groups[rows])) for rows in (actual, ~actual))
    if min(with_it, without) >= MIN_EACH:
        return ""
    return f"{with_it} judged texts with the label and {without} without it are too few ({MIN_EACH} each are needed)"


def _effect(before: NDArray[np.floating], after: Floats, y_true: Ints, labels: Labels) -> CalibrationEffect:
    """The errors of uncalibrated and calibrated logits [rows, labels]."""
    one, other = (Sample.of_logits(logits, y_true, labels).metrics(ranked=False) for logits in (before, after))
    return CalibrationEffect(ProbabilityError(one.ece, one.loss), ProbabilityError(other.ece, other.loss))


def _with_effect(decisions: Decisions, effect: CalibrationEffect | None) -> Decisions:
    if effect is None:
        return decisions
    return dataclasses.replace(
        decisions,
        cross_validated=effect,
        measured_on=f"the same rows, by {FOLDS}-fold cross-validation",
        before=effect.before,
        after=effect.after,
    )


def measure_calibration(
    decisions: Decisions | None, logits: NDArray[np.float32], rows: VerificationRows, labels: Labels
) -> Decisions | None:
    """Measures the calibration on test rows; this replaces ``before`` and ``after``.

    Args:
        decisions: what was fitted.
        logits: calibrated logits of the test rows by the exported model, float32 [rows, labels].
        rows: the test rows.
        labels: the label set.
    """
    if decisions is None or rows.y_true is None or not decisions.calibrated:
        return decisions
    effect = _effect(uncalibrated(logits, decisions, labels), logits.astype(np.float64), rows.y_true, labels)
    measured_on = f"{len(rows.texts)} rows, {rows.where}"
    return dataclasses.replace(decisions, measured_on=measured_on, before=effect.before, after=effect.after)


def uncalibrated(logits: NDArray[np.float32], decisions: Decisions | None, labels: Labels) -> NDArray[np.float32]:
    """The logits as they were before calibration, float32 [rows, labels]."""
    scale, shift = _scale_and_shift(decisions, labels)
    return ((logits - shift) / scale).astype(np.float32)


def _scale_and_shift(decisions: Decisions | None, labels: Labels) -> tuple[Floats, Floats]:
    """The factor and the summand of each label's logit, float64 [labels]."""
    if decisions is None or not labels.multi:
        temperature = decisions.temperature if decisions else 1.0
        return np.full(len(labels), 1 / temperature), np.zeros(len(labels))
    each = [decisions.calibration.get(name, Calibration()) for name in labels.names]
    return np.array([one.scale for one in each]), np.array([one.shift for one in each])


def fold_into_last_layer(trained: Trained, decisions: Decisions | None) -> Trained:
    """A classifier with calibrated logits; the given one is not changed.

    Weights and bias of its last linear layer are multiplied by the scale, and the shift is added to the bias. The
    copy shares all other weights with the given classifier.

    Args:
        trained: the classifier.
        decisions: its calibration; without one, the classifier is returned as it is.

    Raises:
        CheckpointError: the logits are not those of a linear layer.
    """
    if decisions is None or not decisions.calibrated:
        return trained
    scale, shift = _scale_and_shift(decisions, trained.labels)
    model, head = copy_with_own_last_layer(trained.model, len(scale))
    folded = dataclasses.replace(trained, model=model)
    if head is not None:
        factor, summand = (torch.from_numpy(values).to(head.weight) for values in (scale, shift))
        bias = 0 if head.bias is None else head.bias.detach() * factor
        head.weight = nn.Parameter(head.weight.detach() * factor[:, None])
        head.bias = nn.Parameter(bias + summand)
    expected = reference_logits(trained, SENTENCES) * scale + shift
    logits = reference_logits(folded, SENTENCES)
    if head is None or not np.allclose(logits, expected, rtol=1e-4, atol=1e-4 * scale.max()):
        raise CheckpointError(
            f"calibration cannot be folded into this {model.config.model_type} classifier: its logits are not those of "
            "its last linear layer",
            "Export with --no-calibration.",
        )
    return folded
