"""Models with a single logit, as many toxicity and reward models have: one label with a sigmoid."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from checkpoints import make_checkpoint
from click.testing import CliRunner
from helpers import sentences, write_csv
from transformers import pipeline

from toxonnx import Classifier
from toxonnx.cli import group
from toxonnx.errors import InputError
from toxonnx.train.adapters import load_trained

TEXTS = [text for text, _ in sentences(80, 3)]


def _run(*arguments: object) -> str:
    done = CliRunner().invoke(group, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_one_label_applies_or_not(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", names=("toxic",))
    theirs = pipeline("text-classification", str(checkpoint))(TEXTS, batch_size=1)
    expected = np.array([one["score"] for one in theirs])
    # Labels that the model predicts correctly from some threshold on, which is not 0.5.
    toxic = expected > np.median(expected)
    rows = [[text, int(label)] for text, label in zip(TEXTS, toxic, strict=True)]
    data = write_csv(tmp_path / "rows.csv", ["text", "is_toxic"], rows)
    given = ["--data", data, "--text-column", "text", "--label-column", "is_toxic", "--no-calibration"]
    given += ["--allow-worse-than-baseline"]  # at 0.5 it predicts the label for every text
    bundle = tmp_path / "bundle"
    output = _run(
        "export", checkpoint, "-o", bundle, "--activation", "sigmoid", "--precision", "fp32", "--best-f1", *given
    )

    _run("predict", data, "--bundle", bundle, "-o", tmp_path / "scored.csv")
    header, *scored = csv.reader((tmp_path / "scored.csv").open(encoding="utf-8"))
    assert header == ["text", "is_toxic", "label", "score", "toxic"]
    assert [row[2] for row in scored] == ["toxic" if label else "" for label in toxic]
    assert [float(row[3]) for row in scored] == pytest.approx(expected.tolist(), abs=1e-5)
    assert [row[3] for row in scored] == [row[4] for row in scored]

    classifier = Classifier.load(bundle)
    (labels,) = classifier.score([""]).label_names
    assert ("texts without any word (a lone emoji, say) get the label toxic" in output) == bool(labels)
    assert classifier.score(TEXTS).decisions[:, 0].tolist() == toxic.tolist()
    (one,) = classifier.predict(TEXTS[0], top_k=1)
    assert one == {"label": "toxic", "score": pytest.approx(theirs[0]["score"], abs=1e-5)}

    report = tmp_path / "report.json"
    _run("eval", bundle, data, "--label-column", "is_toxic", "--json", report)
    (model,) = json.loads(report.read_text())["models"]
    assert model["all_rows"]["metrics"]["accuracy"] == 1
    assert model["all_rows"]["metrics"]["per_class"]["toxic"]["f1"] == 1


def test_softmax_of_one_logit_is_refused(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", names=("toxic",))
    with pytest.raises(InputError, match="the activation is sigmoid by the single label, not softmax"):
        load_trained(checkpoint, activation="softmax")
