from __future__ import annotations

import os
import re
from pathlib import Path

from check_helpers import Rows, assert_complete_page, check_file, distinct_sentences
from helpers import write_csv

from toxonnx.check.page import page
from toxonnx.inference.tokenizer import Tokenizer


def test_a_name_that_is_not_utf_8_is_written_with_a_replacement(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = [list(row) for row in distinct_sentences(30)]
    report = check_file(write_csv(tmp_path / os.fsdecode(b"\xff.csv"), ["text", "class"], rows), tokenizer)
    assert "Check of \N{REPLACEMENT CHARACTER}.csv".encode() in page(report).encode()


def test_names_with_special_characters_are_drawn_literally(tmp_path: Path, tokenizer: Tokenizer) -> None:
    rows: Rows = []
    for i, (text, label) in enumerate(distinct_sentences(200)):
        kind = {"praise": "_$x^{", "complaint": "$5 & <b>"}[label] if i % 3 else "other"
        rows.append([text, kind, i % 3])
    report = check_file(write_csv(tmp_path / "d.csv", ["text", "class", "_$third"], rows), tokenizer)
    html = page(report)
    assert_complete_page(html, report.to_dict(), plots=4)
    for name in ("_$x^{", "$5 &amp; &lt;b&gt;", "_$third"):
        assert f'<div class="name">{name}</div>' in html
    captions = re.findall(r"<span[^>]*>([^<]*)</span></div>", html[html.index("Single columns") :])
    assert captions and all(re.fullmatch(r"(all classes|class .*): \d+%", caption) for caption in captions)
