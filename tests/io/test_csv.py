"""CSV files: every byte is kept, and errors name the line."""

from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from length_scorer import LABELS, LengthScorer

from toxonnx.errors import InputError, RowError
from toxonnx.inference.scores import Scores
from toxonnx.io.base import ReadOptions, ReadWarning, WriteOptions, open_sink, open_source
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.table import read_table
from toxonnx.io.undecodable import encoded
from toxonnx.labels import Labels

X = OutputColumns(("probabilities",), ("x",))
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
    cut=st.integers(0, 7),
)
def test_a_file_comes_back_byte_for_byte(
    tmp_path: Path, rows: list[list[str]], end: str, quoting: int, last_end: bool, bom: bool, delimiter: str, cut: int
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

    with open_source(path, ReadOptions(delimiter=delimiter)) as reader:
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
    if cut < len(read):
        with open_source(path, ReadOptions(delimiter=delimiter)) as reader:
            reader.seek(reader.position_after(read[cut]))
            assert list(reader) == read[cut + 1 :]


PIECES = [
    b'"', b"\\", b",", b";", b"\n", b"\r\n", b"\r", b"\0", b"text", b"sep=", b'{"', b"}", b"\xff\xfe", b"\xef\xbb\xbf",
    b"\xe9", b"caf\xc3\xa9", b" ", b"1", b".", b"@a b c",
]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(
    data=st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join),
    encoding=st.sampled_from([None, "cp1252", "utf-16", "utf-16-le", "utf-8-sig", "utf-32"]),
    has_header=st.booleans(),
    escape_char=st.sampled_from([None, "\\"]),
    lenient=st.booleans(),
)
@pytest.mark.filterwarnings("ignore")
def test_any_bytes_are_kept_or_refused(
    tmp_path: Path, data: bytes, encoding: str | None, has_header: bool, escape_char: str | None, lenient: bool
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(data)
    options = ReadOptions(encoding, has_header=has_header, escape_char=escape_char, lenient=lenient)
    try:
        with open_source(path, options) as source:
            records = list(source)
            assert isinstance(source.columns_hint, str)
    except InputError as error:
        assert str(path) in error.what
        return
    head = source.byte_order_mark + source.preamble
    header = [source.header] if source.header else []
    back = head + "".join(record.raw + record.end for record in [*header, *records])
    # With lenient, bytes that cannot be decoded are in the records, too, as lone surrogates.
    assert encoded(back, source.encoding) == data
    if not lenient and records:
        assert records[-1].end_position == len(data)


BAD = {
    "empty": (b"", "is empty"),
    "blank header": (b"\n1,2\n", "line 1: the header is blank"),
    "ragged": (b"text,n\na,1\nb\n", "line 3: 1 field, the header has 2"),
    "too wide": (b"text,n\na,1,2\n", "line 2: 3 fields"),
    "quote that a later field closes": (b'text,n\n"a,1\nb,"c"\n', "line 2: a quote is opened and never closed"),
    "open quote": (b'text,n\na,1\n"b,2\nc,3\n', "line 3: a quote is opened and never closed"),
    "nul": (b"text,n\na,1\nb\0,2\n", "line 3: a NUL byte"),
    "not utf-8": ("text,n\na,1\ncaf\u00e9,2\n".encode("latin-1"), "line 3: not UTF-8 (byte 0xe9"),
    "utf-16": ("text,n\na,1\n".encode("utf-16"), "looks like UTF-16"),
    "repeated column": (b"text,text\na,b\n", "repeats the column 'text'"),
    "title": (b"Comments of May\ntext,n\na,1\nb,2\n", "The first line is not the header; line 2 may be."),
    "padded title": (b"Comments,\n,\ntext,n\na,1,x\n", "The first line is not the header; line 3 may be."),
    "backslash, comma": (b'text,n\n"a \\"b\\", c",1\n', "add --escape-char"),
    "backslash, open": (b'text,n\n"a \\"",1\n', "add --escape-char"),
    "cp1252 with semicolons": (
        "text;n\ncaf\u00e9;2\n".encode("latin-1"),
        "for example --encoding cp1252 --delimiter semicolon.",
    ),
    "unicode text of Excel": (
        "text\tn\r\na\t1\r\n".encode("utf-16"),
        "looks like UTF-16\nAdd --encoding utf-16 --delimiter tab.",
    ),
    "utf-16 unmarked": ("text,n\na,1\n".encode("utf-16-be"), "without a byte-order mark\nAdd --encoding utf-16-be."),
    "utf-32": ("text,n\na,1\n".encode("utf-32"), "looks like UTF-32\nAdd --encoding utf-32."),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_in_a_file_name_the_line(tmp_path: Path, name: str) -> None:
    content, expected = BAD[name]
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught, open_source(path) as reader:
        list(reader)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_undecodable_byte_far_into_a_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_bytes(b"text\n" + b"a fine day\n" * 50_000 + b"caf\xe9\n" + b"more\n" * 50_000)
    with pytest.raises(RowError) as caught, open_source(path) as reader:
        list(reader)
    assert caught.value.line == 50_002
    with open_source(path, ReadOptions("cp1252")) as reader:
        assert sum(1 for _ in reader) == 100_001


def test_an_open_quote_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with open(path, "wb") as file:
        file.write(b'text\n"opened\n')
        for _ in range(40):
            file.write(b"a line of text\n" * 70_000)
    with pytest.raises(RowError, match="line 2: a quote is opened and never closed"), open_source(path) as reader:
        list(reader)


def test_missing_file_and_unknown_encoding(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        open_source(tmp_path / "none.csv")
    with pytest.raises(InputError, match="unknown encoding 'utf-9'"):
        open_source(__file__, ReadOptions("utf-9"))


def test_a_hint_names_all_options_that_a_file_needs(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    # The first byte that is not UTF-8 comes long after the header was read.
    path.write_bytes(b"text\tn\n" + b"a fine day\t1\n" * 9000 + b"caf\xe9\t1\n")
    with open_source(path) as source:
        assert source.columns == ["text\tn"]
        assert source.columns_hint == (
            "Only one column was found, and the file is not UTF-8; try --encoding cp1252 --delimiter tab."
        )


def test_labels_in_rows_are_no_header(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("id,sms,kind\n1,a fine day,toxic\n2,dull,label\n")
    with open_source(path) as source:
        assert source.columns_hint == ""


def test_a_file_without_header_comes_back_byte_for_byte(tmp_path: Path) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    data = b'\n"two\nlines",1\r\n\nlast,2'
    path.write_bytes(data)
    with open_source(path, ReadOptions(has_header=False)) as source:
        assert source.columns == ["column_1", "column_2"]
        records = list(source)
        assert [record.line for record in records] == [1, 2, 4, 5]
        assert [record.fields for record in records] == [[], ["two\nlines", "1"], [], ["last", "2"]]
        with open_sink(out, source, OutputColumns(("label", "score", "probabilities"), ("x",))) as sink:
            sink.write(records, Scores.of(Labels(("x",), "sigmoid"), np.zeros((4, 1), np.float32)))
    assert out.read_bytes() == b'\n"two\nlines",1,x,0.500000,0.500000\r\n\nlast,2,x,0.500000,0.500000'


def test_a_line_that_names_the_delimiter_is_read_and_kept(tmp_path: Path) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    for line, encoding in (("sep=;\r\n", "utf-8"), ("SEP=;\n", "utf-16"), ('"sep=;"\n', "utf-8-sig")):
        path.write_bytes(f"{line}text;n\na,b;1\n".encode(encoding))
        with open_source(path, ReadOptions(encoding)) as source, open_sink(out, source, X, WriteOptions(force=True)):
            assert [(record.line, record.fields) for record in source] == [(3, ["a,b", "1"])]
        assert out.read_bytes() == f"{line}text;n;x\n".encode(encoding)
    path.write_text("sep=;\na title\nid;text\n1;a\n2;b\n")
    with open_source(path) as source:
        assert "line 3 may be" in source.columns_hint


def test_quotes_escaped_by_a_backslash(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text('text,n\nplain,0\n"say \\"hi\\" now",1\n"and \\"again\\"!",2\n')
    with (
        open_source(path) as source,
        pytest.warns(ReadWarning, match="line 3: quotes seem to be escaped by a backslash") as warned,
    ):
        list(source)
    assert len(warned) == 1
    with open_source(path, ReadOptions(escape_char="\\")) as source:
        assert [record.fields for record in source] == [["plain", "0"], ['say "hi" now', "1"], ['and "again"!', "2"]]
    # Backslashes that escape nothing: before a closing quote, before a doubled one.
    path.write_text('text,n\n"C:\\",1\n"say \\""hi\\""",2\n')
    with open_source(path) as source:
        assert [record.fields[0] for record in source] == ["C:\\", 'say \\"hi\\"']


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("what a fine morning this is,praise\nsuch a dull day,complaint\nso nice of you,praise\n", True),
        ("so fine a morning,offensive\nsuch a dull day,neither\nso nice of you,offensive\n", True),
        ("@ben what a fine morning\nsuch a dull day\n", True),
        ("This was, all in all, a very fine morning for all of us!\n", True),
        ("comment id,comment as written\n1,a fine day\n", False),
        ("sms,spam\na fine day,ham\na dull day,spam\n", False),
        ("text,How do you like our new garden today my dear?\na,b\n", False),
    ],
)
def test_a_header_that_looks_like_a_row_is_reported(tmp_path: Path, content: str, expected: bool) -> None:
    path = tmp_path / "in.csv"
    path.write_text(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with open_source(path, ReadOptions(has_header=False)) as source:
            list(source)
        with open_source(path) as source:
            assert not caught  # not before rows are read: if a column is missing, that error has the same hint
            list(source)
    assert [warning.category for warning in caught] == [ReadWarning] * expected
    assert all("--no-header" in str(warning.message) and "morning" not in str(warning.message) for warning in caught)


def test_delimiters_have_names(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    for name, mark in {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " ", ";": ";"}.items():
        path.write_text(f"text{mark}n\n")
        with open_source(path, ReadOptions(delimiter=name)) as source:
            assert source.columns == ["text", "n"]


def test_a_label_that_the_encoding_lacks_leaves_no_output(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes("text\ncaf\u00e9\n".encode("cp1252"))
    out = tmp_path / "out.csv"
    with open_source(path, ReadOptions("cp1252")) as source, pytest.raises(InputError, match="cannot be written in"):
        open_sink(out, source, OutputColumns(("probabilities",), ("\N{SNOWMAN}",))).__enter__()
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.csv"]


def test_cells_that_a_spreadsheet_would_run_are_guarded(tmp_path: Path) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    cells = ["=1+1", "+cmd", "-1", "-1.5e3", "+49 170", "@x", "\tx", '=a,"b"', "\uff1dx", "a=b", "", "'=x"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\r\n").writerows([["text", "=n"], *([cell, "1"] for cell in cells)])
    columns = OutputColumns(("label",), LABELS.names)
    scores = LengthScorer().score(cells)
    for guard in (True, False):
        options = WriteOptions(force=True, spreadsheet_safe=guard)
        with open_source(path) as source, open_sink(out, source, columns, options) as sink:
            sink.write(list(source), scores)
        with open(out, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        guarded = [
            "'=1+1",
            "'+cmd",
            "-1",
            "-1.5e3",
            "'+49 170",
            "'@x",
            "'\tx",
            '\'=a,"b"',
            "'\uff1dx",
            "a=b",
            "",
            "'=x",
        ]
        assert [row[0] for row in rows] == (guarded if guard else cells)
        assert header == ["text", "'=n" if guard else "=n", "label"]
        assert out.read_bytes().count(b"\r\n") == len(cells) + 1
    with (
        open_source(path) as source,
        pytest.raises(InputError, match="only CSV and TSV can be made safe for spreadsheets, not jsonl"),
    ):
        open_sink(tmp_path / "out.jsonl", source, columns, WriteOptions(spreadsheet_safe=True))


def test_columns_without_a_name_keep_their_values(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("text,,\na fine day,1,2\n")
    columns, scores = OutputColumns(("label",), LABELS.names), LengthScorer().score(["a fine day"])
    for options in (WriteOptions("tsv", force=True), WriteOptions("csv", force=True, spreadsheet_safe=True)):
        out = tmp_path / f"out.{options.format}"
        with open_source(path) as source, open_sink(out, source, columns, options) as sink:
            sink.write(list(source), scores)
        delimiter = "\t" if options.format == "tsv" else ","
        assert out.read_text().splitlines()[1].split(delimiter)[:3] == ["a fine day", "1", "2"]
    for name in ("jsonl", "parquet"):
        with open_source(path) as source, pytest.raises(InputError, match="several columns without a name") as caught:
            open_sink(tmp_path / f"out.{name}", source, columns)
        assert "Name them" in caught.value.hint
    assert read_table(path).columns == {"text": ["a fine day"], "": ["1"]}
