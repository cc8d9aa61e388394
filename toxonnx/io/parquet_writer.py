"""How a Parquet file is written: like the one that was read, to a file that need not be seekable, in row groups that
depend on the rows only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toxonnx.io.output_file import OutputFile

__all__ = ["MAX_GROUP_BYTES", "Group", "Output", "RowGroups", "RowStore", "Settings", "join_files", "leaves"]

#: a larger row group is written as several: pyarrow holds the one that it writes
MAX_GROUP_BYTES = 64 << 20
#: rows of a row group where the input has none; the default of DuckDB
_GROUP_ROWS = 122_880

#: a row group of the input, and which part of it, if it exceeds :data:`MAX_GROUP_BYTES`; None if the input has none
Group = tuple[int, int] | None


def leaves(fields: Any, prefix: str = "", path: tuple[int, ...] = ()) -> Iterator[tuple[str, tuple[int, ...], Any]]:
    """Name, path and type of each field that is not a struct."""
    for index, one in enumerate(fields):
        if pa.types.is_struct(one.type):
            yield from leaves(list(one.type), f"{prefix}{one.name}.", (*path, index))
        else:
            yield prefix + one.name, (*path, index), one.type


@dataclass(frozen=True)
class Settings:
    """How a file was written, as far as another one can be written alike.

    Attributes:
        metadata: its key-value pairs, without the Arrow schema.
        codecs: path of a column -> its codec.
        int96: whether it has the timestamps of Spark.
        compliant: whether the items of its lists are called as the specification says.
    """

    metadata: dict[bytes, bytes] = field(default_factory=dict)
    codecs: dict[str, str] = field(default_factory=dict)
    int96: bool = False
    compliant: bool = True

    @classmethod
    def of(cls, metadata: pq.FileMetaData) -> Settings:
        """Those of a file; codecs are those of its first row group."""
        pairs = {key: value for key, value in (metadata.metadata or {}).items() if key != b"ARROW:schema"}
        group = metadata.row_group(0) if metadata.num_row_groups else None
        # A row group repeats the columns' paths, which nothing needs; they may be broken where the schema is not.
        count = min(group.num_columns, len(metadata.schema)) if group else 0
        paths = [metadata.schema.column(i).path for i in range(count)]
        columns = [group.column(i) for i in range(count)] if group else []
        return cls(
            pairs,
            {
                path: _WRITER_CODECS.get(one.compression, one.compression)
                for path, one in zip(paths, columns, strict=True)
            },
            any(one.physical_type == "INT96" for one in columns),
            not any(".list.item" in path for path in paths),
        )

    def arguments(self, added: Sequence[pa.Field]) -> dict[str, Any]:
        """Arguments of ``ParquetWriter``; the added columns get the most frequent codec."""
        codec = Counter(self.codecs.values() or ["SNAPPY"]).most_common(1)[0][0]
        item = "element" if self.compliant else "item"
        paths = [f"{name}.list.{item}" if pa.types.is_list(kind) else name for name, _, kind in leaves(added)]
        return {
            "compression": {**dict.fromkeys(paths, codec), **self.codecs} if self.codecs else codec,
            "use_deprecated_int96_timestamps": self.int96,
            "use_compliant_nested_type": self.compliant,
        }


#: names of codecs in metadata -> those that a writer takes, where they differ
_WRITER_CODECS = {"UNCOMPRESSED": "NONE", "LZ4_RAW": "LZ4"}


class Output:
    """What pyarrow writes to: an output file, also one that has no position, such as a pipe."""

    def __init__(self, file: OutputFile) -> None:
        self._file, self._position = file, 0
        self.closed = self.discard = False

    def write(self, data: Any) -> int:
        """Writes bytes, unless they are to be discarded."""
        count = memoryview(data).nbytes
        if not self.discard:
            self._file.write_bytes(data)
        self._position += count
        return count

    def tell(self) -> int:
        """Bytes so far."""
        return self._position

    def flush(self) -> None:
        """Nothing is held here."""

    def close(self) -> None:
        """The file closes itself."""


class RowTarget(Protocol):
    """What takes rows, in order."""

    def add(self, group: Group, rows: pa.RecordBatch) -> None:
        """Appends rows that belong to one row group of the input."""
        ...


class RowGroups:
    """Writes rows to a Parquet file, in the row groups of the input, or in ones of limited size.

    Args:
        file: what to write to.
        schema: of the rows.
        strings: how many columns, the first ones, are strings that count for the size of a row group without a number.
        arguments: of ``ParquetWriter``.
    """

    def __init__(self, file: OutputFile, schema: pa.Schema, strings: int, arguments: dict[str, Any]) -> None:
        self._output = Output(file)
        self._strings = strings
        self._writer = pq.ParquetWriter(self._output, schema, **arguments)
        self._pending: list[pa.RecordBatch] = []
        self._group: Group = (0, 0)
        self._rows = self._bytes = 0  # of the row group that is being filled, if the input has none

    def add(self, group: Group, rows: pa.RecordBatch) -> None:
        """Appends rows that belong to one row group of the input."""
        if group is None:
            self._fill(rows)
            return
        if group != self._group:
            self._write_group()
            self._group = group
        self._pending.append(rows)

    def _fill(self, rows: pa.RecordBatch) -> None:
        while rows.num_rows:
            sizes = pa.array([0] * rows.num_rows, pa.int64())
            for column in rows.columns[: self._strings]:
                sizes = pc.add(sizes, pc.fill_null(pc.cast(pc.binary_length(column), pa.int64()), 0))
            is_above = pc.greater(pc.add(pc.cumulative_sum(sizes), self._bytes), MAX_GROUP_BYTES)
            above = pc.index(is_above, True).as_py()
            count = min(rows.num_rows, _GROUP_ROWS - self._rows, *([above + 1] if above >= 0 else []))
            self._pending.append(rows.slice(0, count))
            self._rows += count
            self._bytes += pc.sum(sizes.slice(0, count)).as_py()
            if self._rows == _GROUP_ROWS or self._bytes > MAX_GROUP_BYTES:
                self._write_group()
                self._rows = self._bytes = 0
            rows = rows.slice(count)

    def _write_group(self) -> None:
        if self._pending:
            # Where pages end depends on the pieces that a table consists of, and these on how much was read at once.
            table = pa.Table.from_batches(self._pending).combine_chunks()
            self._pending.clear()
            self._writer.write_table(table, max(table.num_rows, 1))
            del table
            # Otherwise Arrow's allocator keeps most of a written group beside the next one.
            pa.default_memory_pool().release_unused()

    def close(self, *, is_complete: bool) -> None:
        """Writes the last row group and the footer; an incomplete file gets none, with which it would look complete."""
        if is_complete:
            self._write_group()
        else:
            self._output.discard = True
        self._writer.close()


class RowStore:
    """Keeps rows in a file until a Parquet file, which cannot be continued, is written at once.

    The file is a sequence of Arrow IPC streams, one per checkpoint.

    Args:
        path: the file.
        schema: of the rows.
        size: bytes to keep of what an earlier process wrote.
    """

    def __init__(self, path: Path, schema: pa.Schema, size: int) -> None:
        self._path, self._schema = path, schema
        self._file = OutputFile(path, path, size=size)
        self._stream: Any = None

    def add(self, group: Group, rows: pa.RecordBatch) -> None:
        """Appends rows that belong to one row group of the input."""
        if self._stream is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._stream = pa.ipc.new_stream(Output(self._file), self._schema, options=options)
        self._stream.write_batch(rows, None if group is None else {"group": f"{group[0]} {group[1]}"})

    def checkpoint(self) -> int:
        """Puts the rows so far on the disk, and returns the size of the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        return self._file.checkpoint()

    def copy_to(self, target: RowTarget) -> None:
        """Hands all rows to another target."""
        size = self.checkpoint()
        with pa.OSFile(str(self._path)) as file:
            while file.tell() < size:
                for one in pa.ipc.open_stream(file).iter_batches_with_custom_metadata():
                    text = one.custom_metadata[b"group"] if one.custom_metadata else None
                    group = text and tuple(map(int, text.split()))
                    target.add(group, one.batch)

    def close(self) -> None:
        """Closes the file, which remains."""
        self._file.close()


def join_files(paths: Sequence[Path], file: OutputFile) -> None:
    """Writes the rows of several files with one schema to one, in the row groups that they have."""
    schema, arguments = _written_alike(paths)
    target = RowGroups(file, schema, 0, arguments)
    try:
        for index, path in enumerate(paths):  # one at a time: a process may open some hundreds of files
            with pq.ParquetFile(path) as one:
                for number in range(one.metadata.num_row_groups):
                    for rows in one.iter_batches(row_groups=[number], use_threads=False):
                        target.add((index, number), rows)
    except BaseException:
        target.close(is_complete=False)
        raise
    target.close(is_complete=True)


def _written_alike(paths: Sequence[Path]) -> tuple[pa.Schema, dict[str, Any]]:
    """The schema of files, and how they were written: like the first one with rows, if there is one."""
    found = None
    for path in paths:
        with pq.ParquetFile(path) as one:
            if found is None or one.metadata.num_row_groups:
                found = one.schema_arrow, Settings.of(one.metadata).arguments([])
            if one.metadata.num_row_groups:
                break
    assert found is not None
    return found
