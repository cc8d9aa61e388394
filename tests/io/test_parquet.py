"""Parquet: what was there stays, and typed columns are appended."""

from __future__ import annotations

import datetime
import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import made_up_scores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toxonnx.errors import InputError, MachineError, RowError
from toxonnx.inference.scores import Scores
from toxonnx.io import parquet, parquet_writer
from toxonnx.io.base import ReadOptions, WriteOptions, open_sink, open_source
from toxonnx.io.output_columns import COLUMNS, OutputColumns
from toxonnx.io.table import read_table
from toxonnx.labels import Labels

LABELS = Labels(("calm", "rude"))


def _scored(path: Path, window: int = 5000, labels: Labels = LABELS, name: str = "out.parquet") -> Path:
    out = path.with_name(name)
    columns = OutputColumns(COLUMNS, labels.names, "p_", labels.multi)
    with open_source(path) as source, open_sink(out, source, columns, WriteOptions("parquet", force=True)) as sink:
        records = list(source)
        scores = made_up_scores(len(records), labels)
        for start in range(0, len(records), window):  # windows do not end where row groups do
            part = slice(start, start + window)
            cut = Scores.of(labels, scores.logits[part], truncated=scores.truncated[part])
            sink.write(records[part], cut)
    return out


TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=8)
ROWS = st.fixed_dictionaries(
    {
        "text": TEXTS,
        "large": TEXTS,
        "words": st.sampled_from(["a", "b", "c"]),
        "nested": st.fixed_dictionaries({"text": TEXTS, "n": st.none() | st.integers(0, 9)}),
        "tags": st.none() | st.lists(TEXTS, max_size=2),
        "time": st.none() | st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2030, 1, 1)),
        "id": st.integers(0, 2**32 - 1),
    }
)
SCHEMA = pa.schema(
    [
        pa.field("text", pa.string(), metadata={"PARQUET:field_id": "7"}), ("large", pa.large_string()),
        ("words", pa.dictionary(pa.int32(), pa.string())), ("nested", pa.struct({"text": pa.string(), "n": pa.int8()})),
        ("tags", pa.list_(pa.string())), ("time", pa.timestamp("us", "UTC")), pa.field("id", pa.uint32(), False),
    ],
    {b"owner": b"somebody"},
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    rows=st.lists(ROWS, max_size=12),
    group=st.integers(1, 5),
    window=st.integers(1, 6),
    codec=st.sampled_from(["snappy", "gzip", "zstd", "none"]),
    cut=st.integers(0, 11),
)
def test_what_was_there_stays(tmp_path: Path, rows: list[Any], group: int, window: int, codec: str, cut: int) -> None:
    path = tmp_path / "in.parquet"
    table = pa.Table.from_pylist(rows, SCHEMA)
    pq.write_table(table, path, row_group_size=group, compression={"text": codec, "id": "gzip"})
    out = pq.ParquetFile(_scored(path, window))
    assert out.read().select(SCHEMA.names).equals(table)
    assert list(out.schema_arrow)[: len(SCHEMA)] == list(pq.read_schema(path))
    assert out.schema_arrow.metadata == pq.read_schema(path).metadata
    before, after = (
        [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        for metadata in (pq.read_metadata(path), out.metadata)
    )
    assert [one.num_rows for one in before if rows] == [one.num_rows for one in after]
    if rows:
        columns = [after[0].column(i) for i in range(after[0].num_columns)]
        codecs = {column.path_in_schema: column.compression for column in columns}
        assert codecs["text"] == {"none": "UNCOMPRESSED"}.get(codec, codec.upper()) and codecs["id"] == "GZIP"
        assert codecs["p_probabilities.calm"] == codecs["p_label"] == "UNCOMPRESSED"  # as most columns
    with open_source(path) as source:
        records = list(source)
        for name, values in (
            ("text", [row["text"] for row in rows]), ("large", [row["large"] for row in rows]),
            ("words", [row["words"] for row in rows]), ("nested.text", [row["nested"]["text"] for row in rows]),
        ):  # fmt: skip
            get = source.value_getter([name])
            assert [get(record) for record in records] == [[value] for value in values]
    if cut < len(records):
        with open_source(path) as source:
            source.seek(source.position_after(records[cut]))
            assert [record.line for record in source] == [record.line for record in records[cut + 1 :]]


def test_added_columns_have_types(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(9)]}), path)
    table, scores = pq.read_table(_scored(path, 4)), made_up_scores(9, LABELS)
    assert table.schema.field("p_label").type == pa.dictionary(pa.int32(), pa.string())
    assert table["p_label"].to_pylist() == [names[0] for names in scores.label_names]
    assert table.schema.field("p_score").type == pa.float32()
    assert table.schema.field("p_probabilities").type == pa.struct({"calm": pa.float32(), "rude": pa.float32()})
    values = [list(row.values()) for row in table["p_probabilities"].to_pylist()]
    assert values == scores.probabilities.astype(np.float32).tolist()
    assert table["p_truncated"].to_pylist() == scores.truncated.tolist()
    several = Labels(("x", "y"), "sigmoid")
    table = pq.read_table(_scored(path, 4, several))
    assert table["p_label"].to_pylist() == [list(names) for names in made_up_scores(9, several).label_names]


