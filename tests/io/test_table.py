"""Whole files in memory."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
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


def test_every_format_gives_the_same_table(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a fine day", "", "so, so"], "class": ["1", "0", ""], "group": ["x", "y", "z"]})
    frame.to_csv(tmp_path / "in.csv", index=False)
    frame.to_csv(tmp_path / "in.tsv.zst", index=False, sep="\t", compression={"method": "gzip"})
    frame.assign(**{"class": [1, 0, None]}).astype({"class": "Int64"}).to_parquet(tmp_path / "in.parquet")
    (tmp_path / "in.jsonl.gz").write_bytes(
        gzip.compress(
            b'{"text": "a fine day", "class": 1, "group": "x"}\n{"text": "", "class": 0, "group": "y"}\n'
            b'{"text": "so, so", "class": null, "group": "z"}\n'
        )
    )
    for path in tmp_path.iterdir():
        assert read_table(path).columns == {name: list(values) for name, values in frame.items()}, path
