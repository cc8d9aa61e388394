"""Metrics agree with scikit-learn, for any weights of the rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import sklearn.metrics
from helpers import LETTERS, random_logits
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from toxonnx.data.label_values import MISSING
from toxonnx.evaluate.intervals import flatten
from toxonnx.evaluate.metrics import BINS, Sample, evaluate
from toxonnx.inference.scores import probabilities
from toxonnx.labels import Labels


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(2, 40), multi=st.booleans(), ties=st.booleans())
def test_metrics_agree_with_scikit_learn(seed: int, rows: int, multi: bool, ties: bool) -> None:
    logits, y_true, labels = random_logits(seed, rows, multi=multi, ties=ties)
    metrics = evaluate(logits, y_true, labels)
    predicted = (logits >= 0).astype(int) if multi else logits.argmax(1)
    for average, found in (("macro", metrics.macro_f1), ("weighted", metrics.weighted_f1)):
        one_hot, actual = (side if multi else np.eye(3, dtype=int)[side] for side in (predicted, y_true))
        occurs = np.flatnonzero((one_hot | actual).any(axis=0))
        f1 = (
            sklearn.metrics.f1_score(y_true, predicted, average=average, labels=occurs, zero_division=0)
            if len(occurs)
            else 0
        )
        assert found == pytest.approx(f1)
    assert metrics.accuracy == pytest.approx(sklearn.metrics.accuracy_score(y_true, predicted))
    probs = probabilities(logits, labels)
    actual = y_true.astype(bool) if multi else np.eye(3, dtype=bool)[y_true]
    for i, name in enumerate(LETTERS):
        one = metrics.per_class[name]
        assert one.support == actual[:, i].sum()
        if 0 < one.support < rows:
            assert one.roc_auc == pytest.approx(sklearn.metrics.roc_auc_score(actual[:, i], probs[:, i]))
            area = sklearn.metrics.average_precision_score(actual[:, i], probs[:, i])
            assert one.average_precision == pytest.approx(area)
        else:
            assert one.roc_auc is None and one.average_precision is None
    if multi:
        losses = [sklearn.metrics.log_loss(actual[:, i], probs[:, i], labels=[0, 1]) for i in range(3)]
        assert metrics.loss == pytest.approx(np.mean(losses))
    else:
        assert metrics.loss == pytest.approx(sklearn.metrics.log_loss(y_true, probs, labels=[0, 1, 2]))
        assert metrics.confusion == sklearn.metrics.confusion_matrix(y_true, predicted, labels=[0, 1, 2]).tolist()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(1, 30), share=st.floats(0, 1))
def test_a_label_counts_only_where_it_is_known(seed: int, rows: int, share: float) -> None:
    logits, y_true, labels = random_logits(seed, rows, multi=True)
    known = np.random.default_rng(seed).random(y_true.shape) >= share
    partial = np.where(known, y_true, MISSING)
    metrics = evaluate(logits, partial, labels)
    cells, correct = [], np.ones(rows, dtype=bool)
    for i, name in enumerate(LETTERS):
        kept, one = known[:, i], metrics.per_class[name]
        alone = Labels((name,), "sigmoid")
        if kept.any():
            same = evaluate(logits[kept][:, [i]], y_true[kept][:, [i]], alone)
            expected = dataclasses.asdict(same.per_class[name]) | {"known": one.known}
            assert dataclasses.asdict(one) == pytest.approx(expected)
            cells.append((same.loss, kept.sum()))
        else:
            assert one.ece is None and one.roc_auc is None
        assert one.known == (None if known.all() else kept.sum())
        correct &= ~kept | ((logits[:, i] >= 0) == y_true[:, i])
    if cells:
        assert metrics.loss == pytest.approx(
            np.average([loss for loss, _ in cells], weights=[count for _, count in cells])
        )
        assert metrics.accuracy == pytest.approx(correct[known.any(axis=1)].mean())
        # What the unknown cells contain changes nothing.
        other = logits + np.where(known, 0, 5)
        assert metrics == evaluate(other, partial, labels)
        one, two = (Sample.of_logits(values, partial, labels) for values in (logits, other))
        assert one.reliability() == two.reliability() and one.chance_ece(3, 0) == two.chance_ece(3, 0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(1, 20), multi=st.booleans(), ties=st.booleans(), data=st.data())
def test_weights_equal_repeated_rows(seed: int, rows: int, multi: bool, ties: bool, data: st.DataObject) -> None:
    logits, y_true, labels = random_logits(seed, rows, multi=multi, ties=ties)
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)))
    assume(weights.sum() > 0)
    weighted = flatten(Sample.of_logits(logits, y_true, labels).metrics(weights))
    repeated = flatten(evaluate(np.repeat(logits, weights, axis=0), np.repeat(y_true, weights, axis=0), labels))
    assert weighted == pytest.approx(repeated, nan_ok=True)


def test_the_calibration_error_is_the_distance_from_the_diagonal() -> None:
    # 100 predictions of 0.9, of which 70 are correct, and 100 of 0.6, of which 60 are.
    probs = np.array([[0.9, 0.1]] * 100 + [[0.6, 0.4]] * 100)
    y_true = np.array([0] * 70 + [1] * 30 + [0] * 60 + [1] * 40)
    sample = Sample.of_logits(np.log(probs), y_true, Labels(("x", "y")))
    assert sample.metrics().ece == pytest.approx(0.5 * 0.2)
    assert [(one.count, round(one.accuracy, 6)) for one in sample.reliability()] == [(100, 0.6), (100, 0.7)]
    assert BINS == 15


def test_the_calibration_error_by_chance() -> None:
    """Of 60 perfectly calibrated models, about 95% have an error within the range of chance."""
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        probs = probabilities(rng.normal(size=(400, 3)) * 2, Labels(LETTERS))
        y_true = (rng.random((400, 1)) > probs.cumsum(axis=1)).sum(axis=1)
        sample = Sample(probs, y_true, Labels(LETTERS))
        low, high = sample.chance_ece(200, seed) or (1, 0)
        inside += low <= sample.metrics().ece <= high
    assert 51 <= inside <= 60
    # The error of an overconfident one is larger.
    sure = Sample.of_logits(np.log(probs) * 4, y_true, Labels(LETTERS))
    assert sure.metrics().ece > (sure.chance_ece(200, 0) or (1, 1))[1]