def test_some_rows_may_be_left_out(tmp_path: Path) -> None:
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"text": list("abcdefgh")}), path, row_group_size=3)
    with open_source(path) as source, open_sink(out, source, OutputColumns(("label",), LABELS.names)) as sink:
        kept = [record for record in source if record.line not in {2, 6}]
        sink.write(kept, made_up_scores(6, LABELS))
    written = pq.ParquetFile(out)
    assert [written.read_row_group(i)["text"].to_pylist() for i in range(3)] == [["a", "c"], ["d", "e"], ["g", "h"]]


def test_the_index_of_pandas_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    index = pd.Index(["r", "s", "t"], name="key")
    frame = pd.DataFrame({"text": ["a", "b", "c"], "kind": pd.Categorical(["u", "v", "u"])}, index=index)
    frame.to_parquet(path)
    scored = pd.read_parquet(_scored(path))
    pd.testing.assert_frame_equal(scored[["text", "kind"]], frame)
    assert isinstance(scored["p_label"].dtype, pd.CategoricalDtype)


def test_large_row_groups_are_read_and_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.parquet"
    texts = [f"text {i} " * 20 for i in range(20_000)]
    pq.write_table(pa.table({"text": texts}), path, use_dictionary=False)
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 1 << 20)
    monkeypatch.setattr(parquet, "_SLICE_BYTES", 1 << 18)
    monkeypatch.setattr(parquet_writer, "MAX_GROUP_BYTES", 1 << 20)
    monkeypatch.setattr(parquet_writer, "_GROUP_ROWS", 7000)
    (tmp_path / "in.txt").write_text("".join(f"{text}\n" for text in texts))
    for source in (path, tmp_path / "in.txt"):
        sizes = []
        for window in (1000, 3333):  # row groups do not depend on how many rows are written at once
            out = pq.ParquetFile(_scored(source, window))
            sizes.append([out.metadata.row_group(i).num_rows for i in range(out.num_row_groups)])
            assert out.read()["text"].to_pylist() == texts
        assert len(sizes[0]) == 4 and sizes[0] == sizes[1], sizes
    with open_source(path) as opened:
        assert max(record.slice.rows.num_rows for record in opened) < 3000


