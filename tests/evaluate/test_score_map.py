"""``toxonnx map-scores``: thresholds of another service become thresholds of a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import SHIPPED, sentences, toxonnx, write_csv
from scipy.stats import spearmanr

from toxonnx import Classifier
from toxonnx.evaluate.score_map import fit_score_map

TEXTS = list(dict.fromkeys(text for text, _ in sentences(600, 31)))


def test_thresholds_are_translated_and_measured_out_of_sample(tmp_path: Path) -> None:
    classifier = Classifier.load()
    column = classifier.labels.names.index("insult")
    ours = classifier.score(TEXTS).probabilities[:, column]
    rows = [[text, f"{score**0.5:.6f}", ""] for text, score in zip(TEXTS, ours.tolist(), strict=True)]
    write_csv(tmp_path / "old.csv", ["comment", "RUDENESS", "other"], [*rows, ["", "", ""]])
    wanted = [round(float(np.quantile(ours**0.5, share)), 3) for share in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)]
    command = ["map-scores", tmp_path / "old.csv", "--score-column", "RUDENESS=insult"]
    options = [option for threshold in reversed(wanted) for option in ("--threshold", threshold)]
    done = toxonnx(*command, "--json", tmp_path / "m.json", *options)
    assert done.returncode == 0, done.stderr
    assert f"RUDENESS → insult of {SHIPPED.name} ({classifier.bundle.seal[:16]})" in done.stdout
    report = json.loads((tmp_path / "m.json").read_text())
    assert report["bundle"] == {"name": SHIPPED.name, "sha256": classifier.bundle.seal}
    found = report["maps"]["RUDENESS"]
    assert (found["label"], found["rows"]) == ("insult", len(TEXTS))
    assert found["rank_correlation"] > 0.999
    assert [one["old"] for one in found["thresholds"]] == wanted
    for one, line in zip(found["thresholds"], done.stdout.splitlines()[-len(wanted) :], strict=True):
        printed = float(line.split()[1])  # rounded up, fewer texts would reach it
        assert printed <= one["new"] == pytest.approx(printed, rel=1e-5)
        assert one["new"] == pytest.approx(one["old"] ** 2, abs=0.02)
        assert one["agreement"] > 0.97
        assert one["flagged_old"] == pytest.approx(float((ours**0.5 >= one["old"]).mean()), abs=0.005)


def test_as_many_texts_reach_the_new_threshold_however_much_the_scores_disagree() -> None:
    rng = np.random.default_rng(3)
    texts = [f"text {number}" for number in range(2000)]
    old, noise = rng.random(2000) ** 3, rng.random(2000)
    for share in (0.0, 0.5, 1.0):
        new = share * old + (1 - share) * noise
        found = fit_score_map(old, new, texts, [0.1, 0.5, 0.8])
        assert found.rank_correlation == pytest.approx(spearmanr(old, new).statistic)
        assert list(found.new) == sorted(found.new)
        for one in found.thresholds:
            assert one.flagged_old == float((old >= one.old).mean()) and one.new is not None
            assert float((new >= one.new).mean()) == one.flagged_old
            assert one.flagged_new == one.flagged_old
            by_chance = 1 - 2 * one.flagged_old * (1 - one.flagged_old)
            assert one.agreement is not None and one.agreement > by_chance - 0.03
            assert share or one.agreement < by_chance + 0.03
            assert share < 1 or one.agreement > 0.99


def test_the_reported_share_is_that_of_the_reported_threshold_also_with_a_text_that_repeats() -> None:
    texts = [f"text {number}" for number in range(60)] + ["a fine day"] * 40
    old = np.concatenate((np.linspace(0, 1, 60), np.full(40, 0.6)))
    new = np.concatenate((np.linspace(1, 0, 60), np.full(40, 0.5)))
    (found,) = fit_score_map(old, new, texts, [0.55]).thresholds
    assert found.new is not None and found.flagged_new == float((new >= found.new).mean())


def test_equal_scores() -> None:
    rng = np.random.default_rng(4)
    old = rng.choice([0.0, 0.9], 500, p=[0.8, 0.2])
    new = np.round(np.where(old > 0, 0.8, 0.3) + rng.normal(0, 0.2, 500), 1)
    found = fit_score_map(old, new, [f"text {number}" for number in range(500)], [0.5])
    assert found.rank_correlation == pytest.approx(spearmanr(old, new).statistic)
    assert found.old == (0.9,) and found.new == (found.thresholds[0].new,)
    assert float((new >= found.new[0]).mean()) == pytest.approx(found.thresholds[0].flagged_old, abs=0.08)


def test_a_threshold_that_hardly_any_text_reaches_gets_no_new_one(tmp_path: Path) -> None:
    rows = [[text, "0.9" if number < 4 else "0.1"] for number, text in enumerate(TEXTS[:60])]
    write_csv(tmp_path / "old.csv", ["comment", "insult"], rows)
    done = toxonnx(
        "map-scores", tmp_path / "old.csv", "--score-column", "insult", "--json", tmp_path / "m.json",
        "--threshold", "0.1", "--threshold", "0.5", "--threshold", "0.95",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for said in ("0 texts stay below 0.1", "4 texts reach 0.5", "0 texts reach 0.95"):
        assert f"{said}, too few for a new threshold" in done.stdout
    found = json.loads((tmp_path / "m.json").read_text())["maps"]["insult"]["thresholds"]
    assert [(one["new"], one["reached"]) for one in found] == [(None, 60), (None, 4), (None, 0)]


@pytest.mark.parametrize(
    ("score", "option", "message"),
    [
        ("1.2", "insult", "line 3: 'insult' is not a score from 0 to 1"),
        ("high", "insult", "line 3: 'insult' is not a score from 0 to 1"),
        ("0_1", "insult", "line 3: 'insult' is not a score from 0 to 1"),
        ("n/a", "insult", "column 'insult': 1 different text is too few for a map"),
        ("0.5", "insult", "column 'insult': 2 different texts are too few for a map"),
        ("0.5", "RUDENESS", f"{SHIPPED.name} has no label 'RUDENESS'\nIf one of its labels means the same"),
        ("0.5", "insult --score-column insult=toxicity", "--score-column names the column 'insult' twice\nRun the"),
        ("0.5", "insult --threshold nan", "nan is not a finite number."),
        ("0.5", "missing=insult", "has no column 'missing'"),
        ("0.5", "insult --text-column none", "old.csv: no column 'none'"),
    ],
)  # fmt: skip
def test_wrong_input(tmp_path: Path, score: str, option: str, message: str) -> None:
    write_csv(tmp_path / "old.csv", ["comment", "insult"], [["a fine day", "0.1"], ["another one", score]])
    done = toxonnx("map-scores", tmp_path / "old.csv", "--score-column", *option.split())
    assert done.returncode == 2 and message in done.stderr, done.stderr
