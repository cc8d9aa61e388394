"""Readers against files of any bytes: what is checked for each, and files that come close to valid ones.

``tests/io/test_fuzz.py`` runs a few hundred, and ``tests/fuzz.py`` as many as wanted.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import signal
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from length_scorer import LABELS, LengthScorer

from toxonnx.errors import InputError
from toxonnx.io.base import ReadOptions, WriteOptions, open_sink, open_source
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.rejects import Rejected, Rejects, with_rejected
from toxonnx.predict import predict
from toxonnx.texts import TextSpec

#: a reader that takes longer for a file of some hundred bytes hangs, however busy the machine is
SECONDS = 60

_CSV = [
    b'"', b'""', b",", b";", b"\t", b"\n", b"\n", b"\r\n", b"\r", b"\\", b'\\"', b"text", b"a fine day", b"1", b" ",
    b"\xc3\xa9", b"\xe9", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"sep=;\n", b"a,b\n", b'"x\ny",2\n', b"\xe2\x80\xa8",
    b"\x85", b"\x1a", b"\x0b\x0c\x1c",
]  # fmt: skip
_JSONL = [
    b'{"text": "a"}\n', b'{"text": "b", "n": {"t": 1}}\n', b'{"text":"\\ud83d"}\n', b"{", b"}", b'"', b"\n", b"\r\n",
    b" ", b"[", b"]", b"null", b"\0", b"\xff", b"\xef\xbb\xbf", b"{}\n", b"1e999", b"\\", b",", b":", b'"text"',
    b'{"text":' * 40, b"}" * 40, b"caf\xc3\xa9", b"NaN", b"\xe2\x80\xa8", b'{"text": "x", "text": "y"}\n',
]  # fmt: skip
_TEXT = [b"a fine day", b"\n", b"\r\n", b"\r", b"\0", b"\xe9", b"\xc3\xa9", b"\xef\xbb\xbf", b" ", b"\x0c", b"{", b'"']


def _parquet() -> bytes:
    file = io.BytesIO()
    table = pa.table({"text": [f"text {number}" for number in range(12)], "n": pa.array(range(12), pa.int16())})
    pq.write_table(table, file, row_group_size=5, compression="zstd", write_page_checksum=True)
    return file.getvalue()


_BASES = {
    "csv": b'text,n\na fine day,1\n"two\nlines",2\n"a ""quoted"" one",3\n\nlast,4',
    "jsonl": b'{"text": "a"}\n{"n": 2.50, "text": "b \\u00e9"}\n\n{"text": "c", "in": {"t": [1, null]}}',
    "text": b"one\ntwo\r\n\nthree",
    "parquet": _parquet(),
}
_PIECES = {"csv": _CSV, "jsonl": _JSONL, "text": _TEXT}


@dataclass(frozen=True)
class FuzzedFile:
    """A file and how it is read.

    Attributes:
        format: of the content, more or less.
        content: its bytes.
        named: whether the format is requested, or left to be recognized.
    """

    format: str
    content: bytes
    named: bool


@st.composite
def _changed(draw: st.DrawFn, base: bytes) -> bytes:
    """Valid content with some bytes replaced, removed or inserted, or cut off."""
    content = bytearray(base)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        content[start : start + draw(st.sampled_from([0, 0, 1, 1, 4, 40]))] = draw(st.binary(max_size=4))
    return bytes(content[: draw(st.sampled_from([len(content), len(content) - 1, len(content) // 2]))])


@st.composite
def files(draw: st.DrawFn) -> FuzzedFile:
    """Files of every format, plain and compressed, most of them broken in some place."""
    kind = draw(st.sampled_from(list(_BASES)))
    content = _changed(_BASES[kind])
    if kind in _PIECES:
        content |= st.lists(st.sampled_from(_PIECES[kind]), max_size=20).map(b"".join) | st.binary(max_size=40)
    content_ = draw(content)
    if draw(st.integers(0, 9)) == 0:
        content_ = draw(_changed(gzip.compress(content_, mtime=0)))
    return FuzzedFile(kind, content_, draw(st.booleans()))


class HangError(BaseException):
    """A reader took too long."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check(file: FuzzedFile, folder: Path) -> str:
    """Reads a file in every way, scores it, and compares with other parsers.

    Returns:
        What came of it: ``refused`` as a whole, ``complete``, or ``rejects`` if some rows cannot be read.

    Raises:
        AssertionError: a row is lost, added or changed.
        HangError: a reader does not come to an end.
    """
    path = folder / "fuzzed"
    path.write_bytes(file.content)
    wanted = file.format if file.named else None
    with _limited(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with open_source(path, ReadOptions(format=wanted, yield_rejected=True)) as source:
                kind = source.format
                records = list(with_rejected(source, source.cell_getter([])))
        except InputError as error:
            assert str(path) in error.what
            return "refused"
        good = [record for record in records if not isinstance(record, Rejected)]
        before = list(takewhile(lambda record: not isinstance(record, Rejected), records))
        strict, failed = _strict(path, wanted)
        assert failed == (len(good) < len(records)), "fail and skip disagree about whether a row is bad"
        values = _OTHERS[kind][1]
        assert list(map(values, strict)) == list(map(values, before))[: len(strict)], "fail reads other rows than skip"
        content = _decompressed(file.content)
        if content is not None:
            if kind != "parquet":
                _check_positions(records, len(content))
            expected = _OTHERS[kind][0](content)
            assert expected is None or [row for row in map(values, good) if row is not None] == expected, "rows differ"
        _check_output(path, kind, wanted, records)
    return "rejects" if failed else "complete"


def _strict(path: Path, wanted: str | None) -> tuple[list[Any], bool]:
    """The records before the first bad one, and whether there is one."""
    records: list[Any] = []
    try:
        with open_source(path, ReadOptions(format=wanted)) as source:
            check_record = source.cell_getter([])
            for record in source:
                check_record(record)
                records.append(record)
    except InputError as error:
        assert str(path) in error.what
        return records, True
    return records, False


def _decompressed(content: bytes) -> bytes | None:
    """The content; None if it is damaged."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error):
        return None


def _check_positions(records: list[Any], size: int) -> None:
    """Every byte of the input belongs to one record."""
    position = 0
    for record in records:
        assert record.end_position > position or not getattr(record, "is_row", True)
        position = max(position, record.end_position)
    assert not records or position == size or not getattr(records[-1], "is_row", True)


def _is_damaged(records: list[Any]) -> bool:
    """Whether the rest of the file could not be read."""
    return bool(records) and not getattr(records[-1], "is_row", True)


def _csv_rows(content: bytes) -> list[Any] | None:
    """The rows below the header by the csv module; None for a file with quotes of which some row is bad."""
    try:
        text = content.decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    width = len(rows[0])
    quoted = '"' in text and any(len(row) not in (0, width) for row in rows)
    if quoted or "\0" in text or text.lower().lstrip('"').startswith("sep="):
        return None
    return [row for row in rows[1:] if len(row) == width]


def _json_rows(content: bytes) -> list[Any]:
    rows = []
    for line in content.split(b"\n"):
        try:
            row = json.loads(line.decode("utf-8").removeprefix("\ufeff"))
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(repr(row))
    return rows


def _json_row(record: Any) -> str | None:
    return None if record.fields is None else repr(json.loads(record.raw.removeprefix("\ufeff")))


def _text_rows(content: bytes) -> list[str] | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in lines[: len(lines) - (not lines[-1])] if "\0" not in line]


def _parquet_rows(content: bytes) -> list[Any] | None:
    try:
        return _arrow_rows(pq.read_table(io.BytesIO(content)))
    except (pa.ArrowException, OSError):
        return None


def _arrow_rows(table: pa.Table | pa.RecordBatch) -> list[str]:
    """Rows in a form that can be compared, also where strings are not UTF-8."""
    columns = [
        column.cast(pa.binary()) if pa.types.is_string(column.type) else column for column in table.itercolumns()
    ]
    return [repr(row) for row in zip(*(column.to_pylist() for column in columns), strict=True)]


#: by format: the rows of a file by another parser, or None if that has no say; and a record in the same form, or None
#: if it is no row
_OTHERS: dict[str, tuple[Callable[[bytes], list[Any] | None], Callable[[Any], Any]]] = {
    "csv": (_csv_rows, lambda record: record.fields or None),
    "jsonl": (_json_rows, _json_row),
    "text": (_text_rows, lambda record: record.text),
    "parquet": (_parquet_rows, lambda record: _arrow_rows(record.slice.rows.slice(record.place, 1))[0]),
}


def _check_output(path: Path, kind: str, wanted: str | None, records: list[Any]) -> None:
    """Scores the file by its first column: every row comes out, also the bad ones, and can be read again."""
    output = path.with_name("output")
    names = OutputColumns(("label", "score", "error"), LABELS.names, "new_")
    try:
        with (
            open_source(path, ReadOptions(format=wanted, yield_rejected=True)) as source,
            open_sink(output, source, names, WriteOptions(force=True)) as sink,
            Rejects(None, keep=True) as rejects,
        ):
            summary = predict(LengthScorer(), source, sink, TextSpec(), source.columns[:1], rejects=rejects)
    except InputError as error:  # the first column contains no texts, or a key has the name of one that is added
        assert "new_" in error.what or "not strings" in error.what or "no columns" in error.what, error
        return
    rows = summary.rows + summary.rejected.total() - _is_damaged(records)
    blank = sum(not isinstance(record, Rejected) and _OTHERS[kind][1](record) is None for record in records)
    assert rows + blank + _is_damaged(records) == len(records), "rows read = scored + rejected"
    with open_source(output, ReadOptions(format="csv" if kind == "text" else kind)) as source:
        assert sum(cells is not None for cells in map(source.cell_getter(source.columns), source)) == rows
