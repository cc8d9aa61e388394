"""Probabilities that mean what they log, and thresholds that keep a promise: both fitted on held-out rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import GateError, InputError
from toxonnx.evaluate.metrics import Metrics, Sample
from toxonnx.inference.scores import decide, needs_review, probabilities
from toxonnx.labels import Labels

__all__ = ["Target", "calibrated_figures", "fit_temperature", "fit_thresholds", "threshold_metrics"]

#: a temperature outside these says that the rows cannot tell, as where every one of them is right
COLDEST, HOTTEST = 0.05, 20.0
#: rows that a precision has to be seen on
MIN_PREDICTED = 10
EVERY = "*"

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Target:
    """What thresholds are to achieve.

    Attributes:
        kind: ``precision``, ``recall`` or ``f1``.
        values: label -> share to reach, ``*`` for every label; empty for ``f1``, which is made as large as it gets.
    """

    kind: str
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def of(self, label: str) -> float | None:
        """What a label has to reach; None where it has no target."""
        return self.values.get(label, self.values.get(EVERY))

    def check(self, labels: Labels) -> None:
        """Raises InputError where a label is not one of the model's, or a share is none."""
        unknown = sorted(set(self.values) - {*labels.names, EVERY})
        if unknown:
            raise InputError(f"a target for {', '.join(unknown)}: the labels are {', '.join(labels.names)}")
        wrong = [value for value in self.values.values() if not 0 < value <= 1]
        if wrong:
            raise InputError(f"a target has to be over 0 and at most 1 (0.9 for 90%), not {wrong[0]:g}")

    def __str__(self) -> str:
        if self.kind == "f1":
            return "the best macro F1"
        parts = (
            f"{self.kind} {value:g}" + ("" if label == EVERY else f" of {label}")
            for label, value in self.values.items()
        )
        return ", ".join(parts)


def fit_temperature(logits: NDArray[np.floating], y_true: NDArray[np.int64], labels: Labels) -> float:
    """The temperature that makes the loss of these rows least (Guo et al., ICML 2017).

    Args:
        logits: float [rows, labels].
        y_true: as :func:`toxonnx.evaluate.metrics.evaluate` takes it.
        labels: the label set; its own temperature is not looked at.
    """
    z = logits.astype(np.float64)
    actual = y_true.astype(np.float64) if labels.multi else np.eye(len(labels))[y_true]

    def slope(temperature: float) -> float:
        """Of the loss over 1 / temperature, in which it is convex: falling before the least, rising after it."""
        probs = probabilities(logits, dataclasses.replace(labels, temperature=temperature))
        return float(((probs - actual) * z).sum())

    cold, hot = COLDEST, HOTTEST
    for _ in range(50):
        middle = float(np.sqrt(cold * hot))
        if slope(middle) > 0:  # too sharp
            cold = middle
        else:
            hot = middle
    return float(np.sqrt(cold * hot))


def calibrated_figures(
    logits: NDArray[np.floating],
    y_true: NDArray[np.int64],
    labels: Labels,
    groups: NDArray[np.int64],
    folds: int = 5,
    seed: int = 0,
) -> Metrics:
    """Metrics of rows calibrated by a temperature that was fitted on the others: what new rows can expect.

    Rows of one group (see :func:`toxonnx.evaluate.intervals.clusters`) stay together, so that a text helps not itself.
    """
    rng = np.random.default_rng(seed)
    fold = (rng.permutation(int(groups.max()) + 1) % folds)[groups]
    scaled = np.empty(logits.shape, dtype=np.float64)
    for i in range(folds):
        held = fold == i
        if not held.any() or held.all():
            return Sample.of_logits(logits, y_true, labels).metrics()
        scaled[held] = logits[held] / fit_temperature(logits[~held], y_true[~held], labels)
    return Sample.of_logits(scaled, y_true, dataclasses.replace(labels, temperature=1.0)).metrics()


def fit_thresholds(sample: Sample, target: Target) -> tuple[float, ...]:
    """A threshold for each label by which :func:`toxonnx.inference.scores.decide` reaches the target on these rows.

    For precision the lowest that reaches it, so that most is found; for recall the highest, so that least is predicted in
    vain. With one label a text, a precision never takes 0.5 or less, so that two labels never contend for a row, and
    labels without a target take 0.5; rows that reach no threshold are left to people.

    Args:
        sample: rows with their scores; thresholds that its labels have are not looked at.
        target: what to reach.

    Raises:
        InputError: a label that is not there, or without rows.
        GateError: the target is not reached on these rows; says what is.
    """
    probs, actual, labels = sample.probs, sample.actual, sample.labels
    target.check(labels)
    absent = [name for i, name in enumerate(labels.names) if not actual[:, i].any() and _wanted(target, name)]
    if absent:
        raise InputError(f"no row of {', '.join(absent)} to fit a threshold on")
    if labels.multi or target.kind == "precision":
        floor = 0.0 if labels.multi else 0.5 + 1e-6  # at 0.5 itself two labels may tie
        thresholds = tuple(
            _threshold(probs[:, i], actual[:, i], target, name, floor) if _wanted(target, name) else 0.5
            for i, name in enumerate(labels.names)
        )
    else:
        thresholds = _together(probs, actual, labels, target)
    settled = dataclasses.replace(labels, thresholds=thresholds)
    kept = threshold_metrics(Sample(probs, decide(probs, settled), actual, settled, sample.groups))
    for name, one in kept["per_class"].items():
        wanted = target.of(name)
        if wanted is not None and not (one[target.kind] or (0.0,))[0] >= wanted - 1e-9:
            reached = ", ".join(
                f"{each} {(other[target.kind] or (0.0,))[0]:.3f}"
                for each, other in kept["per_class"].items()
                if target.of(each) is not None
            )
            raise GateError(
                f"no thresholds give all labels {target} on the {len(probs)} rows: the nearest found give {reached}",
                "Ask for less, or for fewer labels (LABEL=SHARE): of a text with one label they take it from another.",
            )
    return thresholds


