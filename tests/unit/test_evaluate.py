"""Metrics, intervals, calibration, thresholds: against scikit-learn and SciPy, and against what they promise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import sklearn.metrics
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from toxonnx.errors import GateError, InputError
from toxonnx.evaluate.calibration import Target, calibrated_figures, fit_temperature, fit_thresholds, threshold_metrics
from toxonnx.evaluate.intervals import bootstrap, clusters, flat, mcnemar, resamples
from toxonnx.evaluate.metrics import BINS, Sample, evaluate, wilson
from toxonnx.inference.scores import decide, needs_review, probabilities
from toxonnx.labels import Labels

NAMES = ("a", "b", "c")


def _made(seed: int, rows: int, *, multi: bool = False, ties: bool = False) -> tuple[np.ndarray, np.ndarray, Labels]:
    """Logits that know something of the y_true."""
    rng = np.random.default_rng(seed)
    labels = Labels(NAMES, "sigmoid" if multi else "softmax")
    y_true = rng.integers(0, 2, (rows, 3)) if multi else rng.integers(0, 3, rows)
    known = y_true if multi else np.eye(3)[y_true]
    logits = rng.normal(size=(rows, 3)) * 2 + 2 * known
    return (logits.round(0) if ties else logits), y_true, labels


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(2, 40), multi=st.booleans(), ties=st.booleans())
def test_metrics_agree_with_scikit_learn(seed: int, rows: int, multi: bool, ties: bool) -> None:
    logits, y_true, labels = _made(seed, rows, multi=multi, ties=ties)
    metrics = evaluate(logits, y_true, labels)
    said = (logits >= 0).astype(int) if multi else logits.argmax(1)
    for average, found in (("macro", metrics.macro_f1), ("weighted", metrics.weighted_f1)):
        held, actual = (side if multi else np.eye(3, dtype=int)[side] for side in (said, y_true))
        occurs = np.flatnonzero((held | actual).any(axis=0))
        f1 = (
            sklearn.metrics.f1_score(y_true, said, average=average, labels=occurs, zero_division=0)
            if len(occurs)
            else 0
        )
        assert found == pytest.approx(f1)
    assert metrics.accuracy == pytest.approx(sklearn.metrics.accuracy_score(y_true, said))
    probs = probabilities(logits, labels)
    actual = y_true.astype(bool) if multi else np.eye(3, dtype=bool)[y_true]
    for i, name in enumerate(NAMES):
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
        assert metrics.confusion == sklearn.metrics.confusion_matrix(y_true, said, labels=[0, 1, 2]).tolist()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(1, 20), multi=st.booleans(), ties=st.booleans(), data=st.data())
def test_a_weight_is_a_row_that_often(seed: int, rows: int, multi: bool, ties: bool, data: st.DataObject) -> None:
    logits, y_true, labels = _made(seed, rows, multi=multi, ties=ties)
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)))
    assume(weights.sum() > 0)
    weighted = flat(Sample.of_logits(logits, y_true, labels).metrics(weights))
    repeated = flat(evaluate(np.repeat(logits, weights, axis=0), np.repeat(y_true, weights, axis=0), labels))
    assert weighted == pytest.approx(repeated, nan_ok=True)


def test_the_calibration_error_is_the_distance_from_the_diagonal() -> None:
    # 100 rows said with 0.9 of which 70 are right, 100 with 0.6 of which 60 are.
    probs = np.array([[0.9, 0.1]] * 100 + [[0.6, 0.4]] * 100)
    y_true = np.array([0] * 70 + [1] * 30 + [0] * 60 + [1] * 40)
    sample = Sample.of_logits(np.log(probs), y_true, Labels(("x", "y")))
    assert sample.metrics().ece == pytest.approx(0.5 * 0.2)
    assert [(one.count, round(one.right, 6)) for one in sample.reliability()] == [(100, 0.6), (100, 0.7)]
    assert BINS == 15


def test_what_chance_adds_to_a_calibration_error() -> None:
    """Of 60 models whose every probability is right, about 95% stand where chance alone would put them."""
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        probs = probabilities(rng.normal(size=(400, 3)) * 2, Labels(NAMES))
        y_true = (rng.random((400, 1)) > probs.cumsum(axis=1)).sum(axis=1)
        sample = Sample.of(probs, y_true, Labels(NAMES))
        low, high = sample.chance_ece(200, seed) or (1, 0)
        inside += low <= sample.metrics().ece <= high
    assert 51 <= inside <= 60
    # One that is far too sure stands outside.
    sure = Sample.of_logits(np.log(probs) * 4, y_true, Labels(NAMES))
    assert sure.metrics().ece > (sure.chance_ece(200, 0) or (1, 1))[1]


def test_intervals_hold_what_they_should() -> None:
    """Of 200 small samples from one source, about 95% of the intervals hold the source's own accuracy."""
    held = 0
    for seed in range(200):
        right = np.random.default_rng(seed).random(150) < 0.8

        def measure(weights: np.ndarray, right: np.ndarray = right) -> dict[str, float]:
            return {"accuracy": float(weights @ right / weights.sum())}

        low, high = bootstrap(measure, np.arange(150), 300, seed)["accuracy"] or (1, 0)
        held += low <= 0.8 <= high
    assert 180 <= held <= 199


