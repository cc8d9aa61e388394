from __future__ import annotations

from pathlib import Path

from check_helpers import Rows, by_kind, check_quickly, distinct_rows, distinct_sentences
from helpers import write_csv

from toxonnx.inference.tokenizer import Tokenizer


def test_rows_merged_by_a_stray_quote_are_reported(tmp_path: Path, tokenizer: Tokenizer) -> None:
    lines = [f"{text},{label}" for text, label in distinct_sentences(40)]
    lines[9] = '"' + lines[9]
    lines[11] = lines[11].replace(",", '",')
    (tmp_path / "s.csv").write_text("text,class\n" + "\n".join(lines) + "\n", encoding="utf-8")
    report = check_quickly(tmp_path / "s.csv", tokenizer)
    assert report.rows == 38 and by_kind(report, "warning")["merged-rows"].lines == (11,)


def test_two_merged_rows_with_the_label_first_are_reported(tmp_path: Path, tokenizer: Tokenizer) -> None:
    lines = [f"{label},{text}" for text, label in distinct_sentences(40)]
    lines[4] = lines[4].replace(",", ',"')
    lines[5] += '"'
    (tmp_path / "s.csv").write_text("class,text\n" + "\n".join(lines) + "\n", encoding="utf-8")
    assert by_kind(check_quickly(tmp_path / "s.csv", tokenizer))["merged-rows"].lines == (6,)


def test_texts_of_several_lines_are_not_merged_rows(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [
        [text + "\nthe soup, praise, and bread\n" * (i % 7), label] for i, (text, label) in enumerate(distinct_rows(40))
    ]
    file = write_csv(tmp_path / "m.csv", ["text", "class"], rows)
    assert "merged-rows" not in by_kind(check_quickly(file, tokenizer))


def test_a_comma_of_a_sentence_is_not_a_delimiter(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [
        ["yes" if i % 2 else "no", f"{text}\nyes, {text}" if i < 9 else text]
        for i, (text, _) in enumerate(distinct_rows(40))
    ]
    file = write_csv(tmp_path / "m.csv", ["class", "text"], rows)
    assert "merged-rows" not in by_kind(check_quickly(file, tokenizer))
