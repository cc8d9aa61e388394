from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from check_helpers import Rows, by_kind, check_file, check_quickly, distinct_rows, distinct_sentences
from helpers import write_csv

from toxonnx.check.column_predictors import ColumnMeasurements, ColumnResult, ColumnRoles, TargetResult
from toxonnx.check.leaky_columns import leaked_targets
from toxonnx.inference.tokenizer import Tokenizer


def test_columns_that_give_the_label_away_are_reported(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    rows: Rows = []
    for text, word in distinct_sentences(300):
        label = word if rng.random() < 0.9 else "praise"  # so that the text does not determine the label
        votes = (5 if label == "praise" else 1) + rng.random()
        source = label[:1] if rng.random() < 0.97 else "x"
        rows.append([text, label, votes, source, rng.choice("abc"), rng.random(), f"a note that says {label}"])
        rows[-1].append(text.upper())  # a copy of the text predicts no more than the text
    header = ["text", "class", "votes", "source", "letter", "number", "remark", "copy"]
    report = check_file(write_csv(tmp_path / "t.csv", header, rows), tokenizer)
    leaky = [finding for finding in report.findings if finding.kind == "leaky-column"]
    assert {finding.details["column"] for finding in leaky} == {"votes", "source", "remark"}
    assert all(finding.severity == "warning" for finding in leaky)
    results = {column.column: column.targets[0] for column in report.single_columns}
    assert results["votes"].accuracy > 0.99 and results["source"].accuracy > 0.95
    assert abs(results["letter"].error_reduction) < 0.3 > abs(results["number"].error_reduction)


@pytest.mark.parametrize(
    "number",
    [
        lambda row: 2_999_999_900 + row,
        lambda row: 1_700_000_000_000 + 20 * row,
        lambda row: 1_800_000_000_000_000_000 + row,
        lambda row: f"{1_700_000_000 + row / 1000:.3f}",
        lambda row: f"1{row:0500}",
        lambda row: 2_999_999_900 + row if row % 9 else "",
    ],
    ids=["10 digits", "milliseconds", "snowflakes", "seconds", "500 digits", "some missing"],
)
def test_long_numbers_of_a_file_sorted_by_label_are_reported(
    tmp_path: Path, tokenizer: Tokenizer, number: Callable[[int], object]
) -> None:
    ordered = sorted(distinct_rows(200), key=lambda row: str(row[1]))
    rows: Rows = [[*row, number(i)] for i, row in enumerate(ordered)]
    report = check_file(write_csv(tmp_path / "s.csv", ["text", "class", "id"], rows), tokenizer)
    assert by_kind(report, "warning")["leaky-column"].details["column"] == "id"


def test_one_long_cell_does_not_fill_the_memory(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[*row, "ab"[i % 2] * (1 if i else 500_000)] for i, row in enumerate(distinct_rows(200))]
    file = write_csv(tmp_path / "l.csv", ["text", "class", "note"], rows)
    tracemalloc.start()
    try:
        report = check_file(file, tokenizer)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert next(one.distinct for one in report.single_columns if one.column == "note") == 3 and peak < 1e8


def test_multi_label_columns(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = []
    for i, (text, label) in enumerate(distinct_sentences(200)):
        kind = int(label == "praise")
        rows.append([text, kind, int("soup" in text), kind * 7, "1" if i else "maybe"])
    file = write_csv(tmp_path / "m.csv", ["text", "kind", "soup", "stars", "odd"], rows)
    report = check_file(file, tokenizer, label_columns=("kind", "soup"))
    assert [size.name for size in report.classes] == ["kind", "soup"]
    (leaky,) = [finding for finding in report.findings if finding.kind == "leaky-column"]
    assert leaky.details["column"] == "stars" and leaky.details["targets"][0]["class"] == "kind"
    assert len(report.baselines) == 2
    report = check_quickly(file, tokenizer, label_columns=("kind", "odd"))
    assert by_kind(report)["unknown-labels"].lines == (2,)


def test_random_columns_are_not_reported(tmp_path: Path, tokenizer: Tokenizer) -> None:
    for seed in range(6):
        rng = random.Random(seed)
        count = 120 if seed < 3 else 30
        rows: Rows = [[*row, *(rng.randrange(3) for _ in range(40))] for row in distinct_rows(count, seed)]
        file = write_csv(tmp_path / "n.csv", ["text", "class", *(f"n{i}" for i in range(40))], rows)
        report = check_file(file, tokenizer)
        assert "leaky-column" not in by_kind(report)
        if seed >= 3:
            assert any("single columns: 30 usable rows" in limitation for limitation in report.limitations)
    rare: Rows = [[text, "rare" if i < 12 else "usual", i < 12] for i, (text, _) in enumerate(distinct_rows(200))]
    report = check_file(write_csv(tmp_path / "r.csv", ["text", "class", "is"], rare), tokenizer)
    assert any("no class has both 20 rows" in limitation for limitation in report.limitations)


def test_error_reduction_and_sample_size_from_which_a_column_is_leaky() -> None:
    roles = ColumnRoles(("text",), ("class",))

    def is_leaky(accuracy: float, texts: int = 5000, tests: int = 5) -> bool:
        target = TargetResult("", accuracy, 0.5, 2 * accuracy - 1, "a lookup table")
        column = ColumnResult("a", False, 2, False, (target,))
        return bool(leaked_targets(column, roles, ColumnMeasurements((column,), None, texts), tests))

    assert is_leaky(0.81) and not is_leaky(0.79)
    assert is_leaky(0.81, texts=100) and not is_leaky(0.81, texts=10) and not is_leaky(0.81, texts=100, tests=10**12)