def test_rows_that_repeat_a_text_make_an_interval_no_narrower() -> None:
    right = np.random.default_rng(0).random(60) < 0.7
    texts = [str(i) for i in range(60)]

    def width(copies: int) -> float:
        repeated = np.repeat(right, copies)
        groups = clusters([text for text in texts for _ in range(copies)])

        def measure(weights: np.ndarray) -> dict[str, float]:
            return {"accuracy": float(weights @ repeated / weights.sum())}

        low, high = bootstrap(measure, groups, 500, 1)["accuracy"] or (0, 0)
        return high - low

    assert width(5) == pytest.approx(width(1))
    # Nor does a share of a group get surer by them.
    once, often = (np.repeat(np.array([True] * 8 + [False] * 2), copies) for copies in (1, 7))
    shares = [
        Sample(np.full((len(hits), 2), 0.5), *[np.tile([True, False], (len(hits), 1))] * 2, Labels(("x", "y")), groups)
        .share(hits, np.ones(len(hits), dtype=bool))
        for hits, groups in ((once, np.arange(10)), (often, np.repeat(np.arange(10), 7)))
    ]  # fmt: skip
    assert shares[0] == shares[1] == (0.8, *wilson(0.8, 10))
    for weights in resamples(clusters(["x", "y", "x"]), 20, 0):
        assert weights[0] == weights[2]


@given(right=st.integers(0, 60), others=st.integers(0, 60))
def test_wilson_and_mcnemar_agree_with_scipy(right: int, others: int) -> None:
    if right + others:
        low, high = scipy.stats.binomtest(right, right + others).proportion_ci(method="wilson")
        assert wilson(right / (right + others), right + others) == pytest.approx((low, high), abs=1e-6)
    # One model right alone on some rows, the other on others.
    correct, wrong = np.eye(2, dtype=bool)[[0]], np.eye(2, dtype=bool)[[1]]
    labels, rows = Labels(("x", "y")), right + others + 3
    actual = np.repeat(correct, rows, axis=0)
    one = Sample(
        np.full((rows, 2), 0.5), np.array([*([correct[0]] * (right + 3)), *([wrong[0]] * others)]), actual, labels
    )
    two = Sample(
        np.full((rows, 2), 0.5), np.array([*([wrong[0]] * right), *([correct[0]] * (others + 3))]), actual, labels
    )
    found = mcnemar(one, two)
    assert (found["only_first_right"], found["only_second_right"]) == (right, others)
    expected = scipy.stats.binomtest(right, right + others).pvalue if right + others else 1.0
    assert found["p"] == pytest.approx(expected)


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("sharpness", [0.3, 4.0])
def test_the_temperature_is_where_the_loss_is_least(multi: bool, sharpness: float) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(4000, 3)) * 2
    labels = Labels(NAMES, "sigmoid" if multi else "softmax")
    probs = probabilities(logits, labels)
    draw = rng.random((4000, 3)) if multi else rng.random((4000, 1))
    y_true = (draw < probs).astype(np.int64) if multi else (draw > probs.cumsum(axis=1)).sum(axis=1)
    found = fit_temperature(logits * sharpness, y_true, labels)

    def loss(temperature: float) -> float:
        return evaluate(logits * sharpness, y_true, dataclasses.replace(labels, temperature=temperature)).loss

    assert found == pytest.approx(scipy.optimize.minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x, rel=1e-3)
    assert found == pytest.approx(sharpness, rel=0.1)
    before = evaluate(logits * sharpness, y_true, labels)
    assert calibrated_figures(logits * sharpness, y_true, labels, np.arange(4000)).ece < min(0.03, before.ece / 2)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000), multi=st.booleans(), kind=st.sampled_from(["precision", "recall"]),
    share=st.floats(0.5, 0.95),
)  # fmt: skip
def test_thresholds_keep_their_promise_where_they_were_fitted(seed: int, multi: bool, kind: str, share: float) -> None:
    logits, y_true, labels = _made(seed, 200, multi=multi, ties=bool(seed % 2))
    sample = Sample.of_logits(logits, y_true, labels)
    wanted = {"b": share}  # with one label a text, the recall of all at once may be out of reach
    try:
        thresholds = fit_thresholds(sample, Target(kind, wanted))
    except GateError:
        assume(False)
    fitted = dataclasses.replace(labels, thresholds=thresholds)
    kept = threshold_metrics(Sample.of_logits(logits, y_true, fitted))["per_class"]["b"]
    assert kept[kind][0] >= share - 1e-9
    if kind == "precision":
        # No lower threshold that is allowed keeps it.
        scores = sample.probs[:, 1].round(9)
        for lower in np.unique(scores[scores < thresholds[1]]):
            if multi or lower > 0.5 + 1e-6:
                assert sample.actual[scores >= lower, 1].mean() < share


