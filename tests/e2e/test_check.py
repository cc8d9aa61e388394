"""toxonnx check, as people call it, and what it counts."""

from __future__ import annotations

import csv
import json
import random
import re
import xml.etree.ElementTree as ET
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

import pytest
from helpers import real_data, sentences, toxonnx, write_csv
from hypothesis import given, settings
from hypothesis import strategies as st

from toxonnx.bundle import open_bundle
from toxonnx.check.columns import Wanted
from toxonnx.check.duplicates import NEAR, near, repeats, similarity
from toxonnx.check.page import page
from toxonnx.check.report import check
from toxonnx.errors import InputError, RowError
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.io.csv import CsvSource
from toxonnx.recipe import load_recipe
from toxonnx.resources import find_bundle
from toxonnx.texts import fold


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(open_bundle(find_bundle(None)).path / "tokenizer.json", 1 << 24)


def report_of(path: Path, tokenizer: Tokenizer, **options: Any) -> dict[str, Any]:
    return check(Wanted(path, **options), tokenizer, "the small one", lambda _: None)


def kinds(report: dict[str, Any], *severities: str) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in report["findings"] if not severities or one["severity"] in severities}


def assert_sound(drawn: str, report: dict[str, Any], drawings: int | None = None) -> None:
    """A page whose drawings are whole, and that says every finding and every class."""
    pictures = [ET.fromstring(one) for one in re.findall("<svg.*?</svg>", drawn, re.DOTALL)]
    assert drawings in (None, len(pictures)) and all(one.get("aria-label") for one in pictures)
    for one in report["findings"]:
        assert escape(one["message"]) in drawn and escape(one["advice"]) in drawn
    for one in report["classes"]:
        assert f'<td class="words">{escape(one["name"])}</td><td>{one["rows"]:,}</td>' in drawn


