"""What counting words achieves: the figure that any other model's figure has to be seen beside."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.evaluate.metrics import evaluate
from toxonnx.labels import Labels

__all__ = ["baseline", "majority"]


def baseline(
    train: Sequence[str], truth: NDArray[np.int64], held: Sequence[str], held_truth: NDArray[np.int64], labels: Labels
) -> dict[str, float]:
    """Accuracy and macro F1, on held-out texts, of TF-IDF over words and pairs of words with logistic regression.

    Args:
        train: texts to learn from.
        truth: theirs, as :func:`toxonnx.evaluate.metrics.evaluate` takes it.
        held: texts to measure on.
        held_truth: theirs.
        labels: the label set.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    # Punctuation and emoji count as words, and so does a single letter.
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]+")
    try:
        seen = words.fit_transform(train)
    except ValueError:  # not one word
        return majority(truth, held_truth, labels)
    new = words.transform(held)

    def probability(target: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of each value of target that occurs, float64 [held rows, values]."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=10, max_iter=500).fit(seen, target)
        found: NDArray[np.float64] = model.predict_proba(new)
        return found

    scores = np.full((len(held), len(labels)), 1e-9)
    if labels.multi:
        for i in range(len(labels)):
            values = np.unique(truth[:, i])
            scores[:, i] = probability(truth[:, i])[:, 1] if len(values) == 2 else values[0]
        scores = np.clip(scores, 1e-9, 1 - 1e-9)
        return _two(np.log(scores / (1 - scores)), held_truth, labels)
    present = np.unique(truth)
    scores[:, present] = probability(truth) if len(present) > 1 else 1.0
    return _two(np.log(np.maximum(scores, 1e-9)), held_truth, labels)


def majority(truth: NDArray[np.int64], held_truth: NDArray[np.int64], labels: Labels) -> dict[str, float]:
    """Accuracy and macro F1, on held-out rows, of always saying what is most frequent among the training rows."""
    if labels.multi:
        said: Any = np.where(truth.mean(axis=0) >= 0.5, 1.0, -1.0)
    else:
        said = np.where(np.arange(len(labels)) == np.bincount(truth).argmax(), 1.0, -1.0)
    return _two(np.repeat(said[None], len(held_truth), axis=0), held_truth, labels)


def _two(logits: NDArray[np.float64], truth: NDArray[np.int64], labels: Labels) -> dict[str, float]:
    figures = evaluate(logits, truth, labels)
    return {"accuracy": figures.accuracy, "macro_f1": figures.macro_f1}
