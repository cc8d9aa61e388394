"""Parquet: schema, row groups, codecs and metadata stay as they are, and typed columns are appended."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby
from types import TracebackType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toxonnx.errors import InputError, RowError, first_line
from toxonnx.inference.scores import Scores
from toxonnx.io.base import Position, ReadOptions, Source, WriteOptions, open_output, require_flat, require_unique_names
from toxonnx.io.compression import compression_of_name
from toxonnx.io.input_file import InputFile
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.output_file import BUFFER_BYTES, OutputFile
from toxonnx.io.parquet_writer import MAX_GROUP_BYTES, Group, RowGroups, RowStore, Settings, leaves
from toxonnx.io.rejects import ErrorType, Rejected
from toxonnx.io.remote import AnyPath, as_location

__all__ = ["ParquetRecord", "ParquetSink", "ParquetSource", "open_sink", "open_source"]

#: of a slice of rows that is read at once
_SLICE_ROWS, _SLICE_BYTES = 4096, 4 << 20

_INVALID = object()


@dataclass(frozen=True, eq=False)
class _Slice:
    """Some rows of a row group.

    Attributes:
        rows: their values.
        group: number of the row group in the output: one of the input, or a part of one that exceeds
            :data:`MAX_GROUP_BYTES`. It depends on the file only, not on where reading started.
    """

    rows: pa.RecordBatch
    group: tuple[int, int]
    _values: dict[tuple[int, ...], list[Any]] = field(default_factory=dict)

    def values(self, path: tuple[int, ...]) -> list[Any]:
        """The values of a column, by its index and those of the fields inside it."""
        if path not in self._values:
            column = self.rows.column(path[0])
            for index in path[1:]:
                column = pc.struct_field(column, [index])
            try:
                self._values[path] = column.to_pylist()
            except (ValueError, OverflowError):
                self._values[path] = list(map(_decoded, column))
        return self._values[path]


def _decoded(value: Any) -> Any:
    """A value of which Python may have none: text that is not UTF-8, or a time beyond the year 9999 or (without pandas)
    with nanoseconds."""
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return _INVALID
    except (ValueError, OverflowError):
        if isinstance(value, pa.DictionaryScalar):
            return _decoded(value.value)
        if isinstance(value, pa.StructScalar):
            return {name: _decoded(inner) for name, inner in value.items()}
        if pa.types.is_nested(value.type):
            return list(map(_decoded, value.values))
        return value.cast(pa.string()).as_py()


class ParquetRecord(NamedTuple):
    """One row.

    Attributes:
        line: its number, from 1.
        slice: the rows that were read with it.
        place: its index among them.
        end_position: rows up to its end.
    """

    line: int
    slice: _Slice
    place: int
    end_position: int


class ParquetSource:
    """Reads a Parquet file slice by slice, in bounded memory.

    Columns are the fields that are not structs. A field inside a struct is named with dots, as in ``comment.text``; a
    column whose name contains a dot itself comes first.

    Args:
        file: the input.

    Raises:
        InputError: it is a pipe, compressed as a whole, or not valid, or repeats a column.
    """

    #: see :class:`toxonnx.io.base.Source`
    format, unit, is_flat, columns_hint = "parquet", "row", False, ""

    def __init__(self, file: InputFile) -> None:
        self._file, self.name, self.size = file, file.name, file.size
        if file.compression:
            raise InputError(f"{file.name} is Parquet inside {file.compression}", "Decompress it first.")
        if not file.seekable:
            raise InputError(f"{file.name} is a pipe, and Parquet is read at random", "Save it to a file first.")
        try:
            self.file = pq.ParquetFile(file.file, buffer_size=BUFFER_BYTES, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{file.name} is not a valid Parquet file: {first_line(error)}") from None
        except UnicodeDecodeError:
            raise InputError(f"{file.name} is not a valid Parquet file: a column's name is not UTF-8") from None
        self.schema: pa.Schema = self.file.schema_arrow
        repeated = [name for name, count in Counter(self.schema.names).items() if count > 1]
        if repeated:
            raise InputError(f"{file.name} repeats the column {', '.join(map(repr, repeated))}")
        self._paths: dict[str, tuple[int, ...]] = {}
        for name, path, _ in sorted(leaves(self.schema), key=lambda leaf: len(leaf[1])):
            self._paths.setdefault(name, path)
        self._types = {path: leaf for _, path, leaf in leaves(self.schema)}
        self.columns = list(dict.fromkeys(name for name, _, _ in leaves(self.schema)))
        self._start = 0

    def __iter__(self) -> Iterator[ParquetRecord]:
        """The rows, in order."""
        first, start = 0, self._start
        for number in range(self.file.num_row_groups):
            group = self.file.metadata.row_group(number)
            end = first + group.num_rows
            if start < end:
                yield from self._rows(number, first, max(start - first, 0))
            first = end

    def _rows(self, number: int, first: int, skip: int) -> Iterator[ParquetRecord]:
        """The rows of a row group whose first row is ``first``, without the first ``skip``."""
        group = self.file.metadata.row_group(number)
        row_bytes = group.total_byte_size // max(group.num_rows, 1) + 1
        count = max(1, min(_SLICE_ROWS, _SLICE_BYTES // row_bytes))
        row, size, part = first, 0, 0
        try:
            for rows in self.file.iter_batches(count, row_groups=[number], use_threads=False):
                piece = _Slice(rows, (number, part))
                size += rows.nbytes
                if size > MAX_GROUP_BYTES:
                    size, part = 0, part + 1
                for index in range(rows.num_rows):
                    row += 1
                    if row > first + skip:
                        yield ParquetRecord(row, piece, index, row)
        except (pa.ArrowException, OSError) as error:
            what = f"{self.name}: row group {number + 1}, after row {row}, cannot be read"
            raise InputError(f"{what}: {first_line(error)}", "Is the file complete?") from None

    def value_getter(self, columns: Sequence[str]) -> Callable[[ParquetRecord], list[str] | None]:
        """See :meth:`toxonnx.io.base.Source.value_getter`."""
        paths = [self._paths[name] for name in columns]
        for name, path in zip(columns, paths, strict=True):
            kind = self._types[path]
            if not _is_string(kind.value_type if pa.types.is_dictionary(kind) else kind):
                raise InputError(f"{self.name}: the column {name!r} contains {kind}, not strings")

        def texts(record: ParquetRecord) -> list[str]:
            values = [record.slice.values(path)[record.place] for path in paths]
            for name, value in zip(columns, values, strict=True):
                if value is None or value is _INVALID:
                    null = value is None
                    what = f"{'null' if null else 'not UTF-8'} in {name!r}"
                    kind = ErrorType.MISSING_VALUE if null else ErrorType.INVALID_ENCODING
                    raise RowError(self.name, record.line, what, unit="row", error_type=kind, column=name)
            return values

        return texts

    def cell_getter(self, columns: Sequence[str]) -> Callable[[ParquetRecord], list[str] | None]:
        """See :meth:`toxonnx.io.base.Source.cell_getter`."""
        paths = [self._paths[name] for name in columns]
        return lambda record: [_cell(record.slice.values(path)[record.place]) for path in paths]

    def can_continue_after(self, record: ParquetRecord | Rejected) -> bool:
        """See :meth:`toxonnx.io.base.Source.can_continue_after`."""
        return True

    def position_after(self, record: ParquetRecord | Rejected) -> Position:
        """See :meth:`toxonnx.io.base.Source.position_after`."""
        return Position(record.end_position, record.end_position + 1)

    def seek(self, position: Position) -> None:
        """See :meth:`toxonnx.io.base.Source.seek`."""
        if position.offset > self.file.metadata.num_rows:
            raise InputError(f"{self.name} is shorter than it was")
        self._start = position.offset

    @property
    def extent(self) -> int:
        """See :attr:`toxonnx.io.base.Source.extent`."""
        rows: int = self.file.metadata.num_rows
        return rows

    def divide(self, offsets: Sequence[int]) -> list[Position]:
        """See :meth:`toxonnx.io.base.Source.divide`. Places are between row groups, which stay as they are."""
        metadata = self.file.metadata
        ends = list(accumulate(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)))
        places = [next(end for end in [0, *ends] if end >= offset) for offset in offsets]
        return [Position(place, place + 1) for place in places]

    def bytes_done(self, position: int) -> float:
        """See :meth:`toxonnx.io.base.Source.bytes_done`."""
        return (self.size or 0) * position / max(self.extent, 1)

    def __enter__(self) -> ParquetSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _record(record: ParquetRecord | Rejected) -> ParquetRecord:
    return record.record if isinstance(record, Rejected) else record


def _is_string(kind: Any) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _cell(value: Any) -> str:
    if value is None or value is _INVALID:
        return ""
    if isinstance(value, bool | dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


class ParquetSink:
    """Writes the records of a source as Parquet, with columns appended.

    ``label`` is a dictionary of strings (several labels: a list of strings), ``score`` float32, ``probabilities`` a
    struct with a float32 per label, and the others are bool. Rows of a :class:`ParquetSource` keep their types, codecs,
    metadata, and row groups of up to 64 MiB; those of other sources become strings.

    Args:
        path: the file; standard output when None.
        source: where the records come from.
        columns: the columns to add.
        options: whether to replace the file.

    Raises:
        InputError: the source has such columns already, or the name asks for a compression around the file; see also
            :class:`toxonnx.io.atomic.AtomicFile`.
        MachineError: see there.
    """

    def __init__(
        self, path: AnyPath | None, source: Source[Any], columns: OutputColumns, options: WriteOptions
    ) -> None:
        if path is not None and compression_of_name(as_location(path)):
            raise InputError(f"{path}: Parquet is compressed inside", f"Name it {as_location(path).with_suffix('')}.")
        self._columns = columns
        self._values: Callable[[Any], list[str] | None] | None = None
        if isinstance(source, ParquetSource):
            self._schema, settings = source.schema, Settings.of(source.file.metadata)
        else:
            self._values = source.value_getter(source.columns)
            self._schema, settings = pa.schema({name: pa.string() for name in source.columns}), Settings()
        #: see :attr:`toxonnx.io.base.Sink.columns`
        self.columns = columns.nested_names(self._schema.names)
        self._added = [pa.field(name, self._type(kind)) for name, kind in zip(self.columns, columns.kinds, strict=True)]
        metadata = {**(self._schema.metadata or {}), **settings.metadata}
        self._output_schema = pa.schema([*self._schema, *self._added], metadata)
        self._arguments = settings.arguments(self._added)
        self._path, self._options = path, options
        self._store: RowStore | None = None
        if options.partial is not None:
            where = options.partial.path
            self._store = RowStore(where.with_name("rows"), self._output_schema, options.partial.size)
        else:
            self._open()

    def _open(self) -> None:
        self._file: OutputFile = open_output(self._path, self._options)
        self._groups = RowGroups(self._file, self._output_schema, len(self._schema), self._arguments)

    def _type(self, kind: str) -> pa.DataType:
        if kind == "label":
            return pa.list_(pa.string()) if self._columns.multi else pa.dictionary(pa.int32(), pa.string())
        if kind == "probabilities":
            return pa.struct([pa.field(label, pa.float32()) for label in self._columns.labels])
        if kind == "error":
            return pa.string()
        return {"score": pa.float32(), "stage": pa.int8()}.get(kind, pa.bool_())

    def write(self, records: Sequence[Any], scores: Scores, errors: Sequence[str | None] | None = None) -> None:
        """See :meth:`toxonnx.io.base.Sink.write`."""
        added = [
            self._array(kind, values)
            for kind, values in zip(self._columns.kinds, self._columns.values(scores), strict=True)
        ]
        if errors is not None:
            added = self._without_rejected(added, errors)
        if self._values is None:
            runs = self._runs(records if errors is None else [_record(record) for record in records])
        else:
            values = list(map(self._strings, records))
            is_row = pa.array([row is not None for row in values], pa.bool_())
            added = [one.filter(is_row) for one in added]
            rows = [row for row in values if row is not None]
            runs = iter([(None, [pa.array(column, pa.string()) for column in zip(*rows, strict=True)])] if rows else [])
        target = self._store or self._groups
        start = 0
        for group, columns in runs:
            count = len(columns[0])
            arrays = [*columns, *(one.slice(start, count) for one in added)]
            target.add(group, pa.RecordBatch.from_arrays(arrays, schema=self._output_schema))
            start += count

    def checkpoint(self) -> int:
        """See :meth:`toxonnx.io.base.Sink.checkpoint`."""
        return 0 if self._store is None else self._store.checkpoint()

    def _without_rejected(self, added: Sequence[pa.Array], errors: Sequence[str | None]) -> list[pa.Array]:
        """The arrays with nulls where there is an error, and the errors."""
        places = pa.array([number if error is None else None for number, error in enumerate(errors)], pa.int64())
        texts = pa.array(errors, pa.string())
        return [
            texts if kind == "error" else one.take(places) for kind, one in zip(self._columns.kinds, added, strict=True)
        ]

    def _strings(self, record: Any) -> Sequence[str | None] | None:
        """The values of a record of another format; nulls for a rejected one."""
        assert self._values is not None
        return [None] * len(self._schema) if isinstance(record, Rejected) else self._values(record)

    def _runs(self, records: Sequence[ParquetRecord]) -> Iterator[tuple[Group, list[pa.Array]]]:
        """The columns of records that were read together, with the number of their row group."""
        for piece, run in groupby(records, key=lambda record: record.slice):
            places = [record.place for record in run]
            is_whole = places[-1] - places[0] + 1 == len(places)
            rows = piece.rows.slice(places[0], len(places)) if is_whole else piece.rows.take(pa.array(places))
            yield piece.group, rows.columns

    def _array(self, kind: str, values: Any) -> pa.Array:
        if kind == "label" and self._columns.multi:
            return pa.array(map(list, values), self._type(kind))
        if kind == "label":
            numbers = {name: number for number, name in enumerate(self._columns.labels)}
            indices = pa.array([numbers[names[0]] for names in values], pa.int32())
            return pa.DictionaryArray.from_arrays(indices, pa.array(self._columns.labels, pa.string()))
        if kind == "error":
            return pa.array(values, pa.string())
        if kind == "probabilities":
            return pa.StructArray.from_arrays(
                [pa.array(column, pa.float32()) for column in values.astype("float32").T], fields=list(self._type(kind))
            )
        return pa.array(values.astype("float32") if kind == "score" else values)

    def __enter__(self) -> ParquetSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._store is not None:
            try:
                if kind is None:
                    self._write_stored(self._store)
            finally:
                self._store.close()
            return
        try:
            self._groups.close(is_complete=kind is None)
        except BaseException as failure:
            self._file.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._file.__exit__(kind, error, tb)

    def _write_stored(self, store: RowStore) -> None:
        """Writes the file, now that all rows are there."""
        assert self._options.partial is not None
        self._options = replace(self._options, partial=self._options.partial._replace(size=0))
        self._open()
        with self._file:
            try:
                store.copy_to(self._groups)
            except BaseException:
                self._groups.close(is_complete=False)
                raise
            self._groups.close(is_complete=True)


def open_source(file: InputFile, options: ReadOptions) -> ParquetSource:
    """See :func:`toxonnx.io.base.open_source`. No option applies to Parquet."""
    return ParquetSource(file)


def open_sink(path: AnyPath | None, source: Source[Any], columns: OutputColumns, options: WriteOptions) -> ParquetSink:
    """See :func:`toxonnx.io.base.open_sink`."""
    require_flat(source, options)
    require_unique_names(source, "Parquet")
    return ParquetSink(path, source, columns, options)
