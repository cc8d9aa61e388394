"""Scores: one row per text, the same as arrays and as predictions."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import LETTERS, SHIPPED_LABELS, sentences
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from toxonnx import Classifier, Scores
from toxonnx.errors import InputError
from toxonnx.inference.scores import decide, needs_review
from toxonnx.labels import Labels

LOGITS = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 6), st.just(3)), elements=st.floats(-8, 8, width=32, allow_nan=False)
)
LABEL_SETS = st.sampled_from(
    [
        Labels(("a", "b", "c")),
        Labels(("a", "b", "c"), thresholds=(0.5, 0.6, 0.9), temperature=2.0),
        Labels(("a", "b", "c"), "sigmoid", (0.2, 0.5, 1.0)),
    ]
)


@given(logits=LOGITS, labels=LABEL_SETS, review_below=st.sampled_from([0.0, 0.7]))
def test_rows_and_arrays_agree(logits: np.ndarray, labels: Labels, review_below: float) -> None:
    flags = np.arange(len(logits)) % 2 == 0

    def scores_of(rows: slice) -> Scores:
        marks, others = flags[rows], ~flags[rows]
        return Scores(
            labels, logits[rows], truncated=marks, no_tokens=others, repaired=marks, cached=others, early=marks,
            review_below=review_below,
        )  # fmt: skip

    scores = scores_of(slice(None))
    rows = list(scores)
    assert len(rows) == len(scores) == len(logits)
    for i, row in enumerate(rows):
        assert row.probabilities == dict(zip(labels.names, scores.probabilities[i].tolist(), strict=True))
        assert row.labels == tuple(
            name for name, applies in zip(labels.names, scores.decisions[i], strict=True) if applies
        )
        assert (len(row.labels) == 1) or labels.multi
        expected = max(row.probabilities.values()) if labels.multi else row.probabilities[row.labels[0]]
        assert row.score == expected == scores.top_scores[i]
        assert (row.truncated, row.repaired, row.early) == (flags[i],) * 3
        assert (row.no_tokens, row.cached) == (not flags[i], not flags[i])
        assert row.needs_review == scores.needs_review[i]
    joined = Scores.concatenate(labels, [scores_of(slice(0, 2)), scores_of(slice(2, None))], review_below)
    assert list(joined) == rows


@pytest.mark.parametrize("rows", [0, 1, 40])
def test_a_classifier_scores_a_column_of_texts(rows: int) -> None:
    texts = [text for text, _ in sentences(rows)]
    classifier = Classifier.load(review_below=0.99)
    scores = classifier.score(iter(texts))
    assert (
        scores.logits.shape == scores.probabilities.shape == (rows, len(SHIPPED_LABELS))
        and scores.logits.dtype == np.float32
    )
    streamed = [prediction for _, prediction in classifier.stream(texts)]
    assert scores.probabilities.tolist() == [list(prediction.probabilities.values()) for prediction in streamed]
    assert scores.needs_review.tolist() == [prediction.needs_review for prediction in streamed]
    assert ["|".join(names) for names in scores.label_names] == [item["label"] for item in classifier.predict(texts)]


def test_decisions_with_thresholds() -> None:
    labels = Labels(LETTERS, thresholds=(0.8, 0.5, 0.5))
    probs = np.array([[0.85, 0.1, 0.05], [0.6, 0.3, 0.1], [0.4, 0.55, 0.05], [0.45, 0.3, 0.25]])
    assert decide(probs, labels).argmax(1).tolist() == [0, 0, 1, 0]
    assert needs_review(probs, labels).tolist() == [False, True, False, True]
    assert needs_review(probs, labels, 0.6).tolist() == [False, True, True, True]
    assert labels.can_abstain and not Labels(LETTERS, thresholds=(0.2, 0.3, 0.5)).can_abstain
    # A low threshold prefers its label.
    assert decide(probs, Labels(LETTERS, thresholds=(0.3, 0.5, 0.04)))[1:3].argmax(1).tolist() == [2, 0]
    several = Labels(LETTERS, "sigmoid")
    assert needs_review(np.array([[0.95, 0.02, 0.9], [0.95, 0.3, 0.9]]), several, 0.8).tolist() == [False, True]
    # A label that applies by a low threshold is as uncertain as its probability.
    low = Labels(LETTERS, "sigmoid", thresholds=(0.15, 0.5, 0.5))
    assert needs_review(np.array([[0.16, 0.02, 0.9]]), low, 0.8).tolist() == [True]
    for wrong in ({"thresholds": (0.5, 0.5)}, {"thresholds": (0.0, 0.5, 0.5)}, {"temperature": float("nan")}):
        with pytest.raises(InputError):
            Labels(LETTERS, **wrong)  # type: ignore[arg-type]
