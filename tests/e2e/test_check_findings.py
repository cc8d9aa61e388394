"""Each finding of toxonnx check, and what it must not say."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import toxonnx, write_csv
from test_check import assert_sound, distinct_sentences, kinds, report_of

from toxonnx.bundle import open_bundle
from toxonnx.check import classes, splits, telling
from toxonnx.check.page import page
from toxonnx.check.text_quality import lengths, text_findings
from toxonnx.check.values import plain
from toxonnx.data.examples import load_examples
from toxonnx.data.splits import split
from toxonnx.errors import InputError
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.io.csv import CsvSource
from toxonnx.labels import Labels
from toxonnx.recipe import LabelSpec, Recipe, Split
from toxonnx.resources import find_bundle
from toxonnx.texts import TextSpec
from toxonnx.train import baseline

Rows = list[list[object]]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(open_bundle(find_bundle(None)).path / "tokenizer.json", 1 << 24)


def plan(path: Path, **split_of: Any) -> Recipe:
    return Recipe(path.stem, LabelSpec("class"), text=TextSpec(("text",)), split=Split(**split_of))


def some(count: int, seed: int = 0) -> Rows:
    return [list(row) for row in distinct_sentences(count, seed)]


def quick(path: Path, tokenizer: Tokenizer, **options: Any) -> dict[str, Any]:
    return report_of(path, tokenizer, with_baseline=False, **options)


def test_a_file_without_a_header_shows_nothing_of_its_first_line(tmp_path: Path, tokenizer: Tokenizer) -> None:
    first: list[object] = ["quixotic soup is warm", "praise"]
    long: list[object] = ["quixotic soup was rather warm today and so was all of the bread", "praise"]
    for top in (first, long):
        file = write_csv(tmp_path / "h.csv", [str(cell) for cell in top], some(30))
        done = toxonnx("check", file)
        assert done.returncode == 2 and "does not look like a header" in done.stderr
        assert "quixotic" not in done.stderr and "praise" not in done.stderr
        done = toxonnx(
            "check", file, "--text-column", top[0], "--label-column", top[1], "--no-baseline", "--json", tmp_path / "h.json",
            "--html", tmp_path / "h.html", "--force",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        for where in (done.stdout, done.stderr, *((tmp_path / f"h.{end}").read_text() for end in ("json", "html"))):
            assert "quixotic" not in where
        assert kinds(json.loads((tmp_path / "h.json").read_text()), "error")["no-header"]["lines"] == [1]
    named: Rows = [[text, "spam" if label == "praise" else "ham"] for text, label in some(30)]
    file = write_csv(tmp_path / "s.csv", ["sms", "spam"], named)
    assert not quick(file, tokenizer, text=("sms",), label=("spam",))["findings"]
    # A long name of a real header is cut, and a header that stands again is one.
    file = write_csv(tmp_path / "n.csv", ["text", "class", "x" * 50], [[*row, 1] for row in some(30)])
    report = quick(file, tokenizer)
    assert report["columns"] == ["text", "class", "x" * 39 + "…"] and not report["findings"]
    file = write_csv(tmp_path / "twice.csv", ["text", "class"], [*some(15), ["text", "class"], *some(15, 1)])
    assert kinds(quick(file, tokenizer), "error")["repeated-header"]["lines"] == [17]


def test_no_rare_value_of_a_label_column_is_shown(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [*some(60), ["praise", "quixotic soup"], ["complaint", "quixotic soup"], ["shy", "seldom"]]
    write_csv(tmp_path / "d.csv", ["text", "class"], [*rows, ["shy", "seldom"], ["shier", "seldom"]])
    held = [*some(20, 5), ["praise", "quixotic film"], ["film", " Praise"]]
    write_csv(tmp_path / "v.csv", ["text", "class"], held)
    done = toxonnx(
        "check", "d.csv", "--validation", "v.csv", "--json", "r.json", "--html", "r.html", cwd=tmp_path
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for where in (done.stdout, done.stderr, *((tmp_path / name).read_text() for name in ("r.json", "r.html"))):
        assert "quixotic" not in where
    assert "(a value on line 62)" in done.stdout and "seldom" in done.stdout
    # Nor one that is as long as a text, however often it stands there.
    long = write_csv(tmp_path / "l.csv", ["text", "class"], [*some(40), *[["soup", "quixotic " + 32 * "x"]] * 5])
    assert "quixotic" not in json.dumps(quick(long, tokenizer))
    mapped = Recipe("m", LabelSpec("class", names={"praise": "praise", "complaint": "no"}), text=TextSpec(("text",)))
    report = quick(tmp_path / "d.csv", tokenizer, recipe=mapped)
    assert "quixotic" not in json.dumps(report) and kinds(report)["unknown-labels"]["count"] == 5


def test_a_stray_quote_that_swallows_rows_is_seen(tmp_path: Path, tokenizer: Tokenizer) -> None:
    lines = [f"{text},{label}" for text, label in distinct_sentences(40)]
    lines[9] = '"' + lines[9]
    lines[11] = lines[11].replace(",", '",')
    (tmp_path / "s.csv").write_text("text,class\n" + "\n".join(lines) + "\n", encoding="utf-8")
    report = quick(tmp_path / "s.csv", tokenizer)
    assert report["rows"] == 38 and kinds(report, "warning")["swallowed-rows"]["lines"] == [11]
    # Two rows in one, with the label in front.
    lines = [f"{label},{text}" for text, label in distinct_sentences(40)]
    lines[4] = lines[4].replace(",", ',"')
    lines[5] += '"'
    (tmp_path / "s.csv").write_text("class,text\n" + "\n".join(lines) + "\n", encoding="utf-8")
    assert kinds(quick(tmp_path / "s.csv", tokenizer))["swallowed-rows"]["lines"] == [6]
    # Texts of several lines are none, however often and long they are.
    rows: Rows = [
        [text + "\nthe soup, praise, and bread\n" * (i % 7), label] for i, (text, label) in enumerate(some(40))
    ]
    assert "swallowed-rows" not in kinds(quick(write_csv(tmp_path / "m.csv", ["text", "class"], rows), tokenizer))


def test_a_comma_of_a_sentence_ends_no_row(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [["yes" if i % 2 else "no", f"{text}\nyes, {text}" if i < 9 else text] for i, (text, _) in
                  enumerate(some(40))]  # fmt: skip
    assert "swallowed-rows" not in kinds(quick(write_csv(tmp_path / "m.csv", ["class", "text"], rows), tokenizer))


def test_counted_words_stay_in_memory_with_many_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    texts = [" ".join(f"word{rng.randrange(300)}" for _ in range(8)) for _ in range(400)]
    y_true = np.array([i % 20 for i in range(400)])
    labels = Labels(tuple(map(str, range(20))))
    monkeypatch.setattr(baseline, "COEFFICIENTS", 2000)
    words = baseline.TfidfBaseline(texts, y_true, labels)
    assert words._models[0].coef_.shape == (20, 100)
    assert words.score(texts, y_true) == baseline.baseline(texts, y_true, texts, y_true, labels)


def test_what_takes_too_long_or_too_much_memory_is_said(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [[*row, f"{row[0]} so {i}"] for i, row in enumerate(some(150))]
    file = write_csv(tmp_path / "d.csv", ["text", "class", "remark"], rows)
    monkeypatch.setattr(telling, "ALL_WORK", 10)
    report = report_of(file, tokenizer)
    assert report["columns_alone"] == [] and report["left_out"] == [
        "columns of free text ('remark', 'text') were not tried alone, since learning their words takes long"
    ]

    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(splits, "Words", full)
    report = report_of(file, tokenizer)
    assert report["left_out"][0] == "baselines: there is not enough memory"


def test_words_are_learnt_once_for_all_parts_of_a_validation_file(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toxonnx.check import versus

    learnt: list[int] = []

    class Counted(baseline.Words):
        def __init__(self, texts: Sequence[str], *rest: Any) -> None:
            learnt.append(len(texts))
            super().__init__(texts, *rest)

    monkeypatch.setattr(versus, "Words", Counted)
    monkeypatch.setattr(splits, "Words", Counted)
    data = some(80)
    file = write_csv(tmp_path / "d.csv", ["text", "class"], data)
    held = write_csv(tmp_path / "v.csv", ["text", "class"], [*data[:5], *some(30, 9)])
    report = report_of(file, tokenizer, validation=held)
    assert len(report["validation"]["baselines"]) >= 2 and learnt.count(80) == 1
    # No text stands twice: keeping identical texts together is the same draw.
    assert len(learnt) == 1 + splits.SEEDS
    assert [row["split"] for row in report["baselines"]] == [splits.RANDOM, splits.TOGETHER]
    assert report["baselines"][0]["baseline"] == report["baselines"][1]["baseline"]


def test_spellings_that_the_recipe_puts_together_are_none(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = some(60)
    for row in rows[::3]:
        row[1] = str(row[1]).capitalize()
    file = write_csv(tmp_path / "d.csv", ["text", "class"], rows)
    names = {"praise": "praise", "Praise": "praise", "complaint": "no", "Complaint": "no"}
    mapped = Recipe("m", LabelSpec("class", names=names), text=TextSpec(("text",)))
    held = write_csv(tmp_path / "v.csv", ["text", "class"], [row for row in rows if str(row[1]).islower()])
    report = quick(file, tokenizer, recipe=mapped, validation=held)
    assert not {"label-spellings", "lone-labels", "unknown-labels"} & set(kinds(report))
    assert {one["name"] for one in report["classes"]} == {"praise", "no"}
    assert "label-spellings" in kinds(quick(file, tokenizer), "error")
    torn = Recipe("t", LabelSpec("class", names=names | {"Praise": "loud"}), text=TextSpec(("text",)))
    assert len(kinds(quick(file, tokenizer, recipe=torn))["label-spellings"]["details"]["spellings"]) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("1", "1.0", True), ("-2", "-2.00", True), (" A", "a\u200b", True), ("1_1", "11", False), ("1e1", "10", False),
     ("007", "7", False), ("007", "7.0", False), ("nan", "NaN ", True), ("1.5", "1.50", False)],
)  # fmt: skip
def test_labels_are_no_numbers(one: str, other: str, same: bool) -> None:
    assert (plain(one) == plain(other)) is same


def test_check_refuses_what_training_refuses(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [*some(60), ["a riddle", "riddle"], ["one more riddle", "riddle"]]
    file = write_csv(tmp_path / "d.csv", ["text", "class"], rows)
    for shares, refused in (({"validation": 0.1, "test": 0.1}, True), ({"validation": 0.2}, False)):
        wanted = plan(file, **shares)
        report = quick(file, tokenizer, recipe=wanted)
        assert ("few-texts" in kinds(report, "error")) is refused
        if refused:
            with pytest.raises(InputError, match="the split needs 3"):
                split(load_examples(file, wanted), wanted.split, "")
            # Given a file to validate on, nothing is split.
            assert "few-texts" in kinds(quick(file, tokenizer, recipe=wanted, validation=file), "warning")
    grouped: Rows = [[*row, "same" if row[1] == "praise" else i] for i, row in enumerate(some(60))]
    file = write_csv(tmp_path / "g.csv", ["text", "class", "who"], grouped)
    error = kinds(quick(file, tokenizer, recipe=plan(file, group=("who",))), "error")["split-impossible"]
    assert "'praise' has 1 distinct group (line" in error["message"]
    several: Rows = [[text, 1, 0, i % 2] for i, (text, _) in enumerate(some(40))]
    file = write_csv(tmp_path / "m.csv", ["text", "a", "b", "c"], several)
    found = kinds(quick(file, tokenizer, label=("a", "b", "c")), "error")
    assert "column 'a'" in found["one-class"]["message"] and found["few-texts"]["details"]["classes"] == ["b"]


def test_a_leak_is_one_number(tmp_path: Path, tokenizer: Tokenizer) -> None:
    file = write_csv(tmp_path / "d.csv", ["text", "class"], [*some(100), *some(40)])
    report = report_of(file, tokenizer)
    row = report["baselines"][0]
    assert (row["held_out_rows"], row["leaking_rows"]) == (
        report["duplicates"]["held_out_rows"], report["duplicates"]["would_leak"],
    )  # fmt: skip
    assert (
        row["leaking_rows"] > 0
        and f"{row['leaking_rows']:,} of {row['held_out_rows']} held-out rows"
        in (kinds(report)["duplicate-texts"]["message"])
    )
    leaky = quick(file, tokenizer, recipe=plan(file, method="random"))
    assert kinds(leaky)["duplicate-texts"]["severity"] == "warning"


def test_noise_tells_nothing(tmp_path: Path, tokenizer: Tokenizer) -> None:
    for seed in range(6):
        rng = random.Random(seed)
        many: Rows = [[*row, *(rng.randrange(3) for _ in range(40))] for row in some(120 if seed < 3 else 30, seed)]
        file = write_csv(tmp_path / "n.csv", ["text", "class", *(f"n{i}" for i in range(40))], many)
        report = report_of(file, tokenizer)
        assert not [one for one in report["findings"] if one["kind"] == "telling-column"]
        if seed >= 3:
            assert any("columns by themselves: 30 usable rows" in line for line in report["left_out"])
    few: Rows = [[text, "rare" if i < 12 else "usual", i < 12] for i, (text, _) in enumerate(some(200))]
    report = report_of(write_csv(tmp_path / "r.csv", ["text", "class", "is"], few), tokenizer)
    assert any("no class has 20 rows" in line for line in report["left_out"])


def test_by_how_much_a_column_has_to_tell() -> None:
    roles = telling.Roles(("text",), ("class",))

    def judged(accuracy: float, texts: int = 5000, tests: int = 5) -> bool:
        target = {"class": "", "accuracy": accuracy, "majority": 0.5, "errors_removed": 2 * accuracy - 1, "by": "x"}
        metrics = {"column": "a", "in_text": False, "free_text": False, "targets": [target]}
        return telling._judge(metrics, roles, None, texts, tests) is not None

    assert judged(0.81) and not judged(0.79)
    assert judged(0.81, texts=100) and not judged(0.81, texts=10) and not judged(0.81, texts=100, tests=10**12)


def test_a_split_flatters_only_beyond_its_own_range() -> None:
    def row(low: float, median: float, high: float) -> dict[str, Any]:
        return {"baseline": {"macro_f1": {"min": low, "median": median, "max": high}}}

    assert splits._flatters(row(0.8, 0.85, 0.9), row(0.6, 0.7, 0.79))
    assert not splits._flatters(row(0.8, 0.85, 0.9), row(0.6, 0.7, 0.81))
    assert not splits._flatters(row(0.8, 0.82, 0.83), row(0.79, 0.795, 0.799))


def test_classes_between_files_and_among_each_other(tmp_path: Path, tokenizer: Tokenizer) -> None:
    def counted(*rows: int) -> list[dict[str, Any]]:
        return [
            {"name": f"c{i}", "rows": n, "share": n / sum(rows), "distinct_texts": n} for i, n in enumerate(rows)
        ]  # fmt: skip

    assert classes.class_shifts(counted(50, 50), counted(61, 39), "v")[0].message.startswith("The share of 2 classes")
    assert not classes.class_shifts(counted(50, 50), counted(59, 41), "v")

    def imbalance(*rows: int) -> list[str]:
        found = classes.class_findings(counted(*rows), [[] for _ in rows], [], multi=False, needed=2)
        return [one.severity for one in found if one.kind == "imbalance"]

    assert (imbalance(99, 10), imbalance(100, 10), imbalance(499, 10), imbalance(500, 10)) == (
        [], ["note"], ["note"], ["warning"],
    )  # fmt: skip
    # A label of several that the validation file lacks.
    rows: Rows = [[text, i % 2, i % 3 == 0] for i, (text, _) in enumerate(some(60))]
    data = write_csv(tmp_path / "d.csv", ["text", "a", "b"], [[t, a, int(bool(b))] for t, a, b in rows])
    held = write_csv(tmp_path / "v.csv", ["text", "a", "b"], [[t, a, 0] for t, a, b in rows[:9]])
    found = kinds(quick(data, tokenizer, label=("a", "b"), validation=held))
    assert found["lone-labels"]["message"] == "Labels that do not stand in v.csv: b"
    assert found["lone-labels"]["severity"] == "warning" and found["few-texts"]["file"] == "v.csv"


def test_bytes_that_do_not_decode_make_no_twins(tmp_path: Path, tokenizer: Tokenizer) -> None:
    body = "".join(f"{text},{label}\n" for text, label in some(30))
    pair = "caf\xe9 again,praise\ncaf\xe8 again,complaint\n"
    (tmp_path / "l.csv").write_bytes(f"text,class\n{body}{pair}".encode("latin-1"))
    found = kinds(quick(tmp_path / "l.csv", tokenizer))
    assert found["undecodable-bytes"]["lines"] == [32, 33]
    assert not {"duplicate-texts", "conflicting-labels"} & set(found)
    # In UTF-16 too.
    wide = (
        f"text,class\n{body}".encode("utf-16")
        + "soup ".encode("utf-16-le")
        + b"\x00\xd8"
        + ",praise\n".encode("utf-16-le")
    )
    (tmp_path / "w.csv").write_bytes(wide)
    assert kinds(quick(tmp_path / "w.csv", tokenizer, encoding="utf-16"))["undecodable-bytes"]["lines"] == [32]
    with pytest.raises(InputError), CsvSource(tmp_path / "w.csv", "utf-16") as strict:
        list(strict)


def test_hints(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = some(40)
    rows[7][1] = "prase"
    slip = kinds(quick(write_csv(tmp_path / "s.csv", ["text", "class"], rows), tokenizer), "warning")["label-slips"]
    assert (slip["lines"], "'praise'" in slip["message"], "'prase'" in slip["message"]) == ([9], True, False)
    for mark, named in ((";", "';'"), ("\t", "'tab'")):
        (tmp_path / "d.csv").write_text(f"text{mark}class\nsoup{mark}praise\n", encoding="utf-8")
        with pytest.raises(InputError, match=f"add --delimiter {named}"):
            quick(tmp_path / "d.csv", tokenizer)
    (tmp_path / "e.csv").write_bytes("texte,cat\xe9gorie\nsoup,praise\n".encode("latin-1"))
    with pytest.raises(InputError, match="with --encoding"):
        quick(tmp_path / "e.csv", tokenizer)
    floats: Rows = [[text, i % 2, f"{i % 2}.0"] for i, (text, _) in enumerate(some(30))]
    found = kinds(quick(write_csv(tmp_path / "f.csv", ["text", "a", "b"], floats), tokenizer, label=("a", "b")))
    assert "Write 1 and 0" in found["unknown-labels"]["advice"]
    found = kinds(quick(write_csv(tmp_path / "o.csv", ["text", "a", "b"], [[t, i % 2, i % 3 % 2] for i, (t, _) in
                  enumerate(some(30))]), tokenizer, label=("a",)), "note")  # fmt: skip
    assert "'b' holds 0 and 1" in found["other-labels"]["message"]


def test_groups_with_nothing_in_them(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[*row, "" if i % 4 == 0 else i] for i, row in enumerate(some(40))]
    file = write_csv(tmp_path / "g.csv", ["text", "class", "who"], rows)
    blank = kinds(quick(file, tokenizer, group=("who",)), "warning")["blank-groups"]
    assert blank["count"] == 10 and blank["lines"][:2] == [2, 6]


def test_the_label_in_the_text(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[f"{text} label {label}", label] for text, label in distinct_sentences(150)]
    report = report_of(write_csv(tmp_path / "d.csv", ["text", "class"], rows), tokenizer)
    assert kinds(report, "note")["easy-texts"]["message"].startswith("Counted words are right on 100.0%")


@pytest.mark.parametrize(
    ("text", "kind"),
    [("so\u200eup", "invisible-characters"), ("so\u034fup", "invisible-characters"),
     ("soup\U000e0041", "invisible-characters"), ("\U0001f3f4\U000e0067\U000e0062\U000e007f soup", ""),
     ("\u05e9\u200e soup", ""), ("\u202dsoup", "bidirectional-overrides"), ("\u202asoup\u202c", ""),
     ("\u202asoup", "bidirectional-overrides"), ("\u2066soup\u2069", "")],
)  # fmt: skip
def test_characters_that_nobody_sees(text: str, kind: str) -> None:
    assert [one.kind for one in text_findings([text], [2], has_html=False)] == ([kind] if kind else [])


def test_lengths_are_counted_in_bars_of_whole_numbers(tokenizer: Tokenizer) -> None:
    texts = ["soup " * (i % 130 + 1) for i in range(1300)]
    facts, _ = lengths(texts, range(2, 1302), tokenizer, 128, "it")
    edges, counts = facts["histogram"]["edges"], facts["histogram"]["counts"]
    assert {b - a for a, b in pairwise(edges)} == {4} and sum(counts) == 1300
    assert max(counts[1:-2]) == min(counts[1:-2])


def test_names_that_a_drawing_might_take_for_more(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = []
    for i, (text, label) in enumerate(distinct_sentences(200)):
        kind = {"praise": "_$x^{", "complaint": "$5 & <b>"}[label] if i % 3 else "other"
        rows.append([text, kind, i % 3])
    report = report_of(write_csv(tmp_path / "d.csv", ["text", "class", "_$third"], rows), tokenizer)
    drawn = page(report)
    assert_sound(drawn, report, drawings=4)
    for name in ("_$x^{", "$5 &amp; &lt;b&gt;", "_$third"):
        assert name in drawn[drawn.index("<svg") : drawn.rindex("</svg>")]


def test_a_reader_that_goes_away_leaves_the_reports_whole(tmp_path: Path) -> None:
    write_csv(tmp_path / "d.csv", ["text", "class"], some(40))
    command = (
        f"{sys.executable} -m toxonnx check d.csv --no-baseline --json r.json --strict | true; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads((tmp_path / "r.json").read_text())["rows"]) == (0, 40), done.stderr


def test_a_long_table_of_classes_is_cut(tmp_path: Path) -> None:
    rows: Rows = [[f"text number {i} about soup", f"c{i % 40}"] for i in range(400)]
    write_csv(tmp_path / "d.csv", ["text", "class"], rows)
    done = toxonnx("check", "d.csv", "--no-baseline", cwd=tmp_path)
    assert "and 10 more" in done.stdout and "c39" not in done.stdout.split("and 10 more")[0].split("class ")[-1]
