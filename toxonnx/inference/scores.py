"""Logits to probabilities to decisions, and the interface of everything that scores texts."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import NamedTuple, NotRequired, Protocol, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from toxonnx.html import paragraph, table
from toxonnx.labels import Labels

__all__ = [
    "COLUMNS",
    "LabelScore",
    "Prediction",
    "Scorer",
    "Scores",
    "StreamScorer",
    "decide",
    "needs_review",
    "probabilities",
    "probability_names",
]

T = TypeVar("T")

#: the flags of a row of scores, in the order of :class:`Prediction`
FLAGS = ("truncated", "no_tokens", "repaired", "cached", "early")

#: what can be added to a table; ``probabilities`` stands for one column per label
COLUMNS = ("label", "score", "probabilities", "review", "truncated", "no_tokens", "repaired", "stage", "error")

#: rows that a notebook shows
SHOWN_ROWS = 10


def probabilities(logits: NDArray[np.floating], labels: Labels) -> NDArray[np.float64]:
    """Softmax or sigmoid of logits [rows, labels] divided by the temperature, as float64 of the same shape."""
    x = logits.astype(np.float64) / labels.temperature
    if labels.multi:
        # Two forms, so that the exponential never overflows.
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + small), small / (1 + small))
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = e / e.sum(axis=-1, keepdims=True)
    return result


def decide(probs: NDArray[np.float64], labels: Labels) -> NDArray[np.bool_]:
    """Which labels apply, bool [rows, labels].

    Sigmoid: all whose probability reaches their threshold. Softmax: the most probable one; with thresholds, the one
    with the highest ratio of probability to threshold, and where none reaches its threshold, the most probable.
    """
    if labels.multi:
        return probs >= np.asarray(labels.thresholds)
    chosen = probs.argmax(axis=-1)
    if labels.thresholds:
        ratio = probs / np.asarray(labels.thresholds)
        chosen = np.where(ratio.max(axis=-1) >= 1, ratio.argmax(axis=-1), chosen)
    decisions = np.zeros(probs.shape, dtype=np.bool_)
    decisions[np.arange(len(probs)), chosen] = True
    return decisions


def needs_review(probs: NDArray[np.float64], labels: Labels, review_below: float = 0.0) -> NDArray[np.bool_]:
    """Which rows a person should look at, bool [rows].

    Softmax: no label reaches its threshold, or the chosen label is less probable than ``review_below``. Sigmoid: some
    label that applies is less probable than ``review_below``, or the absence of one that does not apply is.
    """
    decisions = decide(probs, labels)
    if labels.multi:
        each: NDArray[np.float64] = np.where(decisions, probs, 1 - probs).min(axis=-1)
        return each < review_below
    chosen: NDArray[np.float64] = probs[decisions]
    if not labels.thresholds:
        return chosen < review_below
    best_ratio: NDArray[np.float64] = (probs / np.asarray(labels.thresholds)).max(axis=-1)
    return (chosen < review_below) | (best_ratio < 1)


def probability_names(labels: Sequence[str]) -> list[str]:
    """The columns of the labels' probabilities in a table: the labels' names, with ``probability_`` in front if one of
    them is called like another column, as in ``score``."""
    start = "probability_" if set(labels) & set(COLUMNS) else ""
    return [start + label for label in labels]


class Prediction(NamedTuple):
    """What a model predicts for one text: one row of :class:`Scores`.

    Attributes:
        labels: names of the labels that apply: exactly one (softmax), or any number (sigmoid).
        score: probability of the label (softmax), or of the most probable one (sigmoid).
        probabilities: label -> probability, in the bundle's order.
        truncated: whether the end of the text was not read: it is too long.
        no_tokens: whether the text has no token that the model knows; it is scored as an empty text.
        repaired: whether lone surrogates in the text were replaced by U+FFFD.
        cached: whether an identical text was scored before and its scores were reused.
        early: whether the first stage of a cascade answered.
        needs_review: whether a person should look at it, by the bundle's thresholds and ``review_below``.
    """

    labels: tuple[str, ...]
    score: float
    probabilities: dict[str, float]
    truncated: bool
    no_tokens: bool
    repaired: bool
    cached: bool
    early: bool
    needs_review: bool


class LabelScore(TypedDict):
    """A label and its probability, as in the result of a transformers pipeline.

    ``review`` is whether a person should look at it; only in decisions, and only where the bundle's thresholds or
    ``review_below`` can mark any.
    """

    label: str
    score: float
    review: NotRequired[bool]


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of some texts, one row per text, in order. Iterating yields a :class:`Prediction` per row.

    Attributes:
        labels: label names in the order of the columns, with activation, temperature and thresholds.
        logits: float32 [rows, labels].
        truncated: bool [rows], whether the end of the text was not read: it is too long.
        no_tokens: bool [rows], whether the text has no token that the model knows; it is scored as an empty text.
        repaired: bool [rows], whether lone surrogates in the text were replaced by U+FFFD.
        cached: bool [rows], whether the row reused the scores of an identical text.
        early: bool [rows], whether the first stage of a cascade answered.
        review_below: probability under which a prediction is marked for review; 0 marks by thresholds only.
    """

    labels: Labels
    logits: NDArray[np.float32]
    _: KW_ONLY
    truncated: NDArray[np.bool_]
    no_tokens: NDArray[np.bool_]
    repaired: NDArray[np.bool_]
    cached: NDArray[np.bool_]
    early: NDArray[np.bool_]
    review_below: float = 0.0

    @classmethod
    def of(
        cls,
        labels: Labels,
        logits: NDArray[np.float32],
        *,
        truncated: NDArray[np.bool_] | None = None,
        no_tokens: NDArray[np.bool_] | None = None,
    ) -> Scores:
        """Scores of a model without a cache; a flag that is not known is all False."""
        unset = np.zeros(len(logits), dtype=np.bool_)
        return cls(
            labels,
            logits,
            truncated=unset if truncated is None else truncated,
            no_tokens=unset if no_tokens is None else no_tokens,
            repaired=unset,
            cached=unset,
            early=unset,
        )

    @classmethod
    def concatenate(cls, labels: Labels, parts: Sequence[Scores], review_below: float = 0.0) -> Scores:
        """The rows of all parts, in order; no rows where there are no parts."""
        parts = [cls.of(labels, np.empty((0, len(labels)), dtype=np.float32)), *parts]
        flags = {name: np.concatenate([getattr(part, name) for part in parts]) for name in FLAGS}
        logits = np.concatenate([part.logits for part in parts])
        return cls(labels, logits, **flags, review_below=review_below)

    def take(self, mask: Sequence[bool]) -> Scores:
        """The rows for which the mask is true."""
        return self if all(mask) else self._rows(np.flatnonzero(mask))

    def part(self, start: int, end: int) -> Scores:
        """The rows from ``start`` to before ``end``."""
        return self._rows(slice(start, end))

    def _rows(self, rows: slice | NDArray[np.intp]) -> Scores:
        flags = {name: getattr(self, name)[rows] for name in FLAGS}
        return Scores(self.labels, self.logits[rows], **flags, review_below=self.review_below)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """float64 [rows, labels]."""
        return probabilities(self.logits, self.labels)

    @cached_property
    def decisions(self) -> NDArray[np.bool_]:
        """Which labels apply, by the bundle's thresholds, bool [rows, labels]."""
        return decide(self.probabilities, self.labels)

    @cached_property
    def needs_review(self) -> NDArray[np.bool_]:
        """Which rows a person should look at, bool [rows]; see :func:`needs_review`."""
        return needs_review(self.probabilities, self.labels, self.review_below)

    @cached_property
    def stage(self) -> NDArray[np.int8]:
        """1 for rows that the first stage of a cascade answered, 2 for the full model, int8 [rows]."""
        return np.where(self.early, np.int8(1), np.int8(2))

    @cached_property
    def top_scores(self) -> NDArray[np.float64]:
        """Probability of the chosen label (softmax), or of the most probable one (sigmoid), float64 [rows]."""
        if self.labels.multi:
            top: NDArray[np.float64] = self.probabilities.max(axis=1, initial=0.0)
            return top
        return self.probabilities[self.decisions]

    @cached_property
    def label_names(self) -> list[tuple[str, ...]]:
        """Names of the labels that apply to each row."""
        names = self.labels.names
        if self.labels.multi:
            return [tuple(names[i] for i in np.flatnonzero(row)) for row in self.decisions]
        single = [(name,) for name in names]
        return [single[i] for i in self.decisions.argmax(axis=1).tolist()]

    def to_dict(self, *, prefix: str = "") -> dict[str, list[str] | NDArray[np.float64]]:
        """The columns that ``toxonnx predict`` adds to a CSV file by default, to be added to a data frame.

        Args:
            prefix: what their names start with.

        Returns:
            ``label``, a string per row (with several labels per text, those that apply, joined by "|"); ``score``,
            float64 [rows]; and for each label its probability, float64 [rows].
        """
        columns: dict[str, list[str] | NDArray[np.float64]] = {
            "label": ["|".join(names) for names in self.label_names],
            "score": self.top_scores,
        }
        columns.update(zip(probability_names(self.labels.names), self.probabilities.T, strict=True))
        return {prefix + name: values for name, values in columns.items()}

    def __repr__(self) -> str:
        return f"Scores(rows={len(self)}, labels={reprlib.repr(self.labels.names)})"

    def _repr_html_(self) -> str:
        """The first rows, for notebooks."""
        thresholds = [f" (from {threshold:.2f})" for threshold in self.labels.thresholds] or [""] * len(self.labels)
        names = [name + threshold for name, threshold in zip(self.labels.names, thresholds, strict=True)]
        rows = [
            [
                str(number), "|".join(one.labels), f"{one.score:.3f}",
                *(f"{probability:.3f}" for probability in one.probabilities.values()),
                "yes" if one.needs_review else "",
            ]
            for number, one in enumerate(self.part(0, SHOWN_ROWS))
        ]  # fmt: skip
        note = paragraph(f"the first {SHOWN_ROWS} of {len(self):,} rows") if len(self) > SHOWN_ROWS else ""
        return table(["row", "label", "score", *names, "review"], rows, left=2) + note

    def __len__(self) -> int:
        return len(self.logits)

    def ranked(self, *, raw: bool = False) -> list[list[LabelScore]]:
        """All labels of each text with their probabilities, or logits if ``raw``, highest first."""
        values = self.logits if raw else self.probabilities
        rows = (sorted(zip(self.labels.names, row, strict=True), key=lambda pair: -pair[1]) for row in values.tolist())
        return [[{"label": label, "score": score} for label, score in row] for row in rows]

    def __iter__(self) -> Iterator[Prediction]:
        by_label = (dict(zip(self.labels.names, row, strict=True)) for row in self.probabilities.tolist())
        flags = (getattr(self, name).tolist() for name in FLAGS)
        return map(Prediction, self.label_names, self.top_scores.tolist(), by_label, *flags, self.needs_review.tolist())


class Scorer(Protocol):
    """Anything that scores texts: a bundle, a PyTorch model, another engine in a benchmark."""

    @property
    def labels(self) -> Labels:
        """The labels of its scores."""
        ...

    def score(self, texts: Sequence[str]) -> Scores:
        """Scores of texts that are not normalised yet, one row per text, in order."""
        ...


class StreamScorer(Scorer, Protocol):
    """A scorer that takes any number of texts in bounded memory."""

    def score_batches(
        self, items: Iterable[T], text: Callable[[T], str]
    ) -> Generator[tuple[list[T], Scores], None, None]:
        """Scores items as they come, in order; see :meth:`toxonnx.inference.classifier.Classifier.score_batches`."""
        ...
