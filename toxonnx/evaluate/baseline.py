"""What counting words achieves: the figure that any other model's figure has to be seen beside."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.evaluate.metrics import evaluate
from toxonnx.labels import Labels

__all__ = ["TfidfBaseline", "baseline", "majority"]

#: coefficients of a model over all classes at most; fitting takes some 200 bytes for each. Words and pairs that are
#: rarer than the most frequent that fit are not counted then.
COEFFICIENTS = 4_000_000


class TfidfBaseline:
    """TF-IDF over words and pairs of words with logistic regression.

    Args:
        texts: to learn from.
        y_true: theirs, as :func:`toxonnx.evaluate.metrics.evaluate` takes it.
        labels: the label set.
    """

    def __init__(self, texts: Sequence[str], y_true: NDArray[np.int64], labels: Labels) -> None:
        self._labels, self._truth = labels, y_true
        self._classes = 1 if labels.multi else len(np.unique(y_true))
        self._vectors: Any = None
        self._models: list[Any] = []
        try:
            seen = self._count(texts)
        except ValueError:  # not one word
            self._vectors = None
            return
        targets = y_true.T if labels.multi else [y_true]
        self._models = [_fit(seen, target) for target in targets]

    def _count(self, texts: Sequence[str]) -> Any:
        most = COEFFICIENTS // (self._classes if self._classes > 2 else 1)
        self._vectors = _vectorizer()
        seen = self._vectors.fit_transform(texts)
        if seen.shape[1] > most:
            self._vectors = _vectorizer(most)
            seen = self._vectors.fit_transform(texts)
        return seen

    def logits(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """float64 [texts, labels]."""
        if self._vectors is None:
            return _always(self._truth, len(texts), self._labels)
        new = self._vectors.transform(texts)
        scores = np.full((len(texts), len(self._labels)), 1e-9)
        if self._labels.multi:
            for i, model in enumerate(self._models):
                scores[:, i] = self._truth[0, i] if model is None else model.predict_proba(new)[:, 1]
            scores = np.clip(scores, 1e-9, 1 - 1e-9)
            return np.asarray(np.log(scores / (1 - scores)))
        (model,) = self._models
        scores[:, np.unique(self._truth)] = 1.0 if model is None else model.predict_proba(new)
        return np.asarray(np.log(np.maximum(scores, 1e-9)))

    def score(self, texts: Sequence[str], y_true: NDArray[np.int64]) -> dict[str, float]:
        """Accuracy and macro F1 on held-out texts."""
        return _two(self.logits(texts), y_true, self._labels)


def _vectorizer(most: int | None = None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    # Punctuation and emoji count as words, and so does a single letter.
    return TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]+", max_features=most)


def _fit(seen: Any, target: NDArray[np.int64]) -> Any:
    """A model of a target; None for one that has a single value."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if len(np.unique(target)) < 2:
        return None
    # The products are sparse and small: handing their parts out to threads takes longer than the work.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=10, max_iter=500).fit(seen, target)


def baseline(
    train: Sequence[str],
    y_true: NDArray[np.int64],
    held: Sequence[str],
    held_out_y_true: NDArray[np.int64],
    labels: Labels,
) -> dict[str, float]:
    """Accuracy and macro F1 of :class:`TfidfBaseline` on held-out texts; its parameters, and what to measure on."""
    return TfidfBaseline(train, y_true, labels).score(held, held_out_y_true)


def majority(y_true: NDArray[np.int64], held_out_y_true: NDArray[np.int64], labels: Labels) -> dict[str, float]:
    """Accuracy and macro F1, on held-out rows, of always saying what is most frequent among the training rows."""
    return _two(_always(y_true, len(held_out_y_true), labels), held_out_y_true, labels)


def _always(y_true: NDArray[np.int64], rows: int, labels: Labels) -> NDArray[np.float64]:
    if labels.multi:
        predicted: Any = np.where(y_true.mean(axis=0) >= 0.5, 1.0, -1.0)
    else:
        predicted = np.where(np.arange(len(labels)) == np.bincount(y_true).argmax(), 1.0, -1.0)
    return np.asarray(np.repeat(predicted[None], rows, axis=0))


def _two(logits: NDArray[np.float64], y_true: NDArray[np.int64], labels: Labels) -> dict[str, float]:
    metrics = evaluate(logits, y_true, labels)
    return {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}