def test_the_best_f1_is_no_worse_than_the_likeliest_label_and_leaves_no_doubt() -> None:
    rng = np.random.default_rng(5)
    y_true = rng.choice(3, 600, p=[0.05, 0.75, 0.2])
    logits = rng.normal(size=(600, 3)) * 1.5 + 1.5 * np.eye(3)[y_true] + np.array([-1, 1, 0])
    labels = Labels(NAMES)
    sample = Sample.of_logits(logits, y_true, labels)
    best = dataclasses.replace(labels, thresholds=fit_thresholds(sample, Target("f1")))
    assert evaluate(logits, y_true, best).macro_f1 > sample.metrics().macro_f1 + 0.02
    assert not best.can_abstain and not needs_review(sample.probs, best).any()
    # Nothing on a grid around it does better.
    for scale in np.random.default_rng(0).uniform(0.7, 1.4, (200, 3)):
        other = dataclasses.replace(labels, thresholds=tuple(np.minimum(1, np.array(best.thresholds) * scale)))
        held = (sample.probs / np.array(other.thresholds)).argmax(1)
        f1 = sklearn.metrics.f1_score(y_true, held, average="macro")
        assert f1 <= evaluate(logits, y_true, best).macro_f1 + 0.02


def test_a_target_out_of_reach_is_refused_with_what_there_is() -> None:
    logits, y_true, labels = _made(0, 300)
    nothing = Sample.of_logits(np.zeros_like(logits), y_true, labels)
    with pytest.raises(GateError, match=r"no threshold gives 'a' a precision of 0\.9 on the 300 rows"):
        fit_thresholds(nothing, Target("precision", {"*": 0.9}))
    # One label a text: what one label gains another loses, so all of them cannot be found in full.
    muddled = Sample.of_logits(np.random.default_rng(0).normal(size=(600, 3)), np.arange(600) % 3, labels)
    with pytest.raises(
        GateError, match=r"no thresholds give all labels recall 0\.8 on the 600 rows: .*a 0\.\d{3}, b 0"
    ):
        fit_thresholds(muddled, Target("recall", {"*": 0.8}))
    with pytest.raises(InputError, match="a target for d: the labels are a, b, c"):
        fit_thresholds(nothing, Target("recall", {"d": 0.9}))


def test_decisions_with_thresholds() -> None:
    labels = Labels(NAMES, thresholds=(0.8, 0.5, 0.5))
    probs = np.array([[0.85, 0.1, 0.05], [0.6, 0.3, 0.1], [0.4, 0.55, 0.05], [0.45, 0.3, 0.25]])
    assert decide(probs, labels).argmax(1).tolist() == [0, 0, 1, 0]
    assert needs_review(probs, labels).tolist() == [False, True, False, True]
    assert needs_review(probs, labels, 0.6).tolist() == [False, True, True, True]
    assert labels.can_abstain and not Labels(NAMES, thresholds=(0.2, 0.3, 0.5)).can_abstain
    # A low threshold brings a label forward.
    assert decide(probs, Labels(NAMES, thresholds=(0.3, 0.5, 0.04)))[1:3].argmax(1).tolist() == [2, 0]
    several = Labels(NAMES, "sigmoid")
    assert needs_review(np.array([[0.95, 0.02, 0.9], [0.95, 0.3, 0.9]]), several, 0.8).tolist() == [False, True]
    # A label that holds by a low threshold is as uncertain as its probability.
    low = Labels(NAMES, "sigmoid", thresholds=(0.15, 0.5, 0.5))
    assert needs_review(np.array([[0.16, 0.02, 0.9]]), low, 0.8).tolist() == [True]
    for wrong in ({"thresholds": (0.5, 0.5)}, {"thresholds": (0.0, 0.5, 0.5)}, {"temperature": float("nan")}):
        with pytest.raises(InputError):
            Labels(NAMES, **wrong)  # type: ignore[arg-type]
