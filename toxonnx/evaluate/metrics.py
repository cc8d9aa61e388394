"""Metrics from labels and scores, for any weighting of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.inference.scores import decide, probabilities
from toxonnx.labels import Labels

__all__ = ["BINS", "Bin", "ClassFigures", "Interval", "Metrics", "Sample", "comparison", "evaluate", "wilson"]

#: of equal width, for the calibration error, as in Guo et al., "On Calibration of Modern Neural Networks", ICML 2017
BINS = 15

#: a share, and the lower and upper end of its 95% interval
Interval = tuple[float, float, float]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ClassFigures:
    """Metrics of one label; ``support`` counts the rows that have it, ``predicted`` those that got it.

    Precision is 0 where no row got the label, recall where none has it, as in scikit-learn. ``roc_auc`` and
    ``average_precision`` are those of its probability against all other labels together; None where all rows have it,
    or none has.
    """

    precision: float
    recall: float
    f1: float
    support: int
    predicted: int
    roc_auc: float | None = None
    average_precision: float | None = None


@dataclass(frozen=True)
class Metrics:
    """Metrics of a classifier on labelled rows.

    Attributes:
        accuracy: share of rows whose labels are all right.
        macro_f1: mean of the labels' F1, over those that occur in the rows or the answers, as in scikit-learn.
        weighted_f1: mean of the labels' F1, each weighing the rows that have it.
        loss: mean cross-entropy in nats, without class weights.
        ece: expected calibration error, 0 to 1: by how much the probability of the likeliest label misses how often it
            is right, on average over :data:`BINS` bins (sigmoid: of each label's probability).
        per_class: label name -> metrics.
        confusion: int [true, predicted]; empty for several labels a row.
        roc_auc: mean of the labels' where defined.
        average_precision: mean of the labels' where defined.
    """

    accuracy: float
    macro_f1: float
    weighted_f1: float
    loss: float
    ece: float
    per_class: dict[str, ClassFigures]
    confusion: list[list[int]]
    roc_auc: float | None = None
    average_precision: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Bin:
    """One bar of a reliability diagram: predictions of about the same probability, and how often they were right."""

    count: int
    probability: float
    right: float


@dataclass(frozen=True)
class _Ranking:
    """Rows by falling probability of one label; ``ties`` numbers the runs of equal ones, ``last`` is where they end."""

    order: NDArray[np.int64]
    ties: NDArray[np.int64]
    positive: Floats

    @classmethod
    def of(cls, probs: Floats, positive: Bools) -> _Ranking:
        order = np.argsort(-probs, kind="stable")
        sorted_ = probs[order]
        ties = np.cumsum(np.concatenate([[False], sorted_[1:] != sorted_[:-1]])).astype(np.int64)
        return cls(order, ties, positive[order].astype(np.float64))

    def curve(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weight of the positive and of the other rows down to each distinct probability."""
        w = weights[self.order]
        right: Floats = np.cumsum(np.bincount(self.ties, w * self.positive))
        wrong: Floats = np.cumsum(np.bincount(self.ties, w * (1 - self.positive)))
        return right, wrong


class Sample:
    """What a classifier says of labelled rows, prepared so that its metrics are cheap for any weights of the rows.

    Args:
        probs: float64 [rows, labels].
        held: bool [rows, labels], what was decided.
        actual: bool [rows, labels], what is true.
        labels: the label set.
        groups: int64 [rows], the same number for rows of the same text, see
            :func:`toxonnx.evaluate.intervals.clusters`; every row is its own text when not given.
    """

    def __init__(
        self, probs: Floats, held: Bools, actual: Bools, labels: Labels, groups: NDArray[np.int64] | None = None
    ) -> None:
        self.probs, self.held, self.actual, self.labels = probs, held, actual, labels
        self.groups = np.arange(len(probs), dtype=np.int64) if groups is None else groups
        self.right: Bools = (held == actual).all(axis=1)
        eps = np.finfo(np.float64).tiny
        if labels.multi:
            cells = np.where(actual, np.log(np.maximum(probs, eps)), np.log(np.maximum(1 - probs, eps)))
            self._losses: Floats = -cells.mean(axis=1)
        else:
            self._losses = -np.log(np.maximum(probs[actual], eps))
            self._cell = actual.argmax(axis=1) * len(labels) + held.argmax(axis=1)
        self._rankings = [_Ranking.of(probs[:, i], actual[:, i]) for i in range(len(labels))]
        # What was claimed, [rows, claims]: each label's probability, or that of the likeliest label.
        self._claimed = probs if labels.multi else probs.max(axis=1, keepdims=True)
        likeliest = probs.argmax(axis=1)
        self._true = actual if labels.multi else actual[np.arange(len(probs)), likeliest][:, None]
        self._bin = np.minimum((self._claimed * BINS).astype(np.int64), BINS - 1).ravel()

    def __len__(self) -> int:
        return len(self.right)

    @classmethod
    def of(
        cls, probs: Floats, y_true: NDArray[np.int64], labels: Labels, groups: NDArray[np.int64] | None = None
    ) -> Sample:
        """From probabilities and y_true: label numbers [rows], or 0 and 1 [rows, labels] for sigmoid."""
        actual = y_true.astype(np.bool_) if labels.multi else np.eye(len(labels), dtype=np.bool_)[y_true]
        return cls(probs, decide(probs, labels), actual, labels, groups)

    @classmethod
    def of_logits(
        cls,
        logits: NDArray[np.floating],
        y_true: NDArray[np.int64],
        labels: Labels,
        groups: NDArray[np.int64] | None = None,
    ) -> Sample:
        """From logits [rows, labels] and y_true."""
        return cls.of(probabilities(logits, labels), y_true, labels, groups)

    def of_rows(self, rows: NDArray[Any]) -> Sample:
        """These rows alone (numbers, or bool [rows])."""
        return Sample(self.probs[rows], self.held[rows], self.actual[rows], self.labels, self.groups[rows])

    def share(self, hits: Bools, of: Bools) -> Interval | None:
        """The share of some rows that are hits, with Wilson's 95% interval over their distinct texts: rows that repeat
        one text tell no more than one. None where there are no rows."""
        total = int(of.sum())
        if not total:
            return None
        value = int((hits & of).sum()) / total
        return (value, *wilson(value, len(np.unique(self.groups[of]))))

    def metrics(self, weights: NDArray[Any] | None = None, *, ranked: bool = True) -> Metrics:
        """Metrics; ``weights`` [rows] say how often each row counts. Not ``ranked``: those over ranks are left out."""
        w = np.ones(len(self)) if weights is None else weights.astype(np.float64)
        total = float(w.sum())
        predicted, there, both = (w @ part for part in (self.held, self.actual, self.held & self.actual))
        per_class = {
            name: ClassFigures(
                _ratio(both[i], predicted[i]), _ratio(both[i], there[i]), _ratio(2 * both[i], predicted[i] + there[i]),
                round(there[i]), round(predicted[i]), *(self._ranked(i, w) if ranked else (None, None)),
            )
            for i, name in enumerate(self.labels.names)
        }  # fmt: skip
        f1 = np.array([one.f1 for one in per_class.values()])
        occurs = predicted + there > 0
        return Metrics(
            accuracy=_ratio(float(w @ self.right), total),
            macro_f1=float(f1[occurs].mean()) if occurs.any() else 0.0,
            weighted_f1=_ratio(float(there @ f1), float(there.sum())),
            loss=_ratio(float(w @ self._losses), total),
            ece=self._ece(w, self._true),
            per_class=per_class,
            confusion=self._confusion(w),
            roc_auc=_mean([one.roc_auc for one in per_class.values()]),
            average_precision=_mean([one.average_precision for one in per_class.values()]),
        )

    def reliability(self) -> list[Bin]:
        """The bins of the calibration error that hold anything, by rising probability."""
        count, claimed, true = self._bins(np.ones(len(self)), self._true)
        return [
            Bin(round(n), float(c / n), float(t / n)) for n, c, t in zip(count, claimed, true, strict=True) if n
        ]  # fmt: skip

    def chance_ece(self, bootstrap_samples: int, seed: int) -> tuple[float, float] | None:
        """The calibration error of a model whose every probability is right, on as many rows as these.

        Chance alone makes it larger than 0. The rows are given new truths by the probabilities themselves, the same to
        rows of one text (Broecker and Smith, "Increasing the Reliability of Reliability Diagrams", 2007).

        Returns:
            The middle 95% of the bootstrap_samples; None without bootstrap_samples.
        """
        if not bootstrap_samples:
            return None
        rng = np.random.default_rng(seed)
        numbers, at = np.unique(self.groups, return_inverse=True)
        ones = np.ones(len(self))
        found = []
        for _ in range(bootstrap_samples):
            luck = rng.random((len(numbers), self._claimed.shape[1]))[at]
            found.append(self._ece(ones, luck < self._claimed))
        low, high = np.percentile(found, [2.5, 97.5])
        return float(low), float(high)

    def precision_recall(self, label: int) -> tuple[Floats, Floats]:
        """Precision and recall of a label at each distinct probability, falling; empty where no row has it."""
        right, wrong = self._rankings[label].curve(np.ones(len(self)))
        if not len(right) or not right[-1]:
            return np.empty(0), np.empty(0)
        return right / (right + wrong), right / right[-1]

    def _ranked(self, label: int, w: Floats) -> tuple[float | None, float | None]:
        """Area under the ROC curve, ties counting half, and average precision."""
        right, wrong = self._rankings[label].curve(w)
        if not len(right) or not right[-1] or not wrong[-1]:
            return None, None
        steps = np.diff(right, prepend=0.0)
        area = float(((right - steps / 2) * np.diff(wrong, prepend=0.0)).sum() / (right[-1] * wrong[-1]))
        together = np.maximum(right + wrong, np.finfo(np.float64).tiny)  # a resample may leave the first rows out
        return area, float((steps * right / together).sum() / right[-1])

    def _confusion(self, w: Floats) -> list[list[int]]:
        if self.labels.multi:
            return []
        size = len(self.labels)
        table = np.bincount(self._cell, w, minlength=size * size).reshape(size, size)
        return [[round(cell) for cell in row] for row in table.tolist()]

    def _bins(self, w: Floats, true: Bools) -> tuple[Floats, Floats, Floats]:
        each = np.repeat(w, self._claimed.shape[1])

        def summed(values: Floats) -> Floats:
            return np.bincount(self._bin, values, minlength=BINS).astype(np.float64)

        return summed(each), summed(each * self._claimed.ravel()), summed(each * true.ravel())

    def _ece(self, w: Floats, true: Bools) -> float:
        count, claimed, right = self._bins(w, true)
        return _ratio(float(np.abs(claimed - right).sum()), float(count.sum()))


def evaluate(logits: NDArray[np.floating], y_true: NDArray[np.int64], labels: Labels) -> Metrics:
    """Metrics from logits.

    Args:
        logits: float [rows, labels].
        y_true: int64 [rows] with label numbers (softmax), or int64 [rows, labels] of 0 and 1 (sigmoid).
        labels: the label set.
    """
    return Sample.of_logits(logits, y_true, labels).metrics()


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share that was seen on so many."""
    z = 1.959964
    spread = z * z / count
    centre = (share + spread / 2) / (1 + spread)
    half = z * float(np.sqrt(share * (1 - share) / count + spread / (4 * count))) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else 0.0


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def comparison(metrics: dict[str, Any], precision: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table that sets an export beside its source.

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
