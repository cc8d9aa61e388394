from __future__ import annotations

import json
from pathlib import Path

import pytest
from check_helpers import by_kind, check_quickly, distinct_rows
from helpers import write_csv

from toxonnx.check.label_values import normalise_label
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.recipe import LabelSpec, Recipe
from toxonnx.texts import TextSpec


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("1", "1.0", True), ("-2", "-2.00", True), (" A", "a\u200b", True), ("1_1", "11", False), ("1e1", "10", False),
     ("007", "7", False), ("007", "7.0", False), ("nan", "NaN ", True), ("1.5", "1.50", False)],
)  # fmt: skip
def test_only_equivalent_labels_are_normalised_to_the_same(one: str, other: str, same: bool) -> None:
    assert (normalise_label(one) == normalise_label(other)) is same


def test_a_typo_is_reported_and_not_shown(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = distinct_rows(40)
    rows[7][1] = "prase"
    file = write_csv(tmp_path / "s.csv", ["text", "class"], rows)
    typo = by_kind(check_quickly(file, tokenizer), "warning")["label-typos"]
    assert (typo.lines, "'praise'" in typo.message, "'prase'" in typo.message) == ((9,), True, False)


def test_long_or_unknown_labels_are_not_shown(tmp_path: Path, tokenizer: Tokenizer) -> None:
    # A value as long as a text is not shown, however frequent it is.
    rows = [*distinct_rows(40), *[["soup", "quixotic " + 32 * "x"]] * 5]
    file = write_csv(tmp_path / "l.csv", ["text", "class"], rows)
    assert "quixotic" not in json.dumps(check_quickly(file, tokenizer).to_dict())
    rows = [*distinct_rows(60), ["praise", "quixotic soup"], ["complaint", "quixotic soup"], ["shy", "seldom"]]
    file = write_csv(tmp_path / "d.csv", ["text", "class"], [*rows, ["shy", "seldom"], ["shier", "seldom"]])
    mapped = Recipe("m", LabelSpec("class", names={"praise": "praise", "complaint": "no"}), text=TextSpec(("text",)))
    report = check_quickly(file, tokenizer, recipe=mapped)
    assert "quixotic" not in json.dumps(report.to_dict()) and by_kind(report)["unknown-labels"].count == 5


def test_variants_that_the_recipe_maps_to_one_label_are_not_reported(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = distinct_rows(60)
    for row in rows[::3]:
        row[1] = str(row[1]).capitalize()
    file = write_csv(tmp_path / "d.csv", ["text", "class"], rows)
    names = {"praise": "praise", "Praise": "praise", "complaint": "no", "Complaint": "no"}
    mapped = Recipe("m", LabelSpec("class", names=names), text=TextSpec(("text",)))
    lower = [row for row in rows if str(row[1]).islower()]
    validation = write_csv(tmp_path / "v.csv", ["text", "class"], lower)
    report = check_quickly(file, tokenizer, recipe=mapped, validation=validation)
    assert not {"label-variants", "unseen-labels", "unvalidated-labels", "unknown-labels"} & set(by_kind(report))
    assert {size.name for size in report.classes} == {"praise", "no"}
    assert "label-variants" in by_kind(check_quickly(file, tokenizer), "error")
    different = Recipe("t", LabelSpec("class", names=names | {"Praise": "loud"}), text=TextSpec(("text",)))
    report = check_quickly(file, tokenizer, recipe=different)
    assert len(by_kind(report)["label-variants"].details["variants"]) == 1
