"""Thresholds in place of a bundle's: in Python, on the command line and behind an endpoint."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from helpers import SHIPPED, SHIPPED_LABELS, sentences, toxonnx, write_csv
from serve_helpers import make_plain_bundle, serving

from toxonnx import Classifier, RuntimeOptions
from toxonnx.errors import InputError

TEXTS = [text for text, _ in sentences(40)]


def test_labels_apply_from_the_given_thresholds_and_probabilities_stay() -> None:
    own = Classifier.load().score(TEXTS)
    for given in ({"toxicity": 0.9}, {"*": 0.2}, {"*": 0.01, "insult": 0.99}, {}):
        scores = Classifier.load(thresholds=given).score(TEXTS)
        expected = dict(zip(SHIPPED_LABELS, own.labels.thresholds, strict=True))
        if "*" in given:
            expected = dict.fromkeys(SHIPPED_LABELS, given["*"])
        expected |= {name: value for name, value in given.items() if name != "*"}
        assert scores.labels.thresholds == tuple(expected[name] for name in SHIPPED_LABELS)
        assert np.array_equal(scores.probabilities, own.probabilities)
        assert np.array_equal(scores.decisions, own.probabilities >= [expected[name] for name in SHIPPED_LABELS])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"toxic": 0.5}, "thresholds: the model has no label toxic\nIts labels are toxicity, identity_attack"),
        ({"toxicity": 0.0}, "thresholds must be greater than 0 and at most 1"),
        ({"toxicity": 1.5}, "the threshold of toxicity must be a probability from 0 to 1, got 1.5"),
        ({"*": float("nan")}, r"the threshold of \* must be a probability from 0 to 1, got nan"),
    ],
)
def test_thresholds_are_probabilities_of_labels_of_the_model(given: dict[str, float], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Classifier.load(thresholds=given)
    assert message.replace("\\", "") in str(caught.value)


def test_classes_need_a_threshold_each(tmp_path: Path) -> None:
    plain = make_plain_bundle(tmp_path / "plain")
    with pytest.raises(InputError, match="single-label model needs one for each label; rain, wind would have none"):
        Classifier.load(plain, thresholds={"sun": 0.5})
    strict = Classifier.load(plain, thresholds={"*": 0.9999})
    assert strict.can_mark_for_review and strict.score(TEXTS).needs_review.any()


def test_a_first_stage_is_left_out_since_it_decides_by_the_bundles_thresholds(cascade: Path) -> None:
    assert Classifier.load(cascade).score(TEXTS).early.any()
    assert not Classifier.load(cascade, thresholds={"*": 0.3}).score(TEXTS).early.any()


def test_predict_decides_by_the_thresholds_that_are_given(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "in.csv", ["text"], [[text] for text in TEXTS])
    done = toxonnx("predict", data, "-o", tmp_path / "out.csv", "--thresholds", "0.1,insult=1")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            reached = [name for name in SHIPPED_LABELS if name != "insult" and float(row[name]) >= 0.1]
            assert row["label"] == "|".join(reached)
    for given, message in (("rude=0.5", "the model has no label rude"), ("high", "--thresholds must be X or LABEL=X")):
        done = toxonnx("predict", data, "--thresholds", given)
        assert done.returncode == 2 and message in done.stderr and done.stdout == ""


def test_a_server_decides_by_them_and_shows_no_figures_of_other_thresholds() -> None:
    with serving(SHIPPED) as usual:
        before = usual.get("/v1/bundles/minilm-toxicity-int8").json()
        assert "toxonnx_validation_label_share{" in usual.get("/metrics").text
    with serving(SHIPPED, runtime=RuntimeOptions(threads=1, thresholds={"toxicity": 0.00001, "insult": 1.0})) as client:
        (result,) = client.post("/v1/classify", json={"texts": ["What a stupid idea, honestly."]}).json()["results"]
        assert "toxicity" in result["labels"] and "insult" not in result["labels"]
        after = client.get("/v1/bundles/minilm-toxicity-int8").json()
        assert [label["threshold"] for label in after["labels"]][:1] == [0.00001]
        assert before["measured"]["labels"] and not after["measured"]["labels"]
        assert after["measured"]["curves"] == before["measured"]["curves"]
        assert "toxonnx_validation_label_share{" not in client.get("/metrics").text
