"""Metrics from labels and scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.labels import Labels
from toxonnx.scores import decide, probabilities

__all__ = ["ClassFigures", "Figures", "comparison", "evaluate"]


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one label; ``support`` counts the rows that have it."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Figures:
    """Figures of a classifier on labelled rows.

    Attributes:
        accuracy: share of rows whose labels are all right.
        macro_f1: mean of the labels' F1. A label with neither rows nor predictions counts 0, as in scikit-learn.
        loss: mean cross-entropy in nats, without class weights.
        per_class: label name -> figures.
        confusion: int [true, predicted]; empty for several labels a row.
    """

    accuracy: float
    macro_f1: float
    loss: float
    per_class: dict[str, ClassFigures]
    confusion: list[list[int]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def evaluate(logits: NDArray[np.floating], truth: NDArray[np.int64], labels: Labels) -> Figures:
    """Figures from logits.

    Args:
        logits: float [rows, labels].
        truth: int64 [rows] with label numbers (softmax), or int64 [rows, labels] of 0 and 1 (sigmoid).
        labels: the label set.
    """
    probs = probabilities(logits, labels)
    held = decide(probs, labels)
    actual = truth.astype(np.bool_) if labels.multi else np.eye(len(labels), dtype=np.bool_)[truth]
    eps = np.finfo(np.float64).tiny
    if labels.multi:
        cells = np.where(actual, np.log(np.maximum(probs, eps)), np.log(np.maximum(1 - probs, eps)))
        loss = -float(cells.mean())
        confusion: list[list[int]] = []
    else:
        loss = -float(np.log(np.maximum(probs[actual], eps)).mean())
        confusion = (actual.astype(np.int64).T @ held.astype(np.int64)).tolist()
    right = (actual & held).sum(axis=0)
    said, there = held.sum(axis=0), actual.sum(axis=0)
    per_class = {
        name: ClassFigures(
            precision=_ratio(right[i], said[i]),
            recall=_ratio(right[i], there[i]),
            f1=_ratio(2 * right[i], said[i] + there[i]),
            support=int(there[i]),
        )
        for i, name in enumerate(labels.names)
    }
    return Figures(
        accuracy=float((held == actual).all(axis=1).mean()),
        macro_f1=float(np.mean([figures.f1 for figures in per_class.values()])),
        loss=loss,
        per_class=per_class,
        confusion=confusion,
    )


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else 0.0


def comparison(figures: dict[str, Any], precision: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table that sets an export beside its source.

    Args:
        figures: of a manifest's verification: ``pytorch``, ``onnx_fp32`` and ``final``, each as
            :meth:`Figures.to_dict` gives it.
        precision: of the final model.
    """
    names = {"pytorch": "PyTorch", "onnx_fp32": "ONNX fp32"}
    if precision != "fp32":
        names["final"] = f"ONNX {precision}"
    columns = [figures[key] for key in names]
    rows = [
        [title, *(f"{one[key]:.4f}" for one in columns)]
        for key, title in (("accuracy", "accuracy"), ("macro_f1", "macro F1"))
    ]
    for label in columns[0]["per_class"]:
        rows.append([f"F1 {label}", *(f"{one['per_class'][label]['f1']:.4f}" for one in columns)])
    return ["", *names.values()], rows
