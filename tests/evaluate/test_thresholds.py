"""Thresholds that reach a target."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import sklearn.metrics
from helpers import LETTERS, random_logits
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from toxonnx.errors import GateError, InputError
from toxonnx.evaluate.metrics import Sample, evaluate
from toxonnx.evaluate.thresholds import Target, fit_thresholds, measure_thresholds
from toxonnx.inference.scores import needs_review
from toxonnx.labels import Labels


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000), multi=st.booleans(), kind=st.sampled_from(["precision", "recall"]),
    share=st.floats(0.5, 0.95),
)  # fmt: skip
def test_thresholds_reach_their_target_on_the_fitted_rows(seed: int, multi: bool, kind: str, share: float) -> None:
    logits, y_true, labels = random_logits(seed, 200, multi=multi, ties=bool(seed % 2))
    sample = Sample.of_logits(logits, y_true, labels)
    wanted = {"b": share}  # in a single-label model, the recall of all labels at once may be out of reach
    try:
        thresholds = fit_thresholds(sample, Target(kind, wanted))
    except GateError:
        assume(False)
    fitted = dataclasses.replace(labels, thresholds=thresholds)
    measured = measure_thresholds(Sample.of_logits(logits, y_true, fitted)).per_class["b"]
    assert getattr(measured, kind)[0] >= share - 1e-9
    if kind == "precision":
        # No lower allowed threshold reaches it.
        scores = sample.probs[:, 1].round(9)
        for lower in np.unique(scores[scores < thresholds[1]]):
            if multi or lower > 0.5 + 1e-6:
                assert sample.actual[scores >= lower, 1].mean() < share


@pytest.mark.parametrize(("kind", "multi"), [("recall", True), ("recall", False), ("precision", True)])
@pytest.mark.parametrize("share", [0.55, 0.56, 0.57, 0.58, 0.07 * 10])
def test_a_share_that_is_reached_exactly_is_reached(kind: str, multi: bool, share: float) -> None:
    scores = np.concatenate((np.linspace(0.99, 0.1, 100), np.linspace(0.09, 0.01, 100)))
    actual = np.arange(200) < (100 if kind == "recall" else round(share * 100))
    probs = np.stack((scores, 1 - scores), axis=1)
    y_true = np.stack((actual, ~actual), axis=1).astype(int) if multi else (~actual).astype(int)
    labels = Labels(("a", "b"), "sigmoid" if multi else "softmax")
    fitted = dataclasses.replace(
        labels, thresholds=fit_thresholds(Sample(probs, y_true, labels), Target(kind, {"a": share}))
    )
    measured = measure_thresholds(Sample(probs, y_true, fitted)).per_class["a"]
    assert measured.predicted == (round(share * 100) if kind == "recall" else 100)


def test_best_f1_thresholds_beat_the_most_probable_label_and_mark_nothing_for_review() -> None:
    rng = np.random.default_rng(5)
    y_true = rng.choice(3, 600, p=[0.05, 0.75, 0.2])
    logits = rng.normal(size=(600, 3)) * 1.5 + 1.5 * np.eye(3)[y_true] + np.array([-1, 1, 0])
    labels = Labels(LETTERS)
    sample = Sample.of_logits(logits, y_true, labels)
    best = dataclasses.replace(labels, thresholds=fit_thresholds(sample, Target("f1")))
    assert evaluate(logits, y_true, best).macro_f1 > sample.metrics().macro_f1 + 0.02
    assert not best.can_abstain and not needs_review(sample.probs, best).any()
    # Nothing on a grid around it does better.
    for scale in np.random.default_rng(0).uniform(0.7, 1.4, (200, 3)):
        other = dataclasses.replace(labels, thresholds=tuple(np.minimum(1, np.array(best.thresholds) * scale)))
        decided = (sample.probs / np.array(other.thresholds)).argmax(1)
        f1 = sklearn.metrics.f1_score(y_true, decided, average="macro")
        assert f1 <= evaluate(logits, y_true, best).macro_f1 + 0.02


def test_an_unreachable_target_is_an_error_with_the_best_values() -> None:
    logits, y_true, labels = random_logits(0, 300)
    uniform = Sample.of_logits(np.zeros_like(logits), y_true, labels)
    with pytest.raises(GateError, match=r"no threshold gives 'a' a precision of 0\.9 on the 300 rows"):
        fit_thresholds(uniform, Target("precision", {"*": 0.9}))
    # In a single-label model, what one label gains another loses.
    random = Sample.of_logits(np.random.default_rng(0).normal(size=(600, 3)), np.arange(600) % 3, labels)
    with pytest.raises(
        GateError, match=r"no thresholds reach recall 0\.8 for all labels on the 600 rows: .*a 0\.\d{3}, b 0"
    ):
        fit_thresholds(random, Target("recall", {"*": 0.8}))
    with pytest.raises(InputError, match="there is no label d to set a target for"):
        fit_thresholds(uniform, Target("recall", {"d": 0.9}))
