"""JSON lines: objects come out as they went in, byte for byte, with keys appended before the closing brace."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import TracebackType
from typing import Any, NamedTuple

from toxonnx.errors import InputError, RowError
from toxonnx.inference.scores import Scores
from toxonnx.io.base import Position, ReadOptions, Source, WriteOptions, open_output, require_flat, require_unique_names
from toxonnx.io.input_file import InputFile
from toxonnx.io.line_recorder import MAX_RECORD
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.rejects import MAX_RAW, ErrorType, Rejected
from toxonnx.io.remote import AnyPath

__all__ = ["JsonlRecord", "JsonlSink", "JsonlSource", "open_sink", "open_source"]

#: objects at the start of a file whose keys are its columns
_SAMPLE_OBJECTS = 100
#: of objects inside objects whose keys are columns
_DEPTH = 8
_WHITE_SPACE = " \t\r\n"


class _Number(str):
    """A number as it is written, of any size."""


_DECODER = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_Number)


class JsonlRecord(NamedTuple):
    """One line.

    Attributes:
        line: its number, from 1.
        fields: the object, with numbers as they are written; None for a blank line, which is not a row.
        raw: the line with its end; bytes that are not UTF-8 are lone surrogates.
        end_position: bytes of the (decompressed) input up to its end.
        error: why it cannot be read, if it cannot.
    """

    line: int
    fields: Mapping[str, Any] | None
    raw: str
    end_position: int
    error: RowError | None = None


class JsonlSource:
    """Reads a file of JSON lines object by object, in bounded memory.

    A line that is not an object is an error of that record only: ``value_getter`` raises it. Columns are the keys of
    the first objects. A key inside an object is named with dots, as in ``comment.text``; a key that contains a dot
    itself comes first.

    Args:
        file: the input, from its start.
        options: how to read it.

    Raises:
        InputError: the file is empty, or not UTF-8.
        RowError: no line of its start is an object; while reading: a line is too long.
    """

    #: see :class:`toxonnx.io.base.Source`
    format, unit, is_flat, columns_hint = "jsonl", "line", False, ""

    def __init__(self, file: InputFile, options: ReadOptions) -> None:
        self._file, self.name, self._yield_rejected = file, file.name, options.yield_rejected
        if (options.encoding or "auto").lower().replace("_", "-") not in {"auto", "utf-8", "utf8", "utf-8-sig"}:
            raise InputError(f"{file.name}: JSON lines are UTF-8", "Leave out --encoding, or convert it with iconv.")
        self._records = self._read(Position(0, 1))
        first = next(self._records, None)
        if first is None:
            raise InputError(f"{file.name} is empty")
        self._records = chain([first], self._records)
        lines = file.start.split(b"\n")[1:]  # of which the last may be cut; it is no object then
        others = (_parse(file.name, number, line)[1] for number, line in enumerate(lines[:_SAMPLE_OBJECTS], start=2))
        objects = [fields for fields in chain([_fields(first)], others) if fields]
        invalid = RowError(self.name, 1, first.message) if isinstance(first, Rejected) else first.error
        if not objects and invalid:
            raise invalid
        #: names of the keys at the top
        self.keys = list(dict.fromkeys(key for fields in objects for key in fields))
        self.columns = list(dict.fromkeys(name for fields in objects for name in _paths(fields)))

    def _read(self, position: Position) -> Iterator[JsonlRecord | Rejected]:
        offset, line = position
        readline, name = self._file.stream.readline, self.name
        while data := readline(MAX_RECORD + 1):
            start, offset = offset, offset + len(data)
            if len(data) > MAX_RECORD:
                if not self._yield_rejected:
                    raise _too_long(name, line)
                part = data
                while part and not part.endswith(b"\n"):
                    part = readline(MAX_RECORD)
                    offset += len(part)
            raw, fields, error = _parse(name, line, data)
            if error and self._yield_rejected:
                kind = ErrorType(error.error_type)
                yield Rejected(line, offset, line + 1, kind, error.problem, raw=raw[:MAX_RAW], byte_position=start)
            else:
                yield JsonlRecord(line, fields, raw, offset, error)
            line += 1

    def __iter__(self) -> Iterator[JsonlRecord | Rejected]:
        """The lines, in order. A blank one comes as a record without fields."""
        return iter(self._records)

    def value_getter(self, columns: Sequence[str]) -> Callable[[JsonlRecord], list[str] | None]:
        """See :meth:`toxonnx.io.base.Source.value_getter`."""

        def text(record: JsonlRecord, column: str) -> str:
            value = _find(record.fields or {}, column)
            if type(value) is not str:
                problem = "there is no key" if value is _MISSING else f"{_type_name(value)}, not a string, in"
                kind = ErrorType.MISSING_VALUE if value is _MISSING or value is None else ErrorType.CAST
                what = f"{problem} {column!r}"
                raise RowError(self.name, record.line, what, error_type=kind, column=column, raw=record.raw)
            return value

        return lambda record: None if _is_blank(record) else [text(record, column) for column in columns]

    def cell_getter(self, columns: Sequence[str]) -> Callable[[JsonlRecord], list[str] | None]:
        """See :meth:`toxonnx.io.base.Source.cell_getter`."""

        def cell(record: JsonlRecord, column: str) -> str:
            value = _find(record.fields or {}, column)
            if value is None or value is _MISSING:
                return ""
            try:
                return str(value) if isinstance(value, str) else _json(value)
            except RecursionError:
                raise RowError(self.name, record.line, f"{column!r} is nested too deeply") from None

        return lambda record: None if _is_blank(record) else [cell(record, column) for column in columns]

    def can_continue_after(self, record: JsonlRecord | Rejected) -> bool:
        """See :meth:`toxonnx.io.base.Source.can_continue_after`."""
        return True

    def position_after(self, record: JsonlRecord | Rejected) -> Position:
        """See :meth:`toxonnx.io.base.Source.position_after`."""
        return Position(record.end_position, record.line + 1)

    def seek(self, position: Position) -> None:
        """See :meth:`toxonnx.io.base.Source.seek`."""
        self._file.seek(position.offset)
        self._records = self._read(position)

    @property
    def extent(self) -> int | None:
        """See :attr:`toxonnx.io.base.Source.extent`."""
        return self._file.extent

    def divide(self, offsets: Sequence[int]) -> list[Position]:
        """See :meth:`toxonnx.io.base.Source.divide`."""
        return [Position(*place) for place in self._file.line_starts(offsets)]

    def bytes_done(self, position: int) -> float:
        """See :meth:`toxonnx.io.base.Source.bytes_done`."""
        return self._file.bytes_done(position)

    @property
    def size(self) -> int | None:
        """See :attr:`toxonnx.io.base.Source.size`."""
        return self._file.size

    def __enter__(self) -> JsonlSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _parse(name: str, line: int, data: bytes) -> tuple[str, dict[str, Any] | None, RowError | None]:
    """The text of a line, its object, and its error; neither of the latter for a blank line."""
    if len(data) > MAX_RECORD:
        return data[:MAX_RAW].decode("utf-8", "surrogateescape"), None, _too_long(name, line)
    raw = data.decode("utf-8", "surrogateescape")
    text = raw.removeprefix("\ufeff")  # also where files were joined
    if not text.strip(_WHITE_SPACE):
        return raw, None, None
    try:
        kind = ErrorType.INVALID_ENCODING
        data.decode("utf-8")
        kind = ErrorType.INVALID_JSON
        value = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        what, hint = f"not UTF-8 (byte 0x{data[error.start]:02x}: {error.reason})", "Convert the file with iconv."
    except json.JSONDecodeError as error:
        what, hint = f"not JSON (column {error.colno}: {error.msg})", "Each line must be one JSON object."
    except RecursionError:
        what, hint = "the JSON is nested too deeply", ""
    else:
        if isinstance(value, dict):
            return raw, value, None
        what, hint, kind = f"{_type_name(value)}, not a JSON object", "", ErrorType.CAST
    return raw, None, RowError(name, line, what, hint, error_type=kind)


def _too_long(name: str, line: int) -> RowError:
    what = f"the line has over {MAX_RECORD >> 20} million bytes"
    return RowError(name, line, what, error_type=ErrorType.LINE_SIZE)


def _fields(record: JsonlRecord | Rejected) -> Mapping[str, Any] | None:
    return None if isinstance(record, Rejected) else record.fields


def _is_blank(record: JsonlRecord) -> bool:
    if record.error:
        raise record.error
    return record.fields is None


_MISSING = object()


def _find(fields: Mapping[str, Any], name: str) -> Any:
    """The value at a name with dots; ``_MISSING`` if there is none."""
    if name in fields:
        return fields[name]
    dot = name.find(".")
    while dot >= 0:
        inside = fields.get(name[:dot])
        if isinstance(inside, dict) and (value := _find(inside, name[dot + 1 :])) is not _MISSING:
            return value
        dot = name.find(".", dot + 1)
    return _MISSING


def _paths(fields: Mapping[str, Any], depth: int = _DEPTH) -> Iterator[str]:
    """Names of the values that are not objects."""
    for key, value in fields.items():
        if isinstance(value, dict) and depth:
            yield from (f"{key}.{path}" for path in _paths(value, depth - 1))
        else:
            yield key


def _json(value: Any) -> str:
    """A value as JSON, with numbers as they were written."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_dumps(key)}: {_json(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    return str(value) if isinstance(value, _Number) else _dumps(value)


