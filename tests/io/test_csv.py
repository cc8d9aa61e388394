"""CSV files: every byte is kept, and errors name the line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toxonnx.errors import InputError, RowError
from toxonnx.io.base import ReadOptions
from toxonnx.io.csv import CsvSink, CsvSource

CELLS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['say "hi"', "a,b", "two\nlines", "old\r\nmac\r", "", " padded ", '"', "=1+1", "\ufeff"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=8),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    last_end=st.booleans(),
    bom=st.booleans(),
    delimiter=st.sampled_from([",", ";", "\t"]),
)
def test_a_file_comes_back_byte_for_byte(
    tmp_path: Path, rows: list[list[str]], end: str, quoting: int, last_end: bool, bom: bool, delimiter: str
) -> None:
    if "\r" in "".join(cell for row in rows for cell in row):
        quoting = csv.QUOTE_ALL  # csv.writer leaves a bare carriage return unquoted, and that ends a record
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator=end, quoting=quoting, delimiter=delimiter)  # type: ignore[arg-type]
    writer.writerow(["text", "other"])
    writer.writerows(rows)
    content = buffer.getvalue()
    if not last_end and content.endswith(end):
        content = content[: -len(end)]
    data = content.encode("utf-8-sig" if bom else "utf-8")
    path = tmp_path / "in.csv"
    path.write_bytes(data)

    with CsvSource(path, ReadOptions(delimiter=delimiter)) as reader:
        read = list(reader)
        back = (
            reader.byte_order_mark + reader.header.raw + reader.header.end + "".join(row.raw + row.end for row in read)
        )
        assert back.encode(reader.encoding) == data
        assert [row.fields for row in read] == rows
        lines = list(io.StringIO(content, newline=""))
        for row in read:
            first = next(iter(io.StringIO(row.raw + row.end, newline="")), "")
            assert lines[row.line - 1] == first


BAD = {
    "empty": (b"", "is empty"),
    "blank header": (b"\n1,2\n", "is empty"),
    "ragged": (b"text,n\na,1\nb\n", "line 3: 1 fields, the header has 2"),
    "too wide": (b"text,n\na,1,2\n", "line 2: 3 fields"),
    "open quote": (b'text,n\na,1\n"b,2\nc,3\n', "line 3: a quote is opened and never closed"),
    "nul": (b"text,n\na,1\nb\0,2\n", "line 3: a NUL byte"),
    "not utf-8": ("text,n\na,1\ncaf\u00e9,2\n".encode("latin-1"), "line 3: not UTF-8 (byte 0xe9"),
    "utf-16": ("text,n\na,1\n".encode("utf-16"), "looks like UTF-16"),
    "repeated column": (b"text,text\na,b\n", "repeats the column 'text'"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_in_a_file_name_the_line(tmp_path: Path, name: str) -> None:
    content, expected = BAD[name]
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught, CsvSource(path) as reader:
        list(reader)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_undecodable_byte_far_into_a_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_bytes(b"text\n" + b"a fine day\n" * 50_000 + b"caf\xe9\n" + b"more\n" * 50_000)
    with pytest.raises(RowError) as caught, CsvSource(path) as reader:
        list(reader)
    assert caught.value.line == 50_002
    with CsvSource(path, ReadOptions("cp1252")) as reader:
        assert sum(1 for _ in reader) == 100_001


def test_an_open_quote_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with open(path, "wb") as file:
        file.write(b'text\n"opened\n')
        for _ in range(40):
            file.write(b"a line of text\n" * 70_000)
    with pytest.raises(RowError, match="line 2: a quote is opened and never closed"), CsvSource(path) as reader:
        list(reader)


def test_missing_file_and_unknown_encoding(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        CsvSource(tmp_path / "none.csv")
    with pytest.raises(InputError, match="unknown encoding 'utf-9'"):
        CsvSource(tmp_path / "none.csv", ReadOptions("utf-9"))


def test_a_label_that_the_encoding_lacks_leaves_no_output(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes("text\ncaf\u00e9\n".encode("cp1252"))
    out = tmp_path / "out.csv"
    with CsvSource(path, ReadOptions("cp1252")) as source, pytest.raises(InputError, match="cannot be written in"):
        CsvSink(out, source, ["\N{SNOWMAN}"]).__enter__()
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.csv"]
