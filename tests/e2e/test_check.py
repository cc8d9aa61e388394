"""``toxonnx check`` on the command line."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from check_helpers import Rows, assert_complete_page, distinct_rows, distinct_sentences
from helpers import toxonnx, write_csv

from toxonnx.errors import RowError
from toxonnx.io.base import open_source


def by_kind(report: dict[str, Any], *severities: str) -> dict[str, dict[str, Any]]:
    """The findings of a JSON report by kind."""
    return {
        finding["kind"]: finding
        for finding in report["findings"]
        if not severities or finding["severity"] in severities
    }


def test_planted_problems_are_reported_and_no_text_is_shown(tmp_path: Path) -> None:
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
        "label-variants": [["quixotic spelled in capitals", "Praise"], ["quixotic and loud", "Praise"]],
        "mojibake": [["quixotic cafÃ© was â€œnice, we said", "praise"]],
        "replacement-characters": [["quixotic caf\ufffd again", "praise"]],
        "html-entities": [["quixotic fish &amp; chips", "praise"]],
        "control-characters": [["quixotic bell \x07 rings", "complaint"]],
        "invisible-characters": [["quixotic sou\u200bp is split", "complaint"]],
        "bidirectional-overrides": [["quixotic \u202eletters run back", "complaint"]],
        "truncation": [["quixotic " + "words " * 200, "complaint"]],
    }
    lines: dict[str, list[int]] = {}
    for kind, planted_rows in planted.items():
        lines[kind] = [start + i for i in range(len(planted_rows))]
        rows += planted_rows
        start += len(planted_rows)
    file = write_csv(tmp_path / "posts.csv", ["text", "class"], [list(row) for row in rows])
    with open(file, "ab") as more:
        more.write(b"quixotic ragged,praise,one too many\r\nquixotic caf\xe9 in latin,praise\r\n\r\n")
    lines |= {"ragged-rows": [start], "undecodable-bytes": [start + 1]}
    with pytest.raises(RowError, match="not UTF-8"), open_source(file) as strict:
        list(strict)

    done = toxonnx("check", file, "--json", tmp_path / "c.json", "--html", tmp_path / "c.html", "--strict")
    assert done.returncode == 1, done.stderr
    report = json.loads((tmp_path / "c.json").read_text())
    severe = report["counts"]["error"] + report["counts"]["warning"]
    assert f"{severe} findings of severity error or warning" in done.stderr
    findings = by_kind(report)
    repeated = {
        "conflicting-labels": lines["conflicting-labels"],
        # The second row with conflicting labels is a duplicate, too.
        "duplicate-texts": [lines["conflicting-labels"][1], *lines["duplicate-texts"][1:]],
    }
    # Undecodable bytes are reported once, not as replacement characters again.
    for kind, expected in {**lines, **repeated}.items():
        assert findings[kind]["lines"] == expected, kind
    assert (report["duplicates"]["same_text_and_label"], findings["duplicate-texts"]["severity"]) == (2, "note")
    assert findings["label-variants"]["details"]["variants"][0]["'Praise'"] == 2
    assert [finding["severity"] for finding in report["findings"]] == sorted(
        (finding["severity"] for finding in report["findings"]), key=["error", "warning", "note"].index
    )
    assert report["blank_lines"] == 1 and report["rows"] == len(rows) + 2
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert_complete_page(page, report, plots=4)
    for output in (done.stdout, done.stderr, json.dumps(report), page):
        assert "quixotic" not in output.lower() and "u202e" not in output


def test_a_clean_file_passes(tmp_path: Path) -> None:
    # A tenth of the labels is wrong, so that the baseline is not nearly perfect.
    rng = random.Random(0)
    rows: Rows = [
        [text, rng.choice(["praise", "complaint"]) if rng.random() < 0.2 else label]
        for text, label in distinct_sentences(240)
    ]
    file = write_csv(tmp_path / "clean.csv", ["text", "class"], rows)
    done = toxonnx("check", file, "--strict")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "0 errors, 0 warnings, 0 notes"
    assert "identical texts together" in done.stdout
    quick = toxonnx("check", file, "--no-baseline")
    assert quick.returncode == 0 and "limitation: baselines" in quick.stdout


def test_a_validation_file_is_compared_with_the_data(tmp_path: Path) -> None:
    rows = distinct_sentences(260)
    data, new = rows[:200], rows[200:]
    long = "we walked along the river for an hour and then sat down in the garden"
    data.append((long, "praise"))
    validation = [*new, (data[3][0].upper(), data[3][1]), (long + "s", "praise"), ("what is it", "riddle")]
    write_csv(tmp_path / "d.csv", ["text", "class"], [list(row) for row in data])
    write_csv(tmp_path / "v.csv", ["text", "class"], [list(row) for row in validation])
    done = toxonnx("check", "d.csv", "--validation", "v.csv", "--json", "r.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    findings = by_kind(report)
    assert findings["train-validation-overlap"]["lines"] == [62]
    assert findings["train-validation-near-duplicates"]["lines"] == [63]
    assert findings["unseen-labels"]["severity"] == "error" and findings["unseen-labels"]["lines"] == [64]
    assert [result["held_out_rows"] for result in report["validation"]["baselines"]] == [62, 61, 60]
    assert "v.csv without duplicates" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.csv"], "cannot read missing.csv"),
        (["rows.csv", "--label-column", "nothing"], "has no column 'nothing'"),
        (["rows.csv", "--label-column", "text"], "too many for labels"),
        (["rows.csv", "--label-column", "kind", "--group", "far"], "has no column 'far'"),
        (
            ["rows.csv"],
            "no label column in the header\nIts columns: 'text', 'kind'. Name the label column with --label-column",
        ),
        (["rows.csv", "--recipe", "minilm-hate", "--label-column", "kind"], "cannot be combined with --recipe"),
        (["rows.csv", "--label-column", "kind", "--json", "rows.csv"], "is an input of this command"),
        (["rows.csv", "--label-column", "kind", "--json", "a", "--html", "a"], "is also the file of --json"),
        (["rows.csv", "--label-column", "kind", "--html", "there.html"], "there.html already exists"),
        (["rows.csv", "--label-column", "kind", "--validation", "missing.csv"], "cannot read missing.csv"),
        (
            ["rows.csv", "--label-column", "kind", "--delimiter", ";"],
            "Only one column was found; try --delimiter comma",
        ),
    ],
)
def test_wrong_usage_is_a_clear_error(tmp_path: Path, arguments: list[str], message: str) -> None:
    write_csv(tmp_path / "rows.csv", ["text", "kind"], distinct_rows(80))
    (tmp_path / "there.html").touch()
    done = toxonnx("check", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr


def test_nothing_of_the_first_line_is_shown_if_the_header_is_missing(tmp_path: Path) -> None:
    short: list[object] = ["quixotic soup is warm", "praise"]
    long: list[object] = ["quixotic soup was rather warm today and so was all of the bread", "praise"]
    for first in (short, long):
        file = write_csv(tmp_path / "h.csv", [str(cell) for cell in first], distinct_rows(30))
        done = toxonnx("check", file)
        assert done.returncode == 2 and "looks like a row, not like a header" in done.stderr
        assert "quixotic" not in done.stderr and "praise" not in done.stderr
        done = toxonnx(
            "check", file, "--text-column", first[0], "--label-column", first[1], "--no-baseline",
            "--json", tmp_path / "h.json", "--html", tmp_path / "h.html", "--force",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        reports = [(tmp_path / f"h.{suffix}").read_text() for suffix in ("json", "html")]
        for output in (done.stdout, done.stderr, *reports):
            assert "quixotic" not in output
        assert by_kind(json.loads(reports[0]), "error")["missing-header"]["lines"] == [1]


def test_rare_values_of_a_label_column_are_not_shown(tmp_path: Path) -> None:
    rows = [*distinct_rows(60), ["praise", "quixotic soup"], ["complaint", "quixotic soup"], ["shy", "seldom"]]
    write_csv(tmp_path / "d.csv", ["text", "class"], [*rows, ["shy", "seldom"], ["shier", "seldom"]])
    validation = [*distinct_rows(20, 5), ["praise", "quixotic film"], ["film", " Praise"]]
    write_csv(tmp_path / "v.csv", ["text", "class"], validation)
    done = toxonnx(
        "check", "d.csv", "--validation", "v.csv", "--json", "r.json", "--html", "r.html", cwd=tmp_path
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for output in (done.stdout, done.stderr, *((tmp_path / name).read_text() for name in ("r.json", "r.html"))):
        assert "quixotic" not in output
    assert "(a value on line 62)" in done.stdout and "seldom" in done.stdout


def test_reports_are_complete_if_the_reader_of_standard_output_exits(tmp_path: Path) -> None:
    write_csv(tmp_path / "d.csv", ["text", "class"], distinct_rows(40))
    command = (
        f"{sys.executable} -m toxonnx check d.csv --no-baseline --json r.json --strict | true; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads((tmp_path / "r.json").read_text())["rows"]) == (141, 40), done.stderr


def test_a_long_table_of_classes_is_cut(tmp_path: Path) -> None:
    rows: Rows = [[f"text number {i} about soup", f"c{i % 40}"] for i in range(400)]
    write_csv(tmp_path / "d.csv", ["text", "class"], rows)
    done = toxonnx("check", "d.csv", "--no-baseline", cwd=tmp_path)
    assert "and 10 more" in done.stdout and "c39" not in done.stdout.split("and 10 more")[0].split("class ")[-1]


BLOCK_IMPORTS = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if any(name == blocked or name.startswith(blocked + ".") for blocked in {blocked!r}):
            raise ModuleNotFoundError(f"import of {{name}} is blocked", name=name)

# scipy takes sys.modules["torch"] = None for a loaded torch, so the modules are blocked by a finder.
sys.meta_path.insert(0, Blocker())
from toxonnx.cli import main
main()
"""


def test_no_training_code_is_imported(tmp_path: Path) -> None:
    blocked = (
        "torch", "transformers", "peft", "optimum", "accelerate", "onnx", "onnxruntime", "toxonnx.train",
        "toxonnx.convert",
    )  # fmt: skip
    rows = distinct_rows(120)
    write_csv(tmp_path / "d.csv", ["text", "class", "remark"], [[*row, f"{row[0]} so"] for row in rows])
    write_csv(tmp_path / "v.csv", ["text", "class"], distinct_rows(40, 3))
    arguments = ["check", "d.csv", "--validation", "v.csv", "--json", "r.json", "--html", "r.html"]
    done = subprocess.run(
        [sys.executable, "-c", BLOCK_IMPORTS.format(blocked=blocked), *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["baselines"] and report["single_columns"] and report["validation"]["baselines"]