def distinct_sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Sentences of which none is a twin of another."""
    rows = list({fold(text): (text, label) for text, label in sentences(3 * count, seed)}.values())
    twins = {i for pair in near([fold(text) for text, _ in rows]).pairs for i in pair}
    return [row for i, row in enumerate(rows) if i not in twins][:count]


def test_planted_troubles_are_found_and_no_text_is_shown(tmp_path: Path) -> None:
    rows: list[list[str]] = [[f"quixotic {text}", label] for text, label in distinct_sentences(200)]
    start = len(rows) + 2
    planted = {
        "conflicting-labels": [["Quixotic torn  apart", "praise"], ["quixotic TORN apart", "complaint"]],
        "duplicate-texts": [["quixotic soup is back again", "praise"]] * 3,
        "near-duplicates": [
            ["quixotic rivers and gardens are far away from here and from there", "praise"],
            ["quixotic rivers and gardens are far away from here and from there!", "praise"],
        ],
        "empty-texts": [["  ", "praise"]],
        "empty-labels": [["quixotic nobody labelled me", " "]],
        "label-spellings": [["quixotic spelled in capitals", "Praise"], ["quixotic and loud", "Praise"]],
        "mojibake": [["quixotic cafÃ© was â€œnice, we said", "praise"]],
        "replacement-characters": [["quixotic caf\ufffd again", "praise"]],
        "html-entities": [["quixotic fish &amp; chips", "praise"]],
        "control-characters": [["quixotic bell \x07 rings", "complaint"]],
        "invisible-characters": [["quixotic sou\u200bp is split", "complaint"]],
        "bidirectional-overrides": [["quixotic \u202eletters run back", "complaint"]],
        "truncation": [["quixotic " + "words " * 200, "complaint"]],
    }
    lines: dict[str, list[int]] = {}
    for kind, some in planted.items():
        lines[kind] = [start + i for i in range(len(some))]
        rows += some
        start += len(some)
    file = write_csv(tmp_path / "posts.csv", ["text", "class"], [list(row) for row in rows])
    with open(file, "ab") as more:
        more.write(b"quixotic ragged,praise,one too many\r\nquixotic caf\xe9 in latin,praise\r\n\r\n")
    lines |= {"ragged-rows": [start], "undecodable-bytes": [start + 1]}
    with pytest.raises(RowError, match="not UTF-8"), CsvSource(file) as strict:
        list(strict)

    done = toxonnx("check", file, "--json", tmp_path / "c.json", "--html", tmp_path / "c.html", "--strict")
    assert done.returncode == 1, done.stderr
    report = json.loads((tmp_path / "c.json").read_text())
    bad = report["counts"]["error"] + report["counts"]["warning"]
    assert f"{bad} findings of severity error or warning" in done.stderr
    found = kinds(report)
    repeated = {
        "conflicting-labels": lines["conflicting-labels"],
        # The second of the torn text repeats it too.
        "duplicate-texts": [lines["conflicting-labels"][1], *lines["duplicate-texts"][1:]],
    }
    # Bytes that did not decode are no second finding: they make no replacement characters here.
    for kind, expected in {**lines, **repeated}.items():
        assert found[kind]["lines"] == expected, kind
    assert (report["duplicates"]["same_text_and_label"], found["duplicate-texts"]["severity"]) == (2, "note")
    assert found["label-spellings"]["details"]["spellings"][0]["'Praise'"] == 2
    assert [one["severity"] for one in report["findings"]] == sorted(
        (one["severity"] for one in report["findings"]), key=["error", "warning", "note"].index
    )
    assert report["blank_lines"] == 1 and report["rows"] == len(rows) + 2
    drawn = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert_sound(drawn, report, drawings=4)
    for where in (done.stdout, done.stderr, json.dumps(report), drawn):
        assert "quixotic" not in where.lower() and "u202e" not in where


def test_a_clean_file_passes(tmp_path: Path) -> None:
    # A tenth of the labels is drawn by lot: nobody's words tell all.
    rng = random.Random(0)
    rows: list[list[object]] = [
        [text, rng.choice(["praise", "complaint"]) if rng.random() < 0.2 else label]
        for text, label in distinct_sentences(240)
    ]
    file = write_csv(tmp_path / "clean.csv", ["text", "class"], rows)
    done = toxonnx("check", file, "--strict")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "0 errors, 0 warnings, 0 notes"
    assert "identical texts together" in done.stdout
    quick = toxonnx("check", file, "--no-baseline")
    assert quick.returncode == 0 and "left out: baselines" in quick.stdout


def test_columns_that_give_the_label_away(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    rows: list[list[object]] = []
    for text, word in distinct_sentences(300):
        label = word if rng.random() < 0.9 else "praise"  # so that the text does not tell all
        votes = (5 if label == "praise" else 1) + rng.random()
        source = label[:1] if rng.random() < 0.97 else "x"
        rows.append([text, label, votes, source, rng.choice("abc"), rng.random(), f"a note that says {label}"])
        rows[-1].append(text.upper())  # a copy of the text tells what the text tells
    header = ["text", "class", "votes", "source", "letter", "number", "remark", "copy"]
    report = report_of(write_csv(tmp_path / "t.csv", header, rows), tokenizer)
    told = {one["details"]["column"] for one in report["findings"] if one["kind"] == "telling-column"}
    assert told == {"votes", "source", "remark"}
    assert all(one["severity"] == "warning" for one in report["findings"] if one["kind"] == "telling-column")
    alone = {one["column"]: one["targets"][0] for one in report["columns_alone"]}
    assert alone["votes"]["accuracy"] == 1 and alone["source"]["accuracy"] > 0.95
    assert abs(alone["letter"]["errors_removed"]) < 0.3 > abs(alone["number"]["errors_removed"])


def test_one_query_beside_several_pictures(tmp_path: Path, tokenizer: Tokenizer) -> None:
    # What a query is called for is drawn by lot, so that nobody can tell it of a query never met.
    rng = random.Random(1)
    rows: list[list[object]] = []
    for number in range(60):
        label = rng.choice(["yes", "no"])
        rows += [[f"wish{number} for {number}", f"picture {i} of a garden", label] for i in range(5)]
    file = write_csv(tmp_path / "q.csv", ["query", "picture", "label"], rows)
    report = report_of(file, tokenizer, text=("query", "picture"))
    leaky = kinds(report, "warning")["leaky-split"]
    assert leaky["details"]["clean_split"] == "same query together" and "Set split.group to 'query'" in leaky["advice"]
    assert leaky["count"] == 60 and "60 of 60 held-out rows" in leaky["message"]
    scores = {row["split"]: row["baseline"]["macro_f1"]["median"] for row in report["baselines"]}
    assert scores["random"] > 0.95 and scores["identical texts together"] > 0.95
    assert scores["same query together"] < 0.75
    assert "same picture together" in scores
    grouped = report_of(file, tokenizer, text=("query", "picture"), group=("query",))
    assert [row["columns"] for row in grouped["baselines"]] == [[], [], ["query"]]
    # The plan keeps it together: still said, for whoever compares with metrics of a random split.
    kept = kinds(grouped, "note")["leaky-split"]
    assert f"{scores['random']:.3f} on it" in kept["message"] and "keeps them together" in kept["advice"]


def test_a_class_with_one_text_is_said_and_stops_nothing(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: list[list[object]] = [list(row) for row in [*distinct_sentences(100), ("a lone riddle", "riddle")]]
    report = report_of(write_csv(tmp_path / "l.csv", ["text", "class"], rows), tokenizer)
    few = kinds(report, "error")["few-texts"]
    # A value of one row may be a text that stands in the wrong column.
    assert (few["lines"], few["details"]["classes"]) == ([102], ["(a value on line 102)"])
    assert len(report["baselines"]) == 2 and "'(a value on line 102)'" in report["left_out"][0]
    assert "riddle" not in json.dumps(report)
    one = [[text, "praise"] for text, _ in distinct_sentences(30)]
    report = report_of(write_csv(tmp_path / "one.csv", ["text", "class"], [*one, *one[:3]]), tokenizer)
    assert "one-class" in kinds(report, "error") and report["baselines"] == []
    assert kinds(report)["duplicate-texts"]["lines"] == [32, 33, 34]


def test_several_labels_a_text(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: list[list[object]] = []
    for i, (text, label) in enumerate(distinct_sentences(200)):
        kind = int(label == "praise")
        rows.append([text, kind, int("soup" in text), kind * 7, "1" if i else "maybe"])
    file = write_csv(tmp_path / "m.csv", ["text", "kind", "soup", "stars", "odd"], rows)
    report = report_of(file, tokenizer, label=("kind", "soup"))
    assert [one["name"] for one in report["classes"]] == ["kind", "soup"]
    (telling,) = [one for one in report["findings"] if one["kind"] == "telling-column"]
    assert telling["details"]["column"] == "stars" and telling["details"]["strong"][0]["class"] == "kind"
    assert len(report["baselines"]) == 2
    odd = report_of(file, tokenizer, label=("kind", "odd"), with_baseline=False)
    assert kinds(odd)["unknown-labels"]["lines"] == [2]


def test_a_validation_file_beside_the_data(tmp_path: Path) -> None:
    rows = distinct_sentences(260)
    data, fresh = rows[:200], rows[200:]
    long = "we walked along the river for an hour and then sat down in the garden"
    data.append((long, "praise"))
    held = [*fresh, (data[3][0].upper(), data[3][1]), (long + "s", "praise"), ("what is it", "riddle")]
    write_csv(tmp_path / "d.csv", ["text", "class"], [list(row) for row in data])
    write_csv(tmp_path / "v.csv", ["text", "class"], [list(row) for row in held])
    done = toxonnx("check", "d.csv", "--validation", "v.csv", "--json", "r.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    found = kinds(report)
    assert (found["seen-rows"]["lines"], found["nearly-seen-rows"]["lines"]) == ([62], [63])
    assert found["lone-labels"]["severity"] == "error" and found["lone-labels"]["lines"] == [64]
    assert [row["held_out_rows"] for row in report["validation"]["baselines"]] == [62, 61, 60]
    assert "v.csv without texts of the data" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.csv"], "cannot read missing.csv"),
        (["rows.csv", "--label-column", "nothing"], "has no column 'nothing'"),
        (["rows.csv", "--label-column", "text"], "too many for labels"),
        (["rows.csv", "--label-column", "kind", "--group", "far"], "has no column 'far'"),
        (
            ["rows.csv"],
            "no label column in the header\nIts columns: 'text', 'kind'. Name the one to read with --label-column",
        ),
        (["rows.csv", "--recipe", "minilm-hate", "--label-column", "kind"], "so does the recipe"),
        (["rows.csv", "--label-column", "kind", "--json", "rows.csv"], "is a file that is read"),
        (["rows.csv", "--label-column", "kind", "--json", "a", "--html", "a"], "is the file of --json too"),
        (["rows.csv", "--label-column", "kind", "--html", "there.html"], "there.html exists already"),
        (["rows.csv", "--label-column", "kind", "--validation", "missing.csv"], "cannot read missing.csv"),
        (["rows.csv", "--label-column", "kind", "--delimiter", ";"], "The header is one field: add --delimiter ','"),
    ],
)
def test_wrong_usage_is_one_clear_error(tmp_path: Path, arguments: list[str], message: str) -> None:
    write_csv(tmp_path / "rows.csv", ["text", "kind"], [list(row) for row in distinct_sentences(80)])
    (tmp_path / "there.html").touch()
    done = toxonnx("check", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr


@given(rows=st.lists(st.tuples(st.sampled_from("aA bBcC"), st.integers(0, 2)), min_size=1, max_size=40))
def test_repeats_are_what_a_naive_count_finds(rows: list[tuple[str, int]]) -> None:
    keys, labels = [fold(text) for text, _ in rows], [label for _, label in rows]
    found = repeats(keys, labels, rows)
    assert found.rows == [i for i, key in enumerate(keys) if key in keys[:i]]
    assert found.groups == sum(count > 1 for count in Counter(keys).values())
    torn = {key for key in keys if len({label for k, label in zip(keys, labels, strict=True) if k == key}) > 1}
    assert found.conflict_texts == len(torn)
    assert found.conflicts == [i for i, key in enumerate(keys) if key in torn]
    assert found.identical == len(rows) - len(set(rows))


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.lists(st.sampled_from(["soup", "bread", "film", "train"]), min_size=1, max_size=9), max_size=12),
    ends=st.lists(st.sampled_from(["", "s", " now"]), min_size=12, max_size=12),
)
def test_near_twins_are_never_further_apart_than_said(texts: list[list[str]], ends: list[str]) -> None:
    keys = list(dict.fromkeys(" ".join(words) + end for words, end in zip(texts, ends, strict=False)))
    pairs = near(keys).pairs
    assert len(set(pairs)) == len(pairs)
    for i, j in pairs:
        assert i < j and similarity(keys[i], keys[j]) >= NEAR
    long = [i for i, key in enumerate(keys) if len(key.split()) >= 3]
    sure = {(i, j) for i in long for j in long if i < j and similarity(keys[i], keys[j]) >= 0.95}
    assert sure <= set(pairs)


def test_what_was_bounded_is_said(tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("bounds.ROWS", 100), ("telling.ROWS", 90), ("telling.COLUMNS", 2), ("twins.MOST", 50)):
        monkeypatch.setattr(f"toxonnx.check.{name}", value)
    rows = [[i, i % 7, text, label] for i, (text, label) in enumerate(distinct_sentences(50) * 4)]
    report = report_of(write_csv(tmp_path / "b.csv", ["id", "day", "text", "class"], rows), tokenizer, group=("day",))
    said = " ".join(report["left_out"])
    for words in ("100 of 200 rows", "90 of 200 rows", "2 of 3 columns"):
        assert words in said
    assert next(one["column"] for one in report["columns_alone"]) == "text"
    assert near([f"all of them are {i}" for i in range(60)]).bounded == (
        "50 of 60 distinct texts were compared, drawn at random"
    )


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_no_labelled_file_makes_it_stop(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
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
            [{"label": ("one",)}, {"label": ("one", "two")}, {"label": ("one",), "text": ("text", "other")}]
        )
    )
    report = report_of(file, tokenizer, validation=data.draw(st.sampled_from([None, file])), **options)
    assert json.loads(json.dumps(report, allow_nan=False))["rows"] == len(rows)
    assert_sound(page(report), report)


def test_what_is_no_table_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "bare.csv").write_text("text,label\n", encoding="utf-8")
    with pytest.raises(InputError, match="has no rows"):
        report_of(tmp_path / "bare.csv", tokenizer)
    (tmp_path / "open.csv").write_text('text,label\n"never closed,1\n', encoding="utf-8")
    with pytest.raises(RowError, match="a quote is opened and never closed"):
        report_of(tmp_path / "open.csv", tokenizer)


def test_real_rows_of_queries_and_pictures(tokenizer: Tokenizer) -> None:
    file = real_data("query-image-toxic.csv")
    report = report_of(file, tokenizer, recipe=load_recipe("distilbert-lora"))
    found = kinds(report)
    assert (report["rows"], report["duplicates"]["identical_rows"]) == (3000, 973)
    assert {found[kind]["severity"] for kind in ("duplicate-texts", "leaky-split")} == {"note"}
    assert found["leaky-split"]["details"]["random"] > 0.9 > 0.6 > found["leaky-split"]["details"]["clean"]
    assert found["leaky-split"]["details"]["clean_split"] == "same query together"
    found = kinds(report, "warning")
    assert found["telling-column"]["details"]["column"] == "image descriptions"
    (overall,) = [one for one in found["telling-column"]["details"]["strong"] if not one["class"]]
    assert (round(overall["accuracy"], 2), round(overall["majority"], 2)) == (0.79, 0.33)
    with open(file, encoding="utf-8", newline="") as lines:
        queries = {row["query"] for row in csv.DictReader(lines) if len(row["query"]) > 20}
    assert not any(query in json.dumps(report, ensure_ascii=False) for query in queries)
