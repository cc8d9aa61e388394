from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from check_helpers import (
    Rows,
    assert_complete_page,
    by_kind,
    check_file,
    check_quickly,
    distinct_rows,
    distinct_sentences,
)
from helpers import real_data, write_csv
from hypothesis import given, settings
from hypothesis import strategies as st

from toxonnx.bundle import open_bundle
from toxonnx.check import column_predictors, leaky_splits, near_duplicates, sampling
from toxonnx.check.page import page
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.recipe_files import load_recipe
from toxonnx.resources import find_bundle


def test_limits_of_time_are_limitations(tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MAX_ROWS", 100)
    monkeypatch.setattr(column_predictors, "MAX_ROWS", 90)
    monkeypatch.setattr(column_predictors, "MAX_COLUMNS", 2)
    monkeypatch.setattr(near_duplicates, "MAX_TEXTS", 50)
    rows: Rows = [[i, i % 7, text, label] for i, (text, label) in enumerate(distinct_sentences(50) * 4)]
    file = write_csv(tmp_path / "b.csv", ["id", "day", "text", "class"], rows)
    report = check_file(file, tokenizer, group=("day",))
    limitations = " ".join(report.limitations)
    for words in ("100 of 200 rows", "90 of 200 rows", "single columns: 2 of 3, the text columns"):
        assert words in limitations
    assert report.single_columns[0].column == "text"


def test_steps_that_take_too_long_or_too_much_memory_are_limitations(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: Rows = [[*row, f"{row[0]} so {i}"] for i, row in enumerate(distinct_rows(150))]
    file = write_csv(tmp_path / "d.csv", ["text", "class", "remark"], rows)
    monkeypatch.setattr(column_predictors, "MAX_WORK", 10)
    report = check_file(file, tokenizer)
    assert report.single_columns == () and report.limitations == [
        "single columns: free text ('remark', 'text') was not measured, since fitting takes too long"
    ]

    def out_of_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(leaky_splits, "TfidfBaseline", out_of_memory)
    report = check_file(file, tokenizer)
    assert report.limitations[0] == "baselines: not enough memory"


def test_rows_without_a_group_value_are_reported(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[*row, "" if i % 4 == 0 else i] for i, row in enumerate(distinct_rows(40))]
    file = write_csv(tmp_path / "g.csv", ["text", "class", "who"], rows)
    missing = by_kind(check_quickly(file, tokenizer, group=("who",)), "warning")["missing-group-values"]
    assert missing.count == 10 and missing.lines[:2] == (2, 6)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_labelled_file_has_a_report(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    text = st.sampled_from(
        ["", " ", "soup", "Soup", "soup and bread again", "soup & bread again", "caf\ufffd", "&amp;"]
    )
    cell = st.sampled_from(["", "1", "2.5", "nan", "inf", "1e999", "bread", "a film about bread"])
    label = st.sampled_from(data.draw(st.sampled_from([["a"], ["a", "b"], ["a", "b", "A ", ""], ["0", "1", "x"]])))
    rows = data.draw(st.lists(st.tuples(text, label, label, cell), min_size=1, max_size=8))
    file = tmp_path_factory.mktemp("any") / "any.csv"
    rows *= data.draw(st.integers(1, 8))
    write_csv(file, ["text", "one", "two", "other"], [list(row) for row in rows])
    tokenizer = Tokenizer(open_bundle(find_bundle(None)).path / "tokenizer.json", 1 << 24)
    options = data.draw(
        st.sampled_from(
            [
                {"label_columns": ("one",)},
                {"label_columns": ("one", "two")},
                {"label_columns": ("one",), "text_columns": ("text", "other")},
            ]
        )
    )
    report = check_file(file, tokenizer, validation=data.draw(st.sampled_from([None, file])), **options)
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert values["rows"] == len(rows)
    assert_complete_page(page(report), values)


def test_real_rows_of_queries_and_pictures(tokenizer: Tokenizer) -> None:
    file = real_data("query-image-toxic.csv")
    report = check_file(file, tokenizer, recipe=load_recipe("distilbert-lora"))
    findings = by_kind(report)
    assert report.duplicates is not None
    assert (report.rows, report.duplicates.identical_rows) == (3000, 973)
    assert {findings[kind].severity for kind in ("duplicate-texts", "leaky-split")} == {"note"}
    details = findings["leaky-split"].details
    assert details["random"] > 0.9 > 0.6 > details["clean"]
    assert details["clean_split"] == "same query together"
    leaky = by_kind(report, "warning")["leaky-column"]
    assert leaky.details["column"] == "image descriptions"
    (overall,) = [target for target in leaky.details["targets"] if not target["class"]]
    assert (round(overall["accuracy"], 2), round(overall["majority"], 2)) == (0.79, 0.33)
    with open(file, encoding="utf-8", newline="") as lines:
        queries = {row["query"] for row in csv.DictReader(lines) if len(row["query"]) > 20}
    values = json.dumps(report.to_dict(), ensure_ascii=False)
    assert not any(query in values for query in queries)
