from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from check_helpers import Rows, by_kind, check_file, check_quickly, distinct_rows, distinct_sentences, recipe_for
from helpers import write_csv

from toxonnx.check.leaky_splits import RANDOM, TEXTS_TOGETHER, ScoreRange, SplitResult, SplitScores, split_findings
from toxonnx.data.labelled_files import load_examples
from toxonnx.data.splits import split
from toxonnx.errors import InputError
from toxonnx.inference.tokenizer import Tokenizer


def test_the_same_query_with_several_pictures_leaks(tmp_path: Path, tokenizer: Tokenizer) -> None:
    # The label of a query is random, so that it cannot be predicted for a query that is not in the training set.
    rng = random.Random(1)
    rows: Rows = []
    for number in range(60):
        label = rng.choice(["yes", "no"])
        rows += [[f"wish{number} for {number}", f"picture {i} of a garden", label] for i in range(5)]
    file = write_csv(tmp_path / "q.csv", ["query", "picture", "label"], rows)
    report = check_file(file, tokenizer, text_columns=("query", "picture"))
    leaky = by_kind(report, "warning")["leaky-split"]
    assert leaky.details["clean_split"] == "same query together" and "Set split.group to 'query'" in leaky.advice
    assert leaky.count == 60 and "60 of 60 held-out rows" in leaky.message
    scores = {result.split: result.baseline.macro_f1.median for result in report.baselines}
    assert scores["random"] > 0.95 and scores["identical texts together"] > 0.95
    assert scores["same query together"] < 0.75
    assert "same picture together" in scores
    grouped = check_file(file, tokenizer, text_columns=("query", "picture"), group=("query",))
    assert [result.columns for result in grouped.baselines] == [(), (), ("query",)]
    # Training keeps the groups together, but its metrics may be compared with those of a random split.
    handled = by_kind(grouped, "note")["leaky-split"]
    assert f"{scores['random']:.3f} on it" in handled.message and "keeps them together" in handled.advice


def test_a_class_with_a_single_text_is_reported_and_left_out_of_splits(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [*distinct_rows(100), ["a lone riddle", "riddle"]]
    report = check_file(write_csv(tmp_path / "l.csv", ["text", "class"], rows), tokenizer)
    small = by_kind(report, "error")["small-classes"]
    # A value of a single row may be a text in the wrong column.
    assert (small.lines, small.details["classes"]) == ((102,), ["(a value on line 102)"])
    assert len(report.baselines) == 2 and "'(a value on line 102)'" in report.limitations[0]
    assert "riddle" not in json.dumps(report.to_dict())


def test_a_single_class_has_no_baselines(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[text, "praise"] for text, _ in distinct_sentences(30)]
    report = check_file(write_csv(tmp_path / "one.csv", ["text", "class"], [*rows, *rows[:3]]), tokenizer)
    assert "single-class" in by_kind(report, "error") and report.baselines == ()
    assert by_kind(report)["duplicate-texts"].lines == (32, 33, 34)


def test_splits_that_training_refuses_are_errors(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [*distinct_rows(60), ["a riddle", "riddle"], ["one more riddle", "riddle"]]
    file = write_csv(tmp_path / "d.csv", ["text", "class"], rows)
    for shares, refused in (({"validation": 0.1, "test": 0.1}, True), ({"validation": 0.2}, False)):
        recipe = recipe_for(file, **shares)
        report = check_quickly(file, tokenizer, recipe=recipe)
        assert ("small-classes" in by_kind(report, "error")) is refused
        if refused:
            with pytest.raises(InputError, match="the split needs 3"):
                split(load_examples(file, recipe), recipe.split, "")
            # With a validation file, no split is drawn.
            report = check_quickly(file, tokenizer, recipe=recipe, validation=file)
            assert "small-classes" in by_kind(report, "warning")


def test_a_class_in_a_single_group_cannot_be_split(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[*row, "same" if row[1] == "praise" else i] for i, row in enumerate(distinct_rows(60))]
    file = write_csv(tmp_path / "g.csv", ["text", "class", "who"], rows)
    report = check_quickly(file, tokenizer, recipe=recipe_for(file, group=("who",)))
    assert "'praise' has 1 distinct group (line" in by_kind(report, "error")["infeasible-split"].message


def test_a_split_is_inflated_only_beyond_its_own_range() -> None:
    def is_inflated(random: tuple[float, float, float], clean: tuple[float, float, float]) -> bool:
        results = []
        for split_, (low, median, high) in ((RANDOM, random), (TEXTS_TOGETHER, clean)):
            scores = SplitScores(ScoreRange(median, low, high), ScoreRange(median, low, high))
            results.append(
                SplitResult(
                    split=split_, columns=(), train_rows=80, held_out_rows=20, leaking_rows=10,
                    leaking_in_random_split=10, leaking_in_text_split=None, baseline=scores, majority=scores,
                )
            )  # fmt: skip
        return [finding.kind for finding in split_findings(results, [], grouped=False)] == ["leaky-split"]

    assert is_inflated((0.8, 0.85, 0.9), (0.6, 0.7, 0.79))
    assert not is_inflated((0.8, 0.85, 0.9), (0.6, 0.7, 0.81))
    assert not is_inflated((0.8, 0.82, 0.83), (0.79, 0.795, 0.799))


def test_texts_that_contain_the_label_make_the_baseline_nearly_perfect(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[f"{text} label {label}", label] for text, label in distinct_sentences(150)]
    report = check_file(write_csv(tmp_path / "d.csv", ["text", "class"], rows), tokenizer)
    message = by_kind(report, "note")["near-perfect-baseline"].message
    assert message.startswith("The TF-IDF baseline has an accuracy of 100.0%")
