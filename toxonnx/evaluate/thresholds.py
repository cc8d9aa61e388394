"""Thresholds that reach a target, fitted on held-out rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import GateError, InputError
from toxonnx.evaluate.metrics import Interval, Sample
from toxonnx.inference.scores import needs_review
from toxonnx.labels import EVERY_LABEL, Labels

__all__ = [
    "LabelThreshold",
    "Target",
    "ThresholdMetrics",
    "fit_thresholds",
    "measure_thresholds",
]

#: smallest number of predicted rows for a precision to count as reached
MIN_PREDICTED = 10
#: of a share, for rounding errors: 0.55 * 100 is greater than 55
TOLERANCE = 1e-9

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Target:
    """A target for fitting thresholds.

    Attributes:
        kind: ``precision``, ``recall``, ``f1``, or ``agreement`` of a cascade.
        values: label -> share to reach, ``*`` for every label; empty for ``f1``, which is maximised. With
            ``agreement``, 0 leaves a label without a promise.
    """

    kind: str
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def of(self, label: str) -> float | None:
        """The share that a label has to reach; None if it has no target."""
        return self.values.get(label, self.values.get(EVERY_LABEL))

    def check(self, labels: Labels) -> None:
        """Checks the target against a model's labels.

        Raises:
            InputError: a label is not one of the model's, or a share is out of range.
        """
        unknown = sorted(set(self.values) - {*labels.names, EVERY_LABEL})
        if unknown:
            raise InputError(
                f"there is no label {', '.join(unknown)} to set a target for",
                f"The labels are {', '.join(labels.names)}.",
            )
        may_be_zero = self.kind == "agreement"
        wrong = [value for value in self.values.values() if not (0 < value <= 1 or (value == 0 and may_be_zero))]
        if wrong:
            raise InputError(f"a target must be greater than 0 and at most 1 (0.9 for 90%), got {wrong[0]:g}")

    def __str__(self) -> str:
        if self.kind == "f1":
            return "the best macro F1"
        parts = (
            f"{self.kind} {value:g}" + ("" if label == EVERY_LABEL else f" of {label}")
            for label, value in self.values.items()
        )
        return ", ".join(parts)


def fit_thresholds(sample: Sample, target: Target) -> tuple[float, ...]:
    """A threshold for each label with which :func:`toxonnx.inference.scores.decide` reaches the target on these rows.

    For precision, the lowest threshold that reaches it, which gives the highest recall; for recall, the highest, which
    gives the fewest false positives. In a single-label model a precision never gets a threshold of 0.5 or less, so that
    a row never reaches the thresholds of two labels; labels without a target get 0.5, and rows that reach no threshold
    are marked for review.

    Args:
        sample: rows with their scores; the thresholds of its labels are ignored.
        target: what to reach.

    Raises:
        InputError: a label does not exist, or no row has it.
        GateError: the target is not reached on these rows; reports what is reached.
    """
    probs, actual, known, labels = sample.probs, sample.actual, sample.known, sample.labels
    target.check(labels)
    absent = [name for i, name in enumerate(labels.names) if not actual[:, i].any() and _wanted(target, name)]
    if absent:
        raise InputError(f"no row has the label {', '.join(absent)}, so no threshold can be fitted for it")
    if labels.multi or target.kind == "precision":
        floor = 0.0 if labels.multi else 0.5 + 1e-6  # at 0.5 itself two labels may tie
        thresholds = tuple(
            _threshold(probs[known[:, i], i], actual[known[:, i], i], target, name, floor)
            if _wanted(target, name)
            else 0.5
            for i, name in enumerate(labels.names)
        )
    else:
        thresholds = _together(probs, actual, labels, target)
    fitted = dataclasses.replace(labels, thresholds=thresholds)
    _check_reached(Sample(probs, sample.y_true, fitted, sample.groups), target)
    return thresholds


def _check_reached(sample: Sample, target: Target) -> None:
    per_class = measure_thresholds(sample).per_class
    shares = {name: label.share(target.kind) for name, label in per_class.items() if target.of(name) is not None}
    if any(share < (target.of(name) or 0.0) - TOLERANCE for name, share in shares.items()):
        reached = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
        raise GateError(
            f"no thresholds reach {target} for all labels on the {len(sample)} rows: the closest reach {reached}",
            "Ask for less, or for fewer labels (LABEL=X): in a single-label model, labels compete for the rows.",
        )


def _wanted(target: Target, label: str) -> bool:
    return target.kind == "f1" or target.of(label) is not None


def _merge_near_ties(scores: Floats) -> Floats:
    """Scores rounded so that those that differ by rounding errors only are equal: no threshold can separate them."""
    rounded: Floats = np.round(scores, 9)
    return rounded


@dataclass(frozen=True)
class _Curve:
    """The effect of each possible threshold: distinct scores in decreasing order, rows predicted, and correct ones."""

    score: Floats
    predicted: Floats
    correct: Floats
    rows: int

    @classmethod
    def of(cls, scores: Floats, actual: Bools) -> _Curve:
        order = np.argsort(-scores, kind="stable")
        decreasing = scores[order]
        last = np.flatnonzero(np.append(decreasing[1:] != decreasing[:-1], True))
        correct = np.cumsum(actual[order])[last].astype(np.float64)
        return cls(decreasing[last], (last + 1).astype(np.float64), correct, int(actual.sum()))

    def first_with_recall(self, wanted: float) -> int:
        """Index of the highest score down to which the recall is reached."""
        return int(np.argmax(self.correct >= (wanted - TOLERANCE) * self.rows))

    def threshold(self, index: int, floor: float) -> float:
        """The middle between a score and the next lower one, but at least the floor."""
        lower = self.score[index + 1] if index + 1 < len(self.score) else 0.0
        return float(max((self.score[index] + lower) / 2, floor, np.finfo(np.float32).tiny))


def _threshold(scores: Floats, actual: Bools, target: Target, label: str, floor: float) -> float:
    """The threshold of a label that does not compete with others."""
    curve = _Curve.of(_merge_near_ties(scores), actual)
    if target.kind == "f1":
        return curve.threshold(int(np.argmax(2 * curve.correct / (curve.predicted + curve.rows))), floor)
    wanted = target.of(label)
    assert wanted is not None
    if target.kind == "recall":
        return curve.threshold(curve.first_with_recall(wanted), floor)
    allowed = (curve.score >= floor) & (curve.predicted >= MIN_PREDICTED)
    reached = np.flatnonzero(allowed & (curve.correct >= (wanted - TOLERANCE) * curve.predicted))
    if len(reached):
        return curve.threshold(int(reached[-1]), floor)
    best = max((curve.correct / curve.predicted)[allowed], default=0.0)
    raise GateError(
        f"no threshold gives {label!r} a precision of {wanted:g} on the {len(scores)} rows: the best with at least "
        f"{MIN_PREDICTED} predicted rows is {best:.3f}",
        "Ask for less, or only for other labels (LABEL=X).",
    )


def _together(probs: Floats, actual: Bools, labels: Labels, target: Target) -> tuple[float, ...]:
    """Recall or F1 in a single-label model: fits one threshold at a time, the others fixed, until none changes."""
    thresholds = np.full(len(labels), 0.5 if target.kind == "recall" else 1 / len(labels))
    for _ in range(20):
        before = thresholds.copy()
        for i, name in enumerate(labels.names):
            if not _wanted(target, name):
                continue
            others = np.delete(probs, i, axis=1) / np.delete(thresholds, i)
            # A row gets this label as long as the label's threshold is at most this.
            rivals = others.max(axis=1)
            critical = _merge_near_ties(probs[:, i] / (np.maximum(1.0, rivals) if target.kind == "recall" else rivals))
            curve = _Curve.of(critical, actual[:, i])
            if target.kind == "recall":
                wanted = target.of(name)
                assert wanted is not None
                thresholds[i] = min(1.0, curve.threshold(curve.first_with_recall(wanted), 0.0))
            else:
                thresholds[i] = _best_macro(critical, others, np.delete(actual, i, axis=1), actual[:, i], curve)
        if target.kind == "f1":
            thresholds /= thresholds.sum()  # the same decisions, and one threshold is always reached
        if np.allclose(before, thresholds, rtol=1e-9):
            break
    return tuple(float(value) for value in thresholds)


def _best_macro(critical: Floats, others: Floats, theirs: Bools, ours: Bools, curve: _Curve) -> float:
    """The threshold of one label that maximises the macro F1, with the other labels' thresholds fixed."""
    order = np.argsort(-critical, kind="stable")
    ends = curve.predicted.astype(np.int64) - 1
    second = np.eye(others.shape[1])[others.argmax(axis=1)]  # the label of a row that does not get this one
    left = second.sum(axis=0) - np.cumsum(second[order], axis=0)[ends]
    right = (second * theirs).sum(axis=0) - np.cumsum((second * theirs)[order], axis=0)[ends]
    f1 = 2 * right / np.maximum(left + theirs.sum(axis=0), 1)
    own = 2 * curve.correct / (curve.predicted + ours.sum())
    return curve.threshold(int(np.argmax(own + f1.sum(axis=1))), 0.0)


