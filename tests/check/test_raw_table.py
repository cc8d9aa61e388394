from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from check_helpers import Rows, by_kind, check_file, check_quickly, distinct_rows
from helpers import write_csv

from toxonnx.errors import InputError, RowError
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.io.base import ReadOptions, open_source


def test_a_label_named_like_its_column_is_not_a_missing_header(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [[text, "spam" if label == "praise" else "ham"] for text, label in distinct_rows(30)]
    file = write_csv(tmp_path / "s.csv", ["sms", "spam"], rows)
    assert not check_quickly(file, tokenizer, text_columns=("sms",), label_columns=("spam",)).findings


def test_a_long_column_name_is_cut(tmp_path: Path, tokenizer: Tokenizer) -> None:
    file = write_csv(tmp_path / "n.csv", ["text", "class", "x" * 50], [[*row, 1] for row in distinct_rows(30)])
    report = check_quickly(file, tokenizer)
    assert report.columns == ("text", "class", "x" * 39 + "…") and not report.findings


def test_a_repeated_header_is_reported(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [*distinct_rows(15), ["text", "class"], *distinct_rows(15, 1)]
    file = write_csv(tmp_path / "twice.csv", ["text", "class"], rows)
    assert by_kind(check_quickly(file, tokenizer), "error")["repeated-header"].lines == (17,)


def test_undecodable_texts_are_not_duplicates(tmp_path: Path, tokenizer: Tokenizer) -> None:
    body = "".join(f"{text},{label}\n" for text, label in distinct_rows(30))
    pair = "caf\xe9 again,praise\ncaf\xe8 again,complaint\n"
    (tmp_path / "l.csv").write_bytes(f"text,class\n{body}{pair}".encode("latin-1"))
    findings = by_kind(check_quickly(tmp_path / "l.csv", tokenizer))
    assert findings["undecodable-bytes"].lines == (32, 33)
    assert not {"duplicate-texts", "conflicting-labels"} & set(findings)


def test_an_undecodable_surrogate_in_utf_16_is_reported(tmp_path: Path, tokenizer: Tokenizer) -> None:
    body = "".join(f"{text},{label}\n" for text, label in distinct_rows(30))
    data = (
        f"text,class\n{body}".encode("utf-16")
        + "soup ".encode("utf-16-le")
        + b"\x00\xd8"
        + ",praise\n".encode("utf-16-le")
    )
    (tmp_path / "w.csv").write_bytes(data)
    reading = ReadOptions("utf-16")
    findings = by_kind(check_quickly(tmp_path / "w.csv", tokenizer, reading=reading))
    assert findings["undecodable-bytes"].lines == (32,)
    with pytest.raises(InputError), open_source(tmp_path / "w.csv", reading) as strict:
        list(strict)


def test_a_file_that_is_not_a_table_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "bare.csv").write_text("text,label\n", encoding="utf-8")
    with pytest.raises(InputError, match="has no rows"):
        check_file(tmp_path / "bare.csv", tokenizer)
    (tmp_path / "open.csv").write_text('text,label\n"never closed,1\n', encoding="utf-8")
    with pytest.raises(RowError, match="a quote is opened and never closed"):
        check_file(tmp_path / "open.csv", tokenizer)


def test_json_lines_and_parquet_give_the_findings_of_csv(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows = [*distinct_rows(30), distinct_rows(30)[0], ["caf\u00e9\nagain", "praise"]]
    frame = pd.DataFrame(rows, columns=["text", "class"])
    frame.to_csv(tmp_path / "in.csv", index=False)
    frame.to_json(tmp_path / "in.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "in.parquet")
    expected, *others = (
        {finding.kind for finding in check_quickly(tmp_path / name, tokenizer).findings}
        for name in ("in.csv", "in.jsonl", "in.parquet")
    )
    assert "duplicate-texts" in expected and others == [expected, expected]
