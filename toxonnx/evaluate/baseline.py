"""A TF-IDF baseline and a majority-class baseline, to compare any other model with."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.evaluate.metrics import evaluate
from toxonnx.labels import Labels

__all__ = ["F1_OF", "TfidfBaseline", "baseline", "majority", "without_labels"]

#: largest number of coefficients of a model over all classes; fitting takes about 200 bytes for each. The most
#: frequent words and pairs that fit are used.
MAX_COEFFICIENTS = 4_000_000


#: of a multi-label set, the F1 of each label is measured, too: this, and its name
F1_OF = "f1 of "


class TfidfBaseline:
    """Logistic regression on TF-IDF features of words and pairs of words.

    Args:
        texts: training texts.
        y_true: their labels, as :func:`toxonnx.evaluate.metrics.evaluate` takes them.
        labels: the label set.
    """

    def __init__(self, texts: Sequence[str], y_true: NDArray[np.int64], labels: Labels) -> None:
        self._labels, self._y_true = labels, y_true
        self._classes = 1 if labels.multi else len(np.unique(y_true))
        self._vectors: Any = None
        self._models: list[Any] = []
        try:
            features = self._fit_features(texts)
        except ValueError:  # no text contains a word
            self._vectors = None
            return
        targets = y_true.T if labels.multi else [y_true]
        self._models = [_fit(features[target >= 0], target[target >= 0]) for target in targets]

    def _fit_features(self, texts: Sequence[str]) -> Any:
        limit = MAX_COEFFICIENTS // (self._classes if self._classes > 2 else 1)
        self._vectors = _vectorizer()
        features = self._vectors.fit_transform(texts)
        if features.shape[1] > limit:
            self._vectors = _vectorizer(limit)
            features = self._vectors.fit_transform(texts)
        return features

    def logits(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """float64 [texts, labels]."""
        if self._vectors is None:
            return _constant_logits(self._y_true, len(texts), self._labels)
        features = self._vectors.transform(texts)
        scores = np.full((len(texts), len(self._labels)), 1e-9)
        if self._labels.multi:
            for i, model in enumerate(self._models):
                only = float((self._y_true[:, i] == 1).any())  # the one value of the label, where there is no model
                scores[:, i] = only if model is None else model.predict_proba(features)[:, 1]
            scores = np.clip(scores, 1e-9, 1 - 1e-9)
            return np.asarray(np.log(scores / (1 - scores)))
        (model,) = self._models
        scores[:, np.unique(self._y_true)] = 1.0 if model is None else model.predict_proba(features)
        return np.asarray(np.log(np.maximum(scores, 1e-9)))

    def score(self, texts: Sequence[str], y_true: NDArray[np.int64]) -> dict[str, float]:
        """Accuracy and macro F1 on other texts."""
        return _measure(self.logits(texts), y_true, self._labels)


def _vectorizer(max_features: int | None = None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    # Punctuation, emoji and single letters count as words.
    return TfidfVectorizer(
        sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]+", max_features=max_features
    )


def _fit(features: Any, target: NDArray[np.int64]) -> Any:
    """A model of a target; None for a target with a single value."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if len(np.unique(target)) < 2:
        return None
    # The products are sparse and small: distributing them to threads takes longer than computing them.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=10, max_iter=500).fit(features, target)


def baseline(
    train: Sequence[str], y_train: NDArray[np.int64], texts: Sequence[str], y_true: NDArray[np.int64], labels: Labels
) -> dict[str, float]:
    """Accuracy and macro F1 of a :class:`TfidfBaseline` on ``texts``, fitted on ``train``.

    With several labels per text, the F1 of each, too (``f1 of LABEL``).
    """
    return TfidfBaseline(train, y_train, labels).score(texts, y_true)


def majority(y_train: NDArray[np.int64], y_true: NDArray[np.int64], labels: Labels) -> dict[str, float]:
    """Accuracy and macro F1 of always predicting the most frequent training label, on rows labelled ``y_true``."""
    return _measure(_constant_logits(y_train, len(y_true), labels), y_true, labels)


def _constant_logits(y_train: NDArray[np.int64], rows: int, labels: Labels) -> NDArray[np.float64]:
    if labels.multi:
        positive, negative = ((y_train == value).sum(axis=0) for value in (1, 0))
        predicted: Any = np.where(positive >= negative, 1.0, -1.0)
    else:
        predicted = np.where(np.arange(len(labels)) == np.bincount(y_train).argmax(), 1.0, -1.0)
    return np.asarray(np.repeat(predicted[None], rows, axis=0))


def _measure(logits: NDArray[np.float64], y_true: NDArray[np.int64], labels: Labels) -> dict[str, float]:
    metrics = evaluate(logits, y_true, labels)
    each = {f"{F1_OF}{name}": one.f1 for name, one in metrics.per_class.items()} if labels.multi else {}
    return {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1, **each}


def without_labels(measured: dict[str, float], left_out: Sequence[str]) -> dict[str, float]:
    """The macro F1 of the other labels, from what :func:`baseline` or :func:`majority` measured; empty if unknown.

    Their accuracy is not known: it counts the rows on which all labels are right.
    """
    each = {key: f1 for key, f1 in measured.items() if key.startswith(F1_OF) and key[len(F1_OF) :] not in left_out}
    return {"macro_f1": float(np.mean(list(each.values()))), **each} if each else {}