def _type_name(value: Any) -> str:
    names = {dict: "an object", list: "an array", bool: "true or false", type(None): "null", _Number: "a number"}
    return names.get(type(value), "a string")


class JsonlSink:
    """Writes the records of a source as JSON lines, with keys appended to each object.

    Objects of a :class:`JsonlSource` keep their bytes. Rows of other sources become objects of strings.

    Args:
        path: the file; standard output when None.
        source: where the records come from.
        columns: the keys to add.
        options: whether to replace the file.

    Raises:
        InputError: the source has such keys already; see also :class:`toxonnx.io.atomic.AtomicFile`.
        RowError: while writing: a later object has such a key.
        MachineError: see :class:`toxonnx.io.atomic.AtomicFile`.
    """

    def __init__(
        self, path: AnyPath | None, source: Source[Any], columns: OutputColumns, options: WriteOptions
    ) -> None:
        self._source, self._columns = source, columns
        #: see :attr:`toxonnx.io.base.Sink.columns`
        self.columns = columns.nested_names(source.keys if isinstance(source, JsonlSource) else source.columns)
        self._values = None if isinstance(source, JsonlSource) else source.value_getter(source.columns)
        self._pattern = ", ".join(
            f"{_dumps(name).replace('%', '%%')}: {self._pattern_of(kind)}"
            for name, kind in zip(self.columns, columns.kinds, strict=True)
        )
        #: of a row that is rejected
        self._nulls = ", ".join(
            f"{_dumps(name).replace('%', '%%')}: {'%s' if kind == 'error' else 'null'}"
            for name, kind in zip(self.columns, columns.kinds, strict=True)
        )
        self._labels: dict[tuple[str, ...], str] = {}
        self._file = open_output(path, options)

    def _pattern_of(self, kind: str) -> str:
        if kind == "probabilities":
            return "{" + ", ".join(f"{_dumps(label).replace('%', '%%')}: %.6f" for label in self._columns.labels) + "}"
        return "%.6f" if kind == "score" else "%s"

    def write(self, records: Sequence[Any], scores: Scores, errors: Sequence[str | None] | None = None) -> None:
        """See :meth:`toxonnx.io.base.Sink.write`."""
        added = [self._pattern % row for row in zip(*self._added(scores), strict=True)]
        if errors is None:
            lines = list(map(self._line, records, added))
        else:
            lines = [
                self._line(record, one) if error is None else self._rejected_line(record, error)
                for record, one, error in zip(records, added, errors, strict=True)
            ]
        self._file.write("".join(lines))

    def checkpoint(self) -> int:
        """See :meth:`toxonnx.io.base.Sink.checkpoint`."""
        return self._file.checkpoint()

    def _rejected_line(self, rejected: Rejected, error: str) -> str:
        """The object without scores; one with nothing else if the line is not an object."""
        nulls = self._nulls % ((_dumps(error),) * self._columns.kinds.count("error"))
        if rejected.record is not None:
            return self._line(rejected.record, nulls)
        names = [] if isinstance(self._source, JsonlSource) else self._source.columns
        return "{" + "".join(f"{_dumps(name)}: null, " for name in names) + nulls + "}\n"

    def _line(self, record: Any, added: str) -> str:
        if self._values is not None:
            values = self._values(record)
            if values is None:
                return ""
            return f"{_dumps(dict(zip(self._source.columns, values, strict=True)))[:-1]}, {added}}}\n"
        if record.fields is None:  # a blank line is kept, and is not a row
            return str(record.raw)
        if not record.fields.keys().isdisjoint(self.columns):
            taken = next(name for name in self.columns if name in record.fields)
            what, hint = f"the object already has the key {taken!r}", "Give the added ones other names with --prefix."
            raise RowError(self._source.name, record.line, what, hint)
        body = record.raw.rstrip(_WHITE_SPACE)
        return f"{body[:-1]}{', ' if record.fields else ''}{added}}}{record.raw[len(body) :]}"

    def _added(self, scores: Scores) -> Iterator[Iterable[Any]]:
        """The values for each ``%`` of the pattern."""
        for kind, values in zip(self._columns.kinds, self._columns.values(scores), strict=True):
            if kind == "label":
                yield [self._label(names) for names in values]
            elif kind == "probabilities":
                yield from values.T.tolist()
            elif kind in {"score", "stage"}:
                yield values.tolist()
            elif kind == "error":
                yield ["null"] * len(values)
            else:
                yield ["true" if value else "false" for value in values.tolist()]

    def _label(self, names: tuple[str, ...]) -> str:
        label = self._labels.get(names)
        if label is None:
            label = self._labels[names] = _dumps(list(names) if self._columns.multi else names[0])
        return label

    def __enter__(self) -> JsonlSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.__exit__(kind, error, tb)


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def open_source(file: InputFile, options: ReadOptions) -> JsonlSource:
    """See :func:`toxonnx.io.base.open_source`."""
    return JsonlSource(file, options)


def open_sink(path: AnyPath | None, source: Source[Any], columns: OutputColumns, options: WriteOptions) -> JsonlSink:
    """See :func:`toxonnx.io.base.open_sink`."""
    require_flat(source, options)
    require_unique_names(source, "JSON lines")
    return JsonlSink(path, source, columns, options)
