"""gzip and zstd around inputs and outputs."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from backports import zstd

from toxonnx.errors import InputError, MachineError
from toxonnx.inference.scores import Scores
from toxonnx.io.atomic import AtomicFile
from toxonnx.io.base import Position, ReadOptions, open_sink, open_source
from toxonnx.io.output_columns import OutputColumns
from toxonnx.labels import Labels

SLOW_COPY = (
    "import sys, time; pipe = open(sys.argv[1], 'wb', 0); pipe.write(sys.stdin.buffer.read(1)); time.sleep(0.05);"
    "pipe.write(sys.stdin.buffer.read())"
)
TEXT = "text,n\r\n" + "".join(f'"a fine, day {i}",{i}\r\n' for i in range(3000)) + "last,-1"
CHECKSUM = {zstd.CompressionParameter.checksum_flag: 1}
PACK = {"gz": gzip.compress, "zst": lambda data: zstd.compress(data, options=CHECKSUM)}
UNPACK = {"gz": gzip.decompress, "zst": zstd.decompress}


def _texts(path: Path) -> list[str]:
    with open_source(path) as source:
        return [record.fields[0] for record in source]


@pytest.mark.parametrize("suffix", PACK)
def test_rows_keep_their_bytes_through_a_compression(tmp_path: Path, suffix: str) -> None:
    data, half = TEXT.encode(), len(TEXT) // 2
    path, out = tmp_path / "in.csv", tmp_path / f"out.csv.{suffix}"  # recognized by its content
    path.write_bytes(PACK[suffix](data[:half]) + PACK[suffix](b"") + PACK[suffix](data[half:]))
    with open_source(path) as source, open_sink(out, source, OutputColumns(("score",), ("x",))) as sink:
        records = list(source)
        sink.write(records, Scores.of(Labels(("x",), "sigmoid"), np.zeros((len(records), 1), np.float32)))
        assert source.bytes_done(records[-1].end_position) == path.stat().st_size
    written = UNPACK[suffix](out.read_bytes()).decode()
    assert written.replace(",0.500000", "").replace("text,n,score", "text,n") == TEXT
    for position in (Position(*source.position_after(record)) for record in (records[0], records[2000])):
        with open_source(path) as again:
            again.seek(position)
            rest = list(again)
        assert rest == [record for record in records if record.line >= position.line]


@pytest.mark.parametrize("suffix", PACK)
def test_damage_is_one_error_after_the_rows_before_it(tmp_path: Path, suffix: str) -> None:
    rows = "".join(f"text {random.Random(i).randbytes(30).hex()}\n" for i in range(20_000))
    packed = PACK[suffix](f"text\n{rows}".encode())
    checksum = bytes([packed[-4] ^ 1]) + packed[-3:]
    path = tmp_path / f"in.csv.{suffix}"
    for content, what in (
        (packed[:-4] + checksum, "is damaged"), (packed + b"more", "is damaged"), (packed[:-100], "ends early"),
    ):  # fmt: skip
        path.write_bytes(content)
        read: list[str] = []
        with pytest.raises(InputError, match=f"data {what}, after [0-9,]+ decompressed") as caught:
            read.extend(_rows(path))
        assert str(path) in caught.value.what
        assert len(read) > 15_000 and read == rows.splitlines()[: len(read)]


def _rows(path: Path) -> Iterator[str]:
    with open_source(path) as source:
        for record in source:
            yield record.fields[0]


def test_compressed_outputs_are_reproducible(tmp_path: Path) -> None:
    for name in ("one.csv.gz", "two.csv.gz", "one.csv.zst", "two.csv.zst"):
        with AtomicFile(tmp_path / name) as out:
            out.write(TEXT)
    for suffix in PACK:
        one, two = ((tmp_path / f"{name}.csv.{suffix}").read_bytes() for name in ("one", "two"))
        assert one == two and UNPACK[suffix](one).decode() == TEXT
    assert sorted(path.name for path in tmp_path.iterdir())[0] == "one.csv.gz"


def test_a_pipe_that_comes_in_pieces(tmp_path: Path) -> None:
    packed = gzip.compress(TEXT.encode())
    for content, count in ((packed, 3001), (b"text\na\n", 1), (b"t\n", 0)):
        path = tmp_path / "pipe"
        os.mkfifo(path)
        writer = subprocess.Popen([sys.executable, "-c", SLOW_COPY, str(path)], stdin=subprocess.PIPE)
        assert writer.stdin is not None
        writer.stdin.write(content)
        writer.stdin.close()
        assert len(_texts(path)) == count
        assert writer.wait() == 0
        path.unlink()


def test_without_the_package_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.csv").write_bytes(zstd.compress(TEXT.encode()))
    monkeypatch.setattr("toxonnx.extras._installed", lambda module: module != "backports.zstd")
    with pytest.raises(MachineError, match=r"backports\.zstd") as caught:
        open_source(tmp_path / "in.csv")
    assert "[zstd]" in caught.value.hint
    with pytest.raises(MachineError, match=r"backports\.zstd"):
        AtomicFile(tmp_path / "out.csv.zst")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_auto_finds_what_excel_writes(tmp_path: Path) -> None:
    rows = "text;n\r\nca\u00f1a, \u00a310;1\r\n"
    for content, encoding, name in (
        (rows.encode("cp1252"), "cp1252", "semicolon"), (rows.encode("utf-16"), "utf-16-le", "semicolon"),
        (rows.replace(";", "\t").encode("utf-16"), "utf-16-le", "tab"),
        (rows.encode("utf-8-sig"), "utf-8", "semicolon"),
        (f"sep=|\n{rows.replace(';', '|')}".encode(), "utf-8", "pipe"), (b"text\na, b\nc; d\n", "utf-8", "comma"),
    ):  # fmt: skip
        path = tmp_path / "in.csv"
        path.write_bytes(content)
        with (
            pytest.warns(match="the encoding is taken to be"), pytest.warns(match=f"delimiter is taken to be {name}"),
            open_source(path, ReadOptions("auto", "auto")) as source,
        ):  # fmt: skip
            assert source.encoding == encoding and source.columns[0] == "text"