def test_rows_of_csv_become_strings_and_a_pipe_gets_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("id,text\n1,a\n\n2,b\n")
    out = _scored(path)
    assert pq.read_table(out).select(["id", "text"]).to_pylist() == [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}]
    script = (
        "from toxonnx.io.base import *; from toxonnx.io.output_columns import OutputColumns\n"
        "with open_source('in.csv') as source:\n"
        "    with open_sink(None, source, OutputColumns((), ()), WriteOptions('parquet')): pass\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert pq.read_schema(pa.BufferReader(done.stdout)).names == ["id", "text"]


def test_errors_name_the_row_or_the_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.parquet"
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    table = pa.table({"text": pa.chunked_array([["a", None], broken, ["d"]]), "n": [1, 2, 3, 4]})
    pq.write_table(table, path, row_group_size=2)
    texts: list[Any] = []
    with open_source(path) as source:
        get = source.value_getter(["text"])
        for record in source:
            try:
                texts.append(get(record))
            except RowError as error:
                texts.append(str(error))
        with pytest.raises(InputError, match="the column 'n' contains int64, not strings"):
            source.value_getter(["n"])
    assert texts == [["a"], f"{path}, row 2: null in 'text'", f"{path}, row 3: not UTF-8 in 'text'", ["d"]]
    assert read_table(path).columns == {"text": ["a", "", "", "d"], "n": ["1", "2", "3", "4"]}

    with open_source(path) as source, pytest.raises(InputError, match=r"Parquet is compressed inside"):
        open_sink(tmp_path / "out.parquet.gz", source, OutputColumns(("label",), ("x",)))
    data = path.read_bytes()
    for content, what in ((data[:-20], "is not a valid Parquet file"), (b"PAR1", "is not a valid Parquet file")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=what):
            open_source(path)
    pq.write_table(pa.table([["a"], ["b"]], names=["text", "text"]), path)
    with pytest.raises(InputError, match="repeats the column 'text'"):
        open_source(path)
    packed = tmp_path / "in.parquet.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match="is Parquet inside gzip"):
        open_source(packed)
    os.mkfifo(tmp_path / "pipe")
    writer = subprocess.Popen(["cp", str(path), str(tmp_path / "pipe")])
    with pytest.raises(InputError, match="is a pipe, and Parquet is read at random"):
        open_source(tmp_path / "pipe", ReadOptions(format="parquet"))
    writer.wait()
    monkeypatch.setattr("toxonnx.extras._installed", lambda module: module != "pyarrow")
    with pytest.raises(MachineError, match="needs pyarrow") as caught:
        open_source(path)
    assert "[parquet]" in caught.value.hint


def test_an_output_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"text": ["a"]}), path)
    columns = OutputColumns(("label",), LABELS.names)
    with (
        pytest.raises(ValueError, match="stop"), open_source(path) as source, open_sink(out, source, columns) as sink,
    ):  # fmt: skip
        sink.write(list(source), made_up_scores(1, LABELS))
        raise ValueError("stop")
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.parquet"]


@pytest.mark.parametrize("name", [b"zqz", b"wvw"])
def test_names_that_are_not_utf8(tmp_path: Path, name: bytes) -> None:
    """The schema has each name once, and the metadata of the row group repeats it, where it does not matter."""
    path, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"text": ["a"], "zqz": [1], "s": [{"wvw": "b"}]}), path, store_schema=False)
    before, between, after = path.read_bytes().split(name)
    path.write_bytes(before + b"\x80" + name[1:] + between + name + after)
    with pytest.raises(InputError, match="is not a valid Parquet file: a column's name is not UTF-8"):
        open_source(path)
    path.write_bytes(before + name + between + b"\x80" + name[1:] + after)
    with open_source(path) as source, open_sink(output, source, OutputColumns(("label",), ("x",))):
        assert source.columns == ["text", "zqz", "s.wvw"]


def test_times_that_python_lacks_are_read(tmp_path: Path) -> None:
    days = pa.array([0, 10_000_000], pa.int32()).cast(pa.date32())
    columns = {
        "text": pa.array(["a", "b"]), "day": days, "days": pa.ListArray.from_arrays([0, 1, 2], days),
        "times": pa.array([[("a", {"t": 0})], [("b", {"t": 10**15})]], pa.map_("string", pa.struct({"t": "date64"}))),
        "word": days.dictionary_encode(),
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    table = read_table(tmp_path / "in.parquet")
    assert table.columns["day"] == table.columns["word"] == ["1970-01-01", "29349-01-26"]
    assert table.columns["days"] == ['["1970-01-01"]', '["29349-01-26"]']
    assert "out of range" in table.columns["times"][1]
