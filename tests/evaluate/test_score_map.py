"""``toxonnx map-scores``: thresholds of another service become thresholds of a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import SHIPPED, sentences, toxonnx, write_csv

from toxonnx import Classifier
from toxonnx.evaluate.score_map import fit_score_map

TEXTS = list(dict.fromkeys(text for text, _ in sentences(600, 31)))


def test_thresholds_are_translated_and_measured_out_of_sample(tmp_path: Path) -> None:
    classifier = Classifier.load()
    column = classifier.labels.names.index("insult")
    ours = classifier.score(TEXTS).probabilities[:, column]
    rows = [[text, f"{score**0.5:.6f}", ""] for text, score in zip(TEXTS, ours.tolist(), strict=True)]
    write_csv(tmp_path / "old.csv", ["comment", "RUDENESS", "other"], [*rows, ["", "", ""]])
    low, high = (round(float(np.quantile(ours**0.5, share)), 3) for share in (0.4, 0.8))
    command = ["map-scores", tmp_path / "old.csv", "--score-column", "RUDENESS=insult"]
    done = toxonnx(*command, "--json", tmp_path / "m.json", "--threshold", str(high), "--threshold", str(low))
    assert done.returncode == 0, done.stderr
    assert f"RUDENESS → insult of {SHIPPED.name} ({classifier.bundle.seal[:16]})" in done.stdout
    report = json.loads((tmp_path / "m.json").read_text())
    assert report["bundle"] == {"name": SHIPPED.name, "sha256": classifier.bundle.seal}
    found = report["maps"]["RUDENESS"]
    assert (found["label"], found["rows"]) == ("insult", len(TEXTS))
    assert found["rank_correlation"] > 0.999 and found["mean_absolute_error"] < 0.01
    assert [one["old"] for one in found["thresholds"]] == [low, high]
    for one in found["thresholds"]:
        assert one["new"] == pytest.approx(one["old"] ** 2, abs=0.02)
        assert one["agreement"] > 0.97
        assert one["flagged_old"] == pytest.approx(float((ours**0.5 >= one["old"]).mean()), abs=0.005)


def test_scores_that_have_nothing_to_do_with_each_other_are_reported_as_such() -> None:
    rng = np.random.default_rng(3)
    texts = [f"text {number}" for number in range(2000)]
    found = fit_score_map(rng.random(2000), rng.random(2000), texts, [0.7])
    assert abs(found.rank_correlation) < 0.08
    assert found.mean_absolute_error > 0.2 and found.thresholds[0].agreement < 0.75


@pytest.mark.parametrize(
    ("score", "option", "message"),
    [
        ("1.2", "insult", "line 3: 'insult' is not a score from 0 to 1"),
        ("high", "insult", "line 3: 'insult' is not a score from 0 to 1"),
        ("0.5", "insult", "column 'insult': 2 different texts are too few for a map"),
        ("0.5", "RUDENESS", f"{SHIPPED.name} has no label 'RUDENESS'\nUse --score-column RUDENESS=LABEL"),
        ("0.5", "missing=insult", "has no column 'missing'"),
    ],
)  # fmt: skip
def test_wrong_input(tmp_path: Path, score: str, option: str, message: str) -> None:
    write_csv(tmp_path / "old.csv", ["comment", "insult"], [["a fine day", "0.1"], ["another one", score]])
    done = toxonnx("map-scores", tmp_path / "old.csv", "--score-column", option)
    assert done.returncode == 2 and message in done.stderr, done.stderr