def _wanted(target: Target, label: str) -> bool:
    return target.kind == "f1" or target.of(label) is not None


def _alike(scores: Floats) -> Floats:
    """Scores without what the computing alone tells apart: between such two no threshold would hold."""
    rounded: Floats = np.round(scores, 9)
    return rounded


@dataclass(frozen=True)
class _Curve:
    """What saying a label of the rows from a score on does, for each distinct score, falling."""

    score: Floats
    predicted: Floats
    right: Floats
    rows: int

    @classmethod
    def of(cls, scores: Floats, actual: Bools) -> _Curve:
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
        right = np.cumsum(actual[order])[last].astype(np.float64)
        return cls(falling[last], (last + 1).astype(np.float64), right, int(actual.sum()))

    def between(self, at: int, floor: float) -> float:
        """The middle between a score and the next lower one, neither under the floor."""
        lower = self.score[at + 1] if at + 1 < len(self.score) else 0.0
        return float(max((self.score[at] + lower) / 2, floor, np.finfo(np.float32).tiny))


def _threshold(scores: Floats, actual: Bools, target: Target, label: str, floor: float) -> float:
    """Of a label that contends with no other."""
    curve = _Curve.of(_alike(scores), actual)
    if target.kind == "f1":
        return curve.between(int(np.argmax(2 * curve.right / (curve.predicted + curve.rows))), floor)
    wanted = target.of(label)
    assert wanted is not None
    if target.kind == "recall":
        return curve.between(int(np.argmax(curve.right >= wanted * curve.rows)), floor)
    allowed = (curve.score >= floor) & (curve.predicted >= MIN_PREDICTED)
    reached = np.flatnonzero(allowed & (curve.right >= wanted * curve.predicted))
    if len(reached):
        return curve.between(int(reached[-1]), floor)
    best = max((curve.right / curve.predicted)[allowed], default=0.0)
    raise GateError(
        f"no threshold gives {label!r} a precision of {wanted:g} on the {len(scores)} rows: the best that is seen on "
        f"{MIN_PREDICTED} rows or more is {best:.3f}",
        "Ask for less, or for other labels alone (LABEL=SHARE).",
    )


def _together(probs: Floats, actual: Bools, labels: Labels, target: Target) -> tuple[float, ...]:
    """Recall or F1 with one label a text: each label's threshold in turn, the others held, until none moves."""
    thresholds = np.full(len(labels), 0.5 if target.kind == "recall" else 1 / len(labels))
    for _ in range(20):
        before = thresholds.copy()
        for i, name in enumerate(labels.names):
            if not _wanted(target, name):
                continue
            others = np.delete(probs, i, axis=1) / np.delete(thresholds, i)
            # A row goes to this label as long as its threshold is at most this.
            rivals = others.max(axis=1)
            critical = _alike(probs[:, i] / (np.maximum(1.0, rivals) if target.kind == "recall" else rivals))
            curve = _Curve.of(critical, actual[:, i])
            if target.kind == "recall":
                wanted = target.of(name)
                assert wanted is not None
                thresholds[i] = min(1.0, curve.between(int(np.argmax(curve.right >= wanted * curve.rows)), 0.0))
            else:
                thresholds[i] = _best_macro(critical, others, np.delete(actual, i, axis=1), actual[:, i], curve)
        if target.kind == "f1":
            thresholds /= thresholds.sum()  # the same decisions, and always one that is reached
        if np.allclose(before, thresholds, rtol=1e-9):
            break
    return tuple(float(value) for value in thresholds)


def _best_macro(critical: Floats, others: Floats, theirs: Bools, ours: Bools, curve: _Curve) -> float:
    """The threshold of one label that makes the mean F1 of all largest, the other labels' thresholds as they are."""
    order = np.argsort(-critical, kind="stable")
    ends = curve.predicted.astype(np.int64) - 1
    second = np.eye(others.shape[1])[others.argmax(axis=1)]  # who has a row where this label does not take it
    left = second.sum(axis=0) - np.cumsum(second[order], axis=0)[ends]
    right = (second * theirs).sum(axis=0) - np.cumsum((second * theirs)[order], axis=0)[ends]
    f1 = 2 * right / np.maximum(left + theirs.sum(axis=0), 1)
    own = 2 * curve.right / (curve.predicted + ours.sum())
    return curve.between(int(np.argmax(own + f1.sum(axis=1))), 0.0)


def threshold_metrics(sample: Sample) -> dict[str, Any]:
    """What the thresholds of a label set do on some rows.

    Args:
        sample: rows decided by the thresholds of its labels.

    Returns:
        ``rows``; ``review``, the share of rows left to people; and ``per_class``: label -> ``threshold``; ``predicted``,
        rows that got the label and are not left to people; their ``precision`` and ``recall``, each with the 95%
        interval behind it (see :meth:`Sample.share`), None where there is nothing to divide by.
    """
    doubt = needs_review(sample.probs, sample.labels)
    per_class = {}
    for i, name in enumerate(sample.labels.names):
        predicted, there = sample.held[:, i] & ~doubt, sample.actual[:, i]
        per_class[name] = {
            "threshold": sample.labels.thresholds[i],
            "predicted": int(predicted.sum()),
            "precision": sample.share(there, predicted),
            "recall": sample.share(predicted, there),
        }
    return {"rows": len(sample), "review": float(doubt.mean()), "per_class": per_class}
