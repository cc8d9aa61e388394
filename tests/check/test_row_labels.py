from __future__ import annotations

from pathlib import Path

from check_helpers import Rows, by_kind, check_quickly, distinct_rows
from helpers import write_csv

from toxonnx.inference.tokenizer import Tokenizer


def test_labels_written_as_floats_have_specific_advice(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[text, i % 2, f"{i % 2}.0"] for i, (text, _) in enumerate(distinct_rows(30))]
    file = write_csv(tmp_path / "f.csv", ["text", "a", "b"], rows)
    findings = by_kind(check_quickly(file, tokenizer, label_columns=("a", "b")))
    assert "Write 1 and 0" in findings["unknown-labels"].advice


def test_a_label_of_all_rows_is_a_single_class(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[text, 1, 0, i % 2] for i, (text, _) in enumerate(distinct_rows(40))]
    file = write_csv(tmp_path / "m.csv", ["text", "a", "b", "c"], rows)
    findings = by_kind(check_quickly(file, tokenizer, label_columns=("a", "b", "c")), "error")
    assert "column 'a'" in findings["single-class"].message
    assert findings["small-classes"].details["classes"] == ["b"]