@dataclass(frozen=True)
class LabelThreshold:
    """The threshold of one label, and its effect on a set of rows.

    Attributes:
        threshold: smallest probability for which the label is predicted.
        predicted: number of rows predicted to have the label and not marked for review.
        precision, recall: with 95% intervals (see :meth:`toxonnx.evaluate.metrics.Sample.share`); None if undefined.
    """

    threshold: float
    predicted: int
    precision: Interval | None
    recall: Interval | None

    def share(self, kind: str) -> float:
        """Precision or recall, by its name; 0 if it is undefined."""
        interval: Interval | None = getattr(self, kind) if kind != "f1" else None
        return interval[0] if interval else 0.0


@dataclass(frozen=True)
class ThresholdMetrics:
    """The effect of thresholds on a set of rows.

    Attributes:
        rows: number of rows.
        review: share of rows that are marked for review.
        per_class: label name -> its threshold.
    """

    rows: int
    review: float
    per_class: dict[str, LabelThreshold]


def measure_thresholds(sample: Sample) -> ThresholdMetrics:
    """Measures the thresholds with which the labels of a sample were predicted."""
    review = needs_review(sample.probs, sample.labels)
    per_class = {}
    for i, name in enumerate(sample.labels.names):
        predicted, actual = sample.predicted[:, i] & ~review, sample.actual[:, i]
        per_class[name] = LabelThreshold(
            sample.labels.thresholds[i],
            int(predicted.sum()),
            sample.share(actual, predicted),
            sample.share(predicted, actual),
        )
    return ThresholdMetrics(len(sample), float(review.mean()), per_class)
