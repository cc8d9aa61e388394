"""Rows that cannot be scored: none hides another, and none vanishes."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from length_scorer import LABELS, LengthScorer

from toxonnx.io.base import ReadOptions, WriteOptions, open_sink, open_source
from toxonnx.io.line_recorder import MAX_RECORD
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.rejects import MAX_RAW, Rejected, RejectLimitError, Rejects
from toxonnx.predict import Summary, predict
from toxonnx.texts import TextSpec

FUNCTION_SCOPED = [HealthCheck.function_scoped_fixture]


def _predict(
    path: Path, rejects: Rejects | None = None, reading: ReadOptions | None = None, out: str = ""
) -> tuple[bytes, Summary]:
    """The output and the counts; with ``rejects``, rows may be rejected."""
    output = path.with_name(out or "out" + path.suffixes[0])
    reading = reading or ReadOptions(yield_rejected=rejects is not None)
    keep = rejects is not None and rejects.keep
    columns = OutputColumns(("label", "score", *["error"] * keep), LABELS.names)
    with (
        open_source(path, reading) as source,
        open_sink(output, source, columns, WriteOptions(force=True)) as sink,
    ):
        summary = predict(LengthScorer(), source, sink, TextSpec(), ["text"], rejects=rejects)
    return output.read_bytes(), summary


def _listed(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


CELLS = st.text('ab," \n\r\u00e9\u4e16', max_size=8)
GOOD_CSV = st.tuples(CELLS.map(lambda cell: "x" + cell), CELLS).map(
    lambda cells: (",".join('"' + cell.replace('"', '""') + '"' for cell in cells) + "\r\n").encode()
) | st.just(b"plain,1\n")
#: by error type; the open quotes are closed by the next good row that has any, or never
BAD_CSV = {
    b"one\n": "MISSING COLUMNS",
    b"1,2,3\n": "TOO MANY COLUMNS",
    b'"multi\nline",2,3\n': "TOO MANY COLUMNS",
    b"caf\xe9,2\n": "INVALID ENCODING",
    b"a\0b,2\n": "NUL BYTE",
    b'"open,2\n': "UNQUOTED VALUE",
}
GOOD_JSON = st.dictionaries(st.sampled_from("abc"), st.none() | st.integers() | CELLS, max_size=2).map(
    lambda row: (json.dumps({"text": "a fine day", **row}) + "\n").encode()
)
BAD_JSON = {
    b'{"a": 1}\n': "MISSING VALUE",
    b'{"text": null, "a": 1}\n': "MISSING VALUE",
    b'{"text": 7}\n': "CAST",
    b"[1, 2]\n": "CAST",
    b'{"text": \n': "INVALID JSON",
    b'{"text": "\0"}\n': "INVALID JSON",
    b'{"text": "caf\xe9"}\n': "INVALID ENCODING",
}


@settings(suppress_health_check=FUNCTION_SCOPED, max_examples=100, deadline=None)
@given(data=st.data(), format_=st.sampled_from(["csv", "jsonl"]))
def test_bad_rows_do_not_change_the_others(tmp_path: Path, data: st.DataObject, format_: str) -> None:
    start, good, bad = (
        (b"text,n\n", GOOD_CSV, BAD_CSV) if format_ == "csv" else (b'{"text": ""}\n', GOOD_JSON, BAD_JSON)
    )
    rows = data.draw(st.lists(good | st.sampled_from(sorted(bad)), max_size=12))
    path = tmp_path / f"in.{format_}"
    path.write_bytes(start + b"".join(row for row in rows if row not in bad))
    expected, without = _predict(path)
    path.write_bytes(start + b"".join(rows))
    with Rejects(tmp_path / "rejects.csv", force=True) as rejects:
        skipped, summary = _predict(path, rejects)
    assert skipped == expected
    kinds = [bad[row] for row in rows if row in bad]
    assert summary.rows == without.rows and summary.rejected.total() == len(kinds)
    listed = _listed(tmp_path / "rejects.csv")
    assert [one["error_type"] for one in listed] == kinds
    content = path.read_bytes()
    for one, row in zip(listed, (row for row in rows if row in bad), strict=True):
        position = int(one["byte_position"])
        assert (
            content[:position].count(b"\n") + content[:position].replace(b"\r\n", b"").count(b"\r")
            == int(one["line"]) - 1
        )
        assert one["file"] == str(path) and content[position : position + len(row)] == row
        assert one["raw"] == row.decode("utf-8", "backslashreplace").replace("\0", "\\x00").rstrip("\n")
    with Rejects(keep=True) as rejects:
        kept, summary = _predict(path, rejects)
    errors = _errors(kept.decode(), format_)
    assert [error != "" for error in errors] == [row in bad for row in ([] if format_ == "csv" else [b""]) + rows]


def _errors(output: str, format_: str) -> list[str]:
    """The column of each row."""
    if format_ == "jsonl":
        rows = list(map(json.loads, output.splitlines()))
        assert all((row["label"] is None) == (row["error"] is not None) for row in rows)
        return [row["error"] or "" for row in rows]
    _, *cells = csv.reader(output.splitlines(keepends=True))
    assert all(len(row) == 5 and (row[2] == "") == (row[4] != "") for row in cells)
    return [row[4] for row in cells]


def test_a_valid_row_without_a_text_is_kept_with_its_other_values(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"id": 1, "text": "a"}\n{"id": 2, "text": null }\n')
    kept, _ = _predict(path, Rejects(keep=True))
    assert kept.splitlines()[1].startswith(b'{"id": 2, "text": null , "label": null, "score": null, "error": "null')
    table = pa.table({"id": pa.array([1, 2, 3], pa.int8()), "text": ["a", None, "b"]})
    pq.write_table(table, tmp_path / "in.parquet")
    _, summary = _predict(tmp_path / "in.parquet", Rejects(keep=True))
    assert (summary.rows, dict(summary.rejected)) == (2, {"MISSING VALUE": 1})
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.select(["id", "text"]).equals(table)
    assert out["error"].to_pylist() == [None, "null in 'text'", None]
    assert [value is None for value in out["label"].to_pylist()] == [False, True, False]
    _predict(tmp_path / "in.parquet", Rejects())
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == [1, 3]


def test_rows_of_another_format_that_cannot_be_read_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b"text,n\na,1\nbad\n\nb,2\n")
    jsonl, _ = _predict(path, Rejects(keep=True), out="out.jsonl")
    rows = [json.loads(line) for line in jsonl.splitlines()]
    assert rows[1] == {"text": None, "n": None, "label": None, "score": None, "error": "1 field instead of 2"}
    assert [row["n"] for row in rows] == ["1", None, "2"]
    _predict(path, Rejects(keep=True), out="out.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    assert out["n"].to_pylist() == ["1", None, "2"] and out["label"].is_null().to_pylist() == [False, True, False]


def test_an_open_quote_takes_no_row_with_it_and_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b'text,n\n"open,1\n' + b"a line of text,1\n" * 5000)
    _, summary = _predict(path, Rejects())
    assert (summary.rows, dict(summary.rejected)) == (5000, {"UNQUOTED VALUE": 1})
    # Each of these lines opens a quote, also where one is open already.
    path.write_bytes(b"text,n\n" + b'x"y,"z\n' * 500 + b"fine,1\n")
    _, summary = _predict(path, Rejects())
    assert (summary.rows, summary.rejected.total()) == (1, 500)


@pytest.mark.parametrize("suffix", ["csv", "txt", "jsonl"])
def test_a_line_that_is_too_long_is_one_reject(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in.{suffix}"
    row = {"csv": b"a,1\n", "txt": b"a\n", "jsonl": b'{"text": "a"}\n'}[suffix]
    start = b"text,n\n" if suffix == "csv" else b""
    path.write_bytes(start + row + b"b" * (2 * MAX_RECORD + 5) + b"\n" + row)
    with Rejects(tmp_path / "rejects.csv") as rejects:
        _, summary = _predict(path, rejects, out="out.csv" if suffix == "txt" else "")
    assert (summary.rows, dict(summary.rejected)) == (2, {"LINE SIZE OVER MAXIMUM": 1})
    (listed,) = _listed(tmp_path / "rejects.csv")
    assert len(listed["raw"]) == MAX_RAW and int(listed["byte_position"]) == len(start + row)


def test_the_damaged_end_of_a_file_is_one_reject(tmp_path: Path) -> None:
    path = tmp_path / "in.csv.gz"
    rows = [f"a line {number * 7919 % 1000},{number}\n" for number in range(5000)]
    rows[4000] = '"' + rows[4000]
    path.write_bytes(gzip.compress("".join(["text,n\n", *rows]).encode())[:-2000])
    for keep in (False, True):
        with Rejects(tmp_path / "rejects.csv", keep=keep, force=True) as rejects:
            output, summary = _predict(path, rejects)
        assert summary.rows > 4000 and dict(summary.rejected) == {"UNQUOTED VALUE": 1, "DAMAGED FILE": 1}
        assert output.count(b"\n") == 1 + summary.rows + keep
        listed = _listed(tmp_path / "rejects.csv")
        assert "gzip data ends early" in listed[1]["error_message"] and int(listed[1]["line"]) == summary.rows + 3


def test_a_damaged_row_group_is_one_reject(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    table = pa.table({"text": [f"text {number}" for number in range(30)]})
    pq.write_table(table, path, row_group_size=10, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    _, summary = _predict(path, Rejects(keep=True))
    assert (summary.rows, dict(summary.rejected)) == (20, {"DAMAGED FILE": 1})
    assert pq.read_table(tmp_path / "out.parquet")["text"].to_pylist() == table["text"].to_pylist()[:20]


@pytest.mark.parametrize("encoding", ["utf-16-le", "shift_jis", "utf-8"])
def test_undecodable_bytes_are_rejected_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "in.csv"
    bad = {"utf-16-le": b"\x00\xd8", "shift_jis": b"\x81", "utf-8": b"\xe9"}[encoding]
    lines = ["text,n\n".encode(encoding), bad + ",1\n".encode(encoding), "\u65e5,2\n".encode(encoding)]
    path.write_bytes(b"".join(lines))
    with Rejects(tmp_path / "rejects.csv") as rejects:
        _, summary = _predict(path, rejects, ReadOptions(encoding, yield_rejected=True))
    assert (summary.rows, dict(summary.rejected)) == (1, {"INVALID ENCODING": 1})
    assert int(_listed(tmp_path / "rejects.csv")[0]["byte_position"]) == len(lines[0])


def test_too_many_rejects_are_an_error_that_lists_them(tmp_path: Path) -> None:
    path, listed = tmp_path / "in.csv", tmp_path / "rejects.csv"
    path.write_bytes(b"text,n\na,1\nb\nc,1\nd\n")
    with Rejects(limit=2) as rejects:
        _predict(path, rejects)
    (tmp_path / "out.csv").unlink()
    with (
        pytest.raises(RejectLimitError, match=r"too many .* the last one is .*in\.csv, line 5: 1 field "),
        Rejects(listed, limit=1) as rejects,
    ):
        _predict(path, rejects)
    assert len(_listed(listed)) == 2 and sorted(one.name for one in tmp_path.iterdir()) == ["in.csv", "rejects.csv"]


ANY_LINE = st.lists(
    st.sampled_from([b'"', b",", b"a", b"\r", b"\xe9", b"\0", b"\\", b"1", b"{", b"}"]), max_size=6
).map(b"".join)


@settings(suppress_health_check=FUNCTION_SCOPED, max_examples=100, deadline=None)
@given(
    lines=st.lists(ANY_LINE, max_size=8),
    format_=st.sampled_from(["csv", "text", "jsonl"]),
    encoding=st.sampled_from(["utf-8", "utf-16-le", "shift_jis"]),
    escape_char=st.sampled_from([None, "\\"]),
    data=st.data(),
)
@pytest.mark.filterwarnings("ignore")
def test_every_byte_belongs_to_one_record_and_reading_can_continue_after_each(
    tmp_path: Path, lines: list[bytes], format_: str, encoding: str, escape_char: str | None, data: st.DataObject
) -> None:
    encoding = "utf-8" if format_ == "jsonl" else encoding
    header = b'{"text": ""}\n' if format_ == "jsonl" else "text,n\n".encode(encoding)
    path = tmp_path / "in"
    path.write_bytes(header + b"\n".join(lines))
    options = ReadOptions(encoding, escape_char=escape_char, format=format_, yield_rejected=True)
    with open_source(path, options) as source:
        records = list(source)
        position = len(header) if format_ == "csv" else 0
        for record in records:
            if isinstance(record, Rejected):
                assert record.byte_position == position
            assert record.end_position > position
            position = record.end_position
        assert position == path.stat().st_size
        places = [number for number, one in enumerate(records, start=1) if source.can_continue_after(one)]
        if places:
            number = data.draw(st.sampled_from(places))
            source.seek(source.position_after(records[number - 1]))
            assert list(source) == records[number:]
