"""Whole files in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from toxonnx.errors import InputError
from toxonnx.io.table import read_table


def test_long_texts_and_tables(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text(f"text,n\n{'word ' * 200_000},1\n\nshort,2\n")
    table = read_table(path, columns=["text"])
    assert [len(text) for text in table.column("text")] == [1_000_000, 5]
    assert table.lines == [2, 4]
    with pytest.raises(InputError, match="no column 'body'") as caught:
        read_table(path, columns=["body"])
    assert "'text', 'n'" in str(caught.value)
