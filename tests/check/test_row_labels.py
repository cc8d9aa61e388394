from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from check_helpers import Rows, by_kind, check_quickly, distinct_rows
from helpers import write_csv

from toxonnx.check.render import class_table
from toxonnx.data.labelled_files import load_examples
from toxonnx.errors import InputError
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.recipe import LabelSpec, Recipe, Training
from toxonnx.texts import TextSpec


def _recipe(**labels: Any) -> Recipe:
    return Recipe("r", LabelSpec("class", **labels), text=TextSpec(("text",)))


def test_check_reads_labels_as_training_does(tmp_path: Path, tokenizer: Tokenizer) -> None:
    cells = ["1.0", "0.0", "1", "nan", "0", "NaN"] * 4
    path = write_csv(tmp_path / "rows.csv", ["text", "class"], [[f"t {i}", cell] for i, cell in enumerate(cells)])
    report = check_quickly(path, tokenizer, recipe=_recipe(missing="drop"))
    findings = by_kind(report)
    assert [size.name for size in report.classes] == ["0", "1"] and report.usable_rows == 16
    assert findings["empty-labels"].severity == "note" and findings["empty-labels"].count == 8
    assert "decimal-labels" in findings and "label-variants" not in findings
    assert by_kind(check_quickly(path, tokenizer))["empty-labels"].severity == "error"
    write_csv(path, ["text", "class"], [[f"t {i}", i / 30] for i in range(30)])
    assert "score-labels" in by_kind(check_quickly(path, tokenizer, recipe=_recipe()), "error")
    report = check_quickly(path, tokenizer, recipe=_recipe(threshold=0.5))
    assert [size.rows for size in report.classes] == [15, 15] and not by_kind(report, "error")


def test_shares_votes_and_weights_that_training_refuses_are_findings(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[text, i % 2, 2, 1, 1, 0.5] for i, (text, _) in enumerate(distinct_rows(40))]
    rows[3][2:] = [0, 0, -1, 1.5]
    rows[7][2] = "many"
    file = write_csv(tmp_path / "m.csv", ["text", "class", "a", "b", "weight", "share"], rows)
    voted = dataclasses.replace(_recipe(votes={"0": "a", "1": "b"}), training=Training(weight_column="weight"))
    found = [one for one in check_quickly(file, tokenizer, recipe=voted).findings if one.kind == "refused-values"]
    assert [(one.lines, one.severity) for one in found] == [((9,), "error"), ((5,), "error"), ((5,), "error")]
    assert "a value other than a number of votes in column 'a'" in found[0].message and "no votes" in found[2].message
    soft = Recipe("r", LabelSpec("share", threshold=0.5, soft=True), text=TextSpec(("text",)))
    (share,) = (one for one in check_quickly(file, tokenizer, recipe=soft).findings if one.kind == "refused-values")
    assert share.lines == (5,) and "a value other than a share from 0 to 1" in share.message
    with pytest.raises(InputError, match="has no column 'wight'"):
        check_quickly(file, tokenizer, recipe=dataclasses.replace(voted, training=Training(weight_column="wight")))


def test_names_that_training_refuses_are_findings_beside_the_others(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[text, i % 2, i % 3 == 0] for i, (text, _) in enumerate(distinct_rows(40))]
    file = write_csv(tmp_path / "m.csv", ["text", "a|b", "c"], rows)
    report = check_quickly(file, tokenizer, label_columns=("a|b", "c"))
    assert "'a|b'" in by_kind(report, "error")["label-names"].message and len(report.classes) == 2
    file = write_csv(
        tmp_path / "s.csv", ["text", "class"], [[t, "x\ny" if i % 2 else "z"] for i, (t, *_) in enumerate(rows)]
    )
    assert "label-names" in by_kind(check_quickly(file, tokenizer), "error")
    with pytest.raises(InputError, match="the name of a label contains a line break"):
        load_examples(file, _recipe())


def test_a_label_of_all_rows_is_a_single_class(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[text, 1, 0, i % 2] for i, (text, _) in enumerate(distinct_rows(40))]
    file = write_csv(tmp_path / "m.csv", ["text", "a", "b", "c"], rows)
    findings = by_kind(check_quickly(file, tokenizer, label_columns=("a", "b", "c")), "error")
    assert "column 'a'" in findings["single-class"].message
    assert findings["small-classes"].details["classes"] == ["b"]


def test_a_label_counts_where_it_was_judged(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = []
    for i, (text, label) in enumerate(distinct_rows(60)):
        rows.append([text, "" if i % 2 else int(label == "praise"), int("soup" in str(text))])
    # The same text, judged for the other label only: no conflict. The last row has no label.
    rows += [[rows[0][0], rows[0][1], ""], ["a plain text", "", ""]]
    file = write_csv(tmp_path / "m.csv", ["text", "praise", "soup"], rows)
    report = check_quickly(file, tokenizer, label_columns=("praise", "soup"))
    findings = by_kind(report)
    assert "conflicting-labels" not in findings and "unknown-labels" not in findings
    assert findings["empty-labels"].count == 1 and findings["empty-labels"].lines == (63,)
    assert report.usable_rows == 61
    praise, soup = report.classes
    assert (praise.known, soup.known) == (31, 60)
    assert praise.share == praise.rows / 31
    header, table = class_table(report)
    assert header[-1] == "judged in" and [row[-1] for row in table] == ["31", "60"]
