from __future__ import annotations

from pathlib import Path

from check_helpers import Rows, by_kind, check_quickly, distinct_rows
from helpers import write_csv

from toxonnx.inference.tokenizer import Tokenizer


def test_further_columns_of_0_and_1_are_reported(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[text, i % 2, i % 3 % 2] for i, (text, _) in enumerate(distinct_rows(30))]
    file = write_csv(tmp_path / "o.csv", ["text", "a", "b"], rows)
    findings = by_kind(check_quickly(file, tokenizer, label_columns=("a",)), "note")
    assert "'b' contains only 0 and 1" in findings["possible-label-columns"].message
