"""Files that are no table of text are recognised by their first bytes."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toxonnx.errors import InputError
from toxonnx.io.base import ReadOptions, open_source
from toxonnx.io.sniff import recognize

ROWS = [{"text": "a fine day", "n": i} for i in range(3)]
TEXT = b"text,n\na fine day,1\n"


def _zip(*names: str, **content: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, content.get(name, ""))
    return buffer.getvalue()


def _sqlite(folder: Path) -> bytes:
    connection = sqlite3.connect(folder / "made.db")
    connection.execute("create table t (text)")
    connection.commit()
    connection.close()
    return (folder / "made.db").read_bytes()


@pytest.mark.parametrize("first", ["{}", '{"text": "a fi', '["a"]', '[{"text": "a"}]'])
def test_an_odd_first_line_of_json_lines_is_a_bad_row(tmp_path: Path, first: str) -> None:
    (tmp_path / "in.jsonl").write_text(f'{first}\n{{"text": "a fine day"}}\n')
    (tmp_path / "in.log").write_text(first)
    with open_source(tmp_path / "in.jsonl", ReadOptions(yield_rejected=True)) as source:
        assert len(list(source)) == 2 and source.columns == ["text"]
    with pytest.raises(InputError, match=r"not (a )?JSON") if first != "{}" else contextlib.nullcontext():
        open_source(tmp_path / "in.log", ReadOptions(format="jsonl"))


@pytest.mark.parametrize(
    "start",
    [
        '{\n "text": "a"',
        '[\n{"text": "a"},\n{"text": "b"}\n]',
        '[{"text": "a"},\n{}]',
        '{"rows": [\n{"text": "a"},\n{}\n]}',
        '[{"text": "a"},\n{}\n]',
    ],
)
def test_a_json_file_is_not_read_as_json_lines(tmp_path: Path, start: str) -> None:
    (tmp_path / "in.jsonl").write_text(start)
    with pytest.raises(InputError, match="is a JSON file"):
        open_source(tmp_path / "in.jsonl")


def test_a_text_with_a_word_of_a_tar_archive_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\n".ljust(256, "x") + "mustard on bread\n")
    with open_source(tmp_path / "in.csv") as source:
        assert source.columns == ["text"]
    (tmp_path / "in.csv").write_bytes(b"posts.csv".ljust(257, b"\0") + b"ustar  \0")
    with pytest.raises(InputError, match="is a tar archive"):
        open_source(tmp_path / "in.csv")


def test_other_formats_are_named_with_what_to_do(tmp_path: Path) -> None:
    files = {
        "gzip in gzip": (gzip.compress(gzip.compress(TEXT)), "compressed with gzip inside gzip", "gunzip"),
        "xz": (lzma.compress(TEXT), "compressed with xz", "unxz"),
        "bzip2": (bz2.compress(TEXT), "compressed with bzip2", "bunzip2"),
        "xlsx": (_zip("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook", "Save it as CSV"),
        "ods": (
            _zip("mimetype", mimetype="application/vnd.oasis.opendocument.spreadsheet"),
            "an OpenDocument file",
            "Save it as CSV",
        ),
        "zip": (_zip("posts.csv"), "a zip archive", "unzip"),
        "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "an old Excel workbook", "Save it as CSV"),
        "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "a 7-Zip archive", "7z x"),
        "tar": (b"posts.csv".ljust(257, b"\0") + b"ustar\0", "a tar archive", "tar -xf"),
        "png": (b"\x89PNG\r\n\x1a\n", "a picture", "Extract"),
        "avro": (b"Obj\x01\x04", "an Avro file", "DuckDB"),
        "pickle": (pickle.dumps(ROWS), "a file of arrays or Python objects", "in Python"),
        "parquet": (b"PAR1\x15\x04\x15", "a Parquet file", ""),
        "arrow": (b"ARROW1\0\0", "an Arrow or Feather file", "DuckDB"),
        "sqlite": (_sqlite(tmp_path), "a SQLite database", "sqlite3 -header -csv"),
        "pdf": (b"%PDF-1.7\n", "a PDF document", "CSV"),
        "html": (b"\n<!DOCTYPE html>\n<html>", "an HTML or XML page", "downloaded"),
        "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "git lfs pull"),
        "jsonl": (
            "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
            "a file of JSON lines",
            "",
        ),
        "json": (json.dumps(ROWS, indent=1).encode("utf-8-sig"), "a JSON file", "jq -c '.[]'"),
    }
    for name, (content, what, advice) in files.items():
        path = tmp_path / f"{name}.csv"
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            open_source(path)
        assert caught.value.what.startswith(f"{path} is {what}") and advice in caught.value.hint, name


NAMES = st.from_regex(r"[A-Za-z0-9_\[\]{}. -]{1,12}", fullmatch=True)


@given(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from(",;\t|"), st.binary(max_size=30))
def test_no_header_of_a_table_is_taken_for_another_format(names: list[str], delimiter: str, rest: bytes) -> None:
    for prefix in ("", "PAR1", "ARROW1", "PK", "BZh9"):
        assert recognize(f"{prefix}{delimiter.join(names)}\n".encode() + rest) is None
