"""Metrics from true labels and probabilities, with optional row weights."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.inference.scores import decide, probabilities
from toxonnx.labels import Labels
from toxonnx.records import Count, Share

__all__ = ["BINS", "Bin", "Interval", "LabelMetrics", "Metrics", "Sample", "comparison", "evaluate", "wilson"]

#: number of equal-width bins of the calibration error, as in Guo et al., "On Calibration of Modern Neural Networks",
#: ICML 2017
BINS = 15

#: of a reliability diagram: number of bins, at most, and of predictions in each, at least
MAX_RELIABILITY_BINS, MIN_BIN = 20, 20

#: a share, and the lower and upper end of its 95% interval
Interval = tuple[float, float, float]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelMetrics:
    """Metrics of one label.

    Attributes:
        precision: 0 if no row is predicted to have the label, as in scikit-learn.
        recall: 0 if no row has it, as in scikit-learn.
        f1: harmonic mean of both.
        support: rows that have the label.
        predicted: rows that are predicted to have it, among those in which it is known.
        roc_auc, average_precision: of its probability, against all other labels together; None if all rows have the
            label or none has.
        known: rows in which it is known whether the label applies, the only ones that count; None if it is known in
            all of them.
        ece: calibration error of its probability, see :class:`Metrics`; None if it is known in no row, and for softmax,
            whose calibration error is that of the most probable label.
    """

    precision: float
    recall: float
    f1: float
    support: int
    predicted: int
    roc_auc: float | None = None
    average_precision: float | None = None
    known: int | None = None
    ece: float | None = None


@dataclass(frozen=True)
class Metrics:
    """Metrics of a classifier on labelled rows.

    Attributes:
        accuracy: share of rows whose labels are all correct, as far as they are known; rows without any known label
            do not count.
        macro_f1: mean F1 of the labels that occur in the rows or the predictions, as in scikit-learn.
        weighted_f1: mean F1 of the labels, weighted by support.
        loss: mean cross-entropy in nats, without class weights (sigmoid: over all known labels of all rows).
        ece: expected calibration error, 0 to 1: the difference between the probability of the most probable label and
            how often it is correct, averaged over :data:`BINS` bins (sigmoid: of each known label's probability).
        per_class: label name -> metrics.
        confusion: int [true, predicted]; empty for multi-label models.
        roc_auc: mean over the labels for which it is defined.
        average_precision: mean over the labels for which it is defined.
    """

    accuracy: float
    macro_f1: float
    weighted_f1: float
    loss: float
    ece: float
    per_class: dict[str, LabelMetrics]
    confusion: list[list[int]]
    roc_auc: float | None = None
    average_precision: float | None = None

    def defined(self, name: str) -> float | None:
        """A metric by its name; None where it is undefined, as F1 is where no label occurs and none is predicted."""
        occurs = any(one.support or one.predicted for one in self.per_class.values())
        if name in {"macro_f1", "weighted_f1"} and not occurs:
            return None
        value: float | None = getattr(self, name)
        return value

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: number of predictions, mean probability, and the share that is correct."""

    count: Count
    probability: Share
    accuracy: Share

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval of the share, which treats the predictions as independent."""
        return wilson(self.accuracy, max(self.count, 1))


@dataclass(frozen=True)
class _Ranking:
    """Rows in which a label is known, by decreasing probability; ``ties`` numbers the groups of equal probabilities."""

    order: NDArray[np.int64]
    ties: NDArray[np.int64]
    positive: Floats

    @classmethod
    def of(cls, probs: Floats, positive: Bools, known: Bools) -> _Ranking:
        order = np.argsort(-probs, kind="stable")
        order = order[known[order]]
        sorted_ = probs[order]
        ties = np.cumsum(np.diff(sorted_, prepend=sorted_[:1]) != 0, dtype=np.int64)
        return cls(order, ties, positive[order].astype(np.float64))

    def curve(self, weights: Floats) -> tuple[Floats, Floats]:
        """Cumulative weight of the positive and of the other rows, down to each distinct probability."""
        w = weights[self.order]
        positive: Floats = np.cumsum(np.bincount(self.ties, w * self.positive))
        negative: Floats = np.cumsum(np.bincount(self.ties, w * (1 - self.positive)))
        return positive, negative


class Sample:
    """Predictions on labelled rows, prepared so that metrics are cheap to compute for any weights of the rows.

    Args:
        probs: float64 [rows, labels].
        y_true: int64 [rows] of label numbers, or (sigmoid) int64 [rows, labels] of 0, 1 and
            :data:`toxonnx.data.label_values.MISSING`.
        labels: the label set, with the thresholds by which labels are predicted.
        groups: int64 [rows], the same number for rows of the same text, see
            :func:`toxonnx.evaluate.intervals.cluster_ids`; by default every row is a text of its own.

    Attributes:
        decisions: bool [rows, labels], which labels are predicted.
        known: bool [rows, labels], which labels are known to apply or not to apply.
        predicted, actual: bool [rows, labels], which labels are predicted and which are true, among the known ones.
        correct: bool [rows], whether all known labels are predicted correctly.
        judged: bool [rows], whether any label is known.
    """

    def __init__(
        self, probs: Floats, y_true: NDArray[np.int64], labels: Labels, groups: NDArray[np.int64] | None = None
    ) -> None:
        self.probs, self.y_true, self.labels = probs, y_true, labels
        self.groups = np.arange(len(probs), dtype=np.int64) if groups is None else groups
        self.decisions: Bools = decide(probs, labels)
        one_hot = y_true if labels.multi else np.eye(len(labels), dtype=np.int64)[y_true]
        self.known: Bools = one_hot >= 0
        self.actual: Bools = one_hot > 0
        self.predicted: Bools = self.decisions & self.known
        self.correct: Bools = np.all(self.predicted == self.actual, axis=1)
        self.judged: Bools = np.any(self.known, axis=1)
        eps = np.finfo(np.float64).tiny
        # The loss of a row is a sum over its terms: one for each known label, or the one of the true class.
        if labels.multi:
            cells = np.where(self.actual, np.log(np.maximum(probs, eps)), np.log(np.maximum(1 - probs, eps)))
            self._losses: Floats = -np.where(self.known, cells, 0).sum(axis=1)
            self._terms: Floats = self.known.sum(axis=1).astype(np.float64)
        else:
            self._losses = -np.log(np.maximum(probs[self.actual], eps))
            self._terms = np.ones(len(probs))
            self._cell = self.actual.argmax(axis=1) * len(labels) + self.predicted.argmax(axis=1)
        self._rankings = [_Ranking.of(probs[:, i], self.actual[:, i], self.known[:, i]) for i in range(len(labels))]
        # The probabilities whose calibration is measured, [rows, claims]: of each label (sigmoid) or of the most
        # probable label (softmax).
        self._claimed = probs if labels.multi else probs.max(axis=1, keepdims=True)
        top = probs.argmax(axis=1)
        self._true = self.actual if labels.multi else self.actual[np.arange(len(probs)), top][:, None]
        self._counted: Bools = self.known if labels.multi else np.ones_like(self._true)
        bins = np.minimum((self._claimed * BINS).astype(np.int64), BINS - 1)
        self._bin = (bins + BINS * np.arange(self._claimed.shape[1])).ravel()  # each claim has bins of its own

    def __len__(self) -> int:
        return len(self.correct)

    @classmethod
    def of_logits(
        cls,
        logits: NDArray[np.floating],
        y_true: NDArray[np.int64],
        labels: Labels,
        groups: NDArray[np.int64] | None = None,
    ) -> Sample:
        """From logits [rows, labels] and true labels."""
        return cls(probabilities(logits, labels), y_true, labels, groups)

    def of_rows(self, rows: NDArray[Any]) -> Sample:
        """Some of the rows (indices, or bool [rows])."""
        return Sample(self.probs[rows], self.y_true[rows], self.labels, self.groups[rows])

    def share(self, hits: Bools, of: Bools) -> Interval | None:
        """The share of the rows ``of`` that are also in ``hits``, with Wilson's 95% interval.

        The interval counts distinct texts: repeated texts add no information. None if ``of`` has no rows.
        """
        total = int(of.sum())
        if not total:
            return None
        value = int((hits & of).sum()) / total
        return (value, *wilson(value, len(np.unique(self.groups[of]))))

    def metrics(self, weights: NDArray[Any] | None = None, *, ranked: bool = True, undefined: float = 0.0) -> Metrics:
        """Metrics of the rows.

        Args:
            weights: how often each row counts, [rows]; once by default.
            ranked: whether to compute ROC-AUC and average precision.
            undefined: the value of a metric whose denominator is 0; 0 as in scikit-learn, and NaN for the resamples of
                a bootstrap, where a 0 would be taken for a measurement.
        """
        ratio = functools.partial(_ratio, undefined=undefined)
        w = np.ones(len(self)) if weights is None else weights.astype(np.float64)
        predicted, actual, both = (w @ part for part in (self.predicted, self.actual, self.predicted & self.actual))
        errors, ece = self._calibration_errors(w, self._true)
        known = [None] * len(self.labels) if self.known.all() else [round(n) for n in (w @ self.known).tolist()]
        per_class = {
            name: LabelMetrics(
                ratio(both[i], predicted[i]), ratio(both[i], actual[i]), ratio(2 * both[i], predicted[i] + actual[i]),
                round(actual[i]), round(predicted[i]), *(self._ranked(i, w) if ranked else (None, None)), known[i],
                errors[i] if self.labels.multi and known[i] != 0 else None,
            )
            for i, name in enumerate(self.labels.names)
        }  # fmt: skip
        occurs = predicted + actual > 0
        f1 = np.where(occurs, [one.f1 for one in per_class.values()], 0.0)
        return Metrics(
            accuracy=ratio(float(w @ (self.correct & self.judged)), float(w @ self.judged)),
            macro_f1=ratio(float(f1[occurs].sum()), float(occurs.sum())),
            weighted_f1=ratio(float(actual @ f1), float(actual.sum())),
            loss=ratio(float(w @ self._losses), float(w @ self._terms)),
            ece=ece,
            per_class=per_class,
            confusion=self._confusion(w),
            roc_auc=_mean([one.roc_auc for one in per_class.values()]),
            average_precision=_mean([one.average_precision for one in per_class.values()]),
        )

    def reliability(self) -> list[Bin]:
        """Bins with about the same number of predictions each, by increasing probability.

        Equal probabilities are in one bin. Bins of equal width, as for the calibration error, would have a single
        prediction where the model rarely predicts, and the share that is correct there says nothing.
        """
        claimed, true = self._claimed[self._counted], self._true[self._counted]
        order = np.argsort(claimed, kind="stable")
        claimed, true = claimed[order], true[order]
        count = max(1, min(MAX_RELIABILITY_BINS, len(claimed) // MIN_BIN))
        cuts = np.searchsorted(claimed, claimed[np.arange(1, count) * len(claimed) // count])
        parts = np.split(np.arange(len(claimed)), np.unique(cuts))
        return [Bin(len(rows), float(claimed[rows].mean()), float(true[rows].mean())) for rows in parts if len(rows)]

    def chance_ece(self, samples: int, seed: int) -> tuple[float, float] | None:
        """The calibration error that a perfectly calibrated model would have on as many rows.

        It is larger than 0 by chance. The rows get new labels drawn with the model's own probabilities, the same for
        rows with the same text (Bröcker and Smith, "Increasing the Reliability of Reliability Diagrams", 2007).

        Args:
            samples: number of draws.
            seed: of the draws.

        Returns:
            The middle 95% of the draws; None for 0 samples.
        """
        if not samples:
            return None
        rng = np.random.default_rng(seed)
        texts, text_of_row = np.unique(self.groups, return_inverse=True)
        ones = np.ones(len(self))
        errors = []
        for _ in range(samples):
            luck = rng.random((len(texts), self._claimed.shape[1]))[text_of_row]
            errors.append(self._calibration_errors(ones, luck < self._claimed)[1])
        low, high = np.percentile(errors, [2.5, 97.5])
        return float(low), float(high)

    def precision_recall(self, label: int) -> tuple[Floats, Floats]:
        """Precision and recall of a label at each distinct probability, decreasing; empty if no row has it."""
        positive, negative = self._rankings[label].curve(np.ones(len(self)))
        if not len(positive) or not positive[-1]:
            return np.empty(0), np.empty(0)
        return positive / (positive + negative), positive / positive[-1]

    def _ranked(self, label: int, w: Floats) -> tuple[float | None, float | None]:
        """Area under the ROC curve, with ties counting half, and average precision."""
        positive, negative = self._rankings[label].curve(w)
        if not len(positive) or not positive[-1] or not negative[-1]:
            return None, None
        steps = np.diff(positive, prepend=0.0)
        area = float(((positive - steps / 2) * np.diff(negative, prepend=0.0)).sum() / (positive[-1] * negative[-1]))
        together = np.maximum(positive + negative, np.finfo(np.float64).tiny)  # a resample may leave out the first rows
        return area, float((steps * positive / together).sum() / positive[-1])

    def _confusion(self, w: Floats) -> list[list[int]]:
        if self.labels.multi:
            return []
        size = len(self.labels)
        table = np.bincount(self._cell, w, minlength=size * size).reshape(size, size)
        return [[round(cell) for cell in row] for row in table.tolist()]

    def _calibration_errors(self, w: Floats, true: Bools) -> tuple[list[float], float]:
        """The expected calibration error of each claim, and that of all in the same bins."""
        each, claims = (w[:, None] * self._counted).ravel(), self._claimed.shape[1]

        def summed(values: Floats) -> Floats:
            return np.bincount(self._bin, values, minlength=claims * BINS).astype(np.float64).reshape(claims, BINS)

        count, gap = summed(each), summed(each * (self._claimed - true).ravel())
        by_claim = list(map(_ratio, np.abs(gap).sum(axis=1), count.sum(axis=1)))
        return by_claim, _ratio(np.abs(gap.sum(axis=0)).sum(), count.sum())


def evaluate(logits: NDArray[np.floating], y_true: NDArray[np.int64], labels: Labels) -> Metrics:
    """Metrics from logits.

    Args:
        logits: float [rows, labels].
        y_true: see :class:`Sample`.
        labels: the label set.
    """
    return Sample.of_logits(logits, y_true, labels).metrics()


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share observed in ``count`` cases."""
    z = 1.959964
    spread = z * z / count
    centre = (share + spread / 2) / (1 + spread)
    half = z * float(np.sqrt(share * (1 - share) / count + spread / (4 * count))) / (1 + spread)
    # For a share of 0 or 1, an end is the share itself, which rounding must not move past it.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def _ratio(part: float, whole: float, undefined: float = 0.0) -> float:
    return float(part) / float(whole) if whole else undefined


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def comparison(metrics: dict[str, Any], precision: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table that compares an export with the PyTorch model.

    Args:
        metrics: of a manifest's verification: ``pytorch``, ``onnx_fp32`` and ``final``, each as
            :meth:`Metrics.to_dict` gives it.
        precision: of the final model.
    """
    names = {"pytorch": "PyTorch", "onnx_fp32": "ONNX fp32"}
    if precision != "fp32":
        names["final"] = f"ONNX {precision}"
    columns = [metrics[key] for key in names]
    rows = [
        [title, *(f"{one[key]:.4f}" for one in columns)]
        for key, title in (("accuracy", "accuracy"), ("macro_f1", "macro F1"))
    ]
    for label in columns[0]["per_class"]:
        rows.append([f"F1 {label}", *(f"{one['per_class'][label]['f1']:.4f}" for one in columns)])
    return ["", *names.values()], rows
