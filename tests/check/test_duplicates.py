from __future__ import annotations

from collections import Counter
from pathlib import Path

from check_helpers import by_kind, check_file, check_quickly, distinct_rows, recipe_for
from helpers import write_csv
from hypothesis import given
from hypothesis import strategies as st

from toxonnx.check.duplicates import find_duplicates
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.texts import fold


@given(rows=st.lists(st.tuples(st.sampled_from("aA bBcC"), st.integers(0, 2)), min_size=1, max_size=40))
def test_duplicates_match_a_naive_count(rows: list[tuple[str, int]]) -> None:
    keys, labels = [fold(text) for text, _ in rows], [label for _, label in rows]
    duplicates = find_duplicates(keys, labels, rows)
    assert duplicates.rows == [i for i, key in enumerate(keys) if key in keys[:i]]
    assert duplicates.groups == sum(count > 1 for count in Counter(keys).values())
    conflicting = {key for key in keys if len({label for k, label in zip(keys, labels, strict=True) if k == key}) > 1}
    assert duplicates.conflicting_texts == len(conflicting)
    assert duplicates.conflicting_rows == [i for i, key in enumerate(keys) if key in conflicting]
    assert duplicates.identical == len(rows) - len(set(rows))


def test_all_parts_of_the_report_count_the_same_leaking_rows(tmp_path: Path, tokenizer: Tokenizer) -> None:
    file = write_csv(tmp_path / "d.csv", ["text", "class"], [*distinct_rows(100), *distinct_rows(40)])
    report = check_file(file, tokenizer)
    result = report.baselines[0]
    assert report.duplicates is not None
    assert (result.held_out_rows, result.leaking_rows) == (
        report.duplicates.held_out_rows, report.duplicates.leaking_rows,
    )  # fmt: skip
    assert result.leaking_rows > 0
    share = f"{result.leaking_rows:,} of {result.held_out_rows} held-out rows"
    assert share in by_kind(report)["duplicate-texts"].message
    report = check_quickly(file, tokenizer, recipe=recipe_for(file, method="random"))
    assert by_kind(report)["duplicate-texts"].severity == "warning"
