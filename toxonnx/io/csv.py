"""CSV and TSV: rows come out as they went in, byte for byte, with columns appended.

A record keeps the text it was read from. The csv module decides where records and fields end; this module only
remembers what it consumed.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from toxonnx.errors import InputError, RowError
from toxonnx.inference.scores import Scores
from toxonnx.io.atomic import BUFFER_BYTES, AtomicFile
from toxonnx.io.base import ReadOptions, ReadWarning, Source
from toxonnx.io.line_recorder import ESCAPE_HINT, ESCAPED_QUOTE, MAX_RECORD, LineRecorder
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.sniff import DELIMITERS, Sample, find_byte_order_mark, refuse_other_formats

__all__ = ["CsvRecord", "CsvSink", "CsvSource", "open_sink", "open_source"]

#: a first line that only names the delimiter, as Excel writes and reads it
_SEPARATOR_LINE = re.compile(r'"?sep=(?![".0-9])([\t -~])"?[\r\n]*', re.IGNORECASE)

#: codecs of Python for host names, not for files
_NAME_CODECS = {"idna", "punycode"}

#: error handler of lenient reading; surrogateescape works only for encodings that extend ASCII
_LENIENT = "toxonnx-lone-surrogate"


def _as_lone_surrogate(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_LENIENT, _as_lone_surrogate)


class CsvRecord(NamedTuple):
    """One record.

    Attributes:
        line: where its first line is, from 1.
        fields: its fields; empty for a blank line, which is not a row.
        raw: its text without the line end.
        end: that line end.
        end_position: characters of the input up to its end.
    """

    line: int
    fields: list[str]
    raw: str
    end: str
    end_position: int


class CsvSource:
    """Reads a CSV or (by its suffix) TSV file record by record, in bounded memory.

    Args:
        path: the file.
        options: how to read it.
        lenient: for diagnosing a file: rows come as they are, with any number of fields, and a byte that does not
            decode comes as a lone surrogate in any encoding; nothing is said about a header that may be a row.

    Raises:
        InputError: no such file, an empty file, another format, an unknown encoding, names in the header that repeat.
        RowError: while reading: wrong encoding, a NUL byte, a quote left open, a record whose number of fields differs
            from the header's.

    Warns:
        ReadWarning: the header looks like a row, or quotes look as if they were escaped by a backslash.
    """

    def __init__(self, path: str | Path, options: ReadOptions | None = None, *, lenient: bool = False) -> None:
        options = options or ReadOptions()
        self.path = Path(path)
        self._lenient = lenient
        self.has_header = options.has_header
        self.escape_char = _escape_char(options.escape_char)
        default = "\t" if self.path.suffix.lower() in {".tsv", ".tab"} else ","
        self.delimiter = _delimiter(default if options.delimiter is None else options.delimiter)
        if self.escape_char == self.delimiter:
            raise InputError(f"the escape character and the delimiter are both {self.delimiter!r}")
        try:
            encoding = codecs.lookup("utf-8" if options.encoding is None else options.encoding).name
            if encoding in _NAME_CODECS:
                raise LookupError(encoding)
            "".encode(encoding)  # refuses codecs that are not text encodings
            binary: Any = open(self.path, "rb", buffering=BUFFER_BYTES)  # noqa: SIM115  (closed by __exit__)
        except (LookupError, UnicodeError):
            raise InputError(f"unknown encoding {options.encoding!r}") from None
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}") from None
        try:
            self._open(binary, encoding, options)
        except BaseException:
            binary.close()
            raise

    def _open(self, binary: Any, encoding: str, options: ReadOptions) -> None:
        start = binary.peek(BUFFER_BYTES)
        refuse_other_formats(self.path, start)
        sample = Sample(start=start, encoding=encoding, delimiter=self.delimiter, has_header=self.has_header)
        self._sample, mark = find_byte_order_mark(self.path, sample)
        self.encoding = self._sample.encoding
        self.byte_order_mark = "\ufeff" if mark else ""
        binary.read(mark)
        self.size = os.fstat(binary.fileno()).st_size if binary.seekable() else None
        self._binary: Any = binary
        errors = _LENIENT if self._lenient else "strict"
        self._text = io.TextIOWrapper(binary, encoding=self.encoding, errors=errors, newline="")
        self._recorder = LineRecorder(self._text, self.path, self._sample)
        lines = iter(self._recorder)
        first = next(lines, None)
        separator = _SEPARATOR_LINE.fullmatch(first or "")
        #: text above the header; part of the file, but not of the table
        self.preamble = ""
        if separator and first is not None:
            self.preamble = self._recorder.take()[1]
            self.delimiter = self.delimiter if options.delimiter is not None else _delimiter(separator[1])
            below = self._sample.start[len(self.preamble.encode(self.encoding)) :]
            self._sample = replace(self._sample, start=below, delimiter=self.delimiter, skipped_lines=1)
            self._recorder.sample = self._sample
        elif first is not None:
            lines = chain([first], lines)
        # The limit guards nothing that MAX_RECORD does not, and its default refuses long texts.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD))
        self._csv = csv.reader(lines, delimiter=self.delimiter, escapechar=self.escape_char)
        self._all_records = self._records()
        self.header = self._read_header()

    def _read_header(self) -> CsvRecord | None:
        """The header; without one, only the number of columns is taken from the first row."""
        skipped = []
        for first in self._all_records:
            if first.fields or self.has_header:
                break
            skipped.append(first)
        else:
            raise InputError(f"{self.path} is empty", "The first line must contain the column names." * self.has_header)
        if not self.has_header:
            self.columns = [f"column_{i}" for i in range(1, len(first.fields) + 1)]
            self._all_records = chain(skipped, [first], self._all_records)
            return None
        if not any(field.strip() for field in first.fields):
            raise RowError(
                self.path, first.line, "the header is blank", "The first line must contain the column names."
            )
        repeated = sorted({name for name in first.fields if name and first.fields.count(name) > 1})
        if repeated:
            # Where the line is a row, these are no names but texts.
            names = "a value" if self._sample.header_is_data else f"the column {', '.join(map(repr, repeated))}"
            raise RowError(self.path, first.line, f"the header repeats {names}", self.columns_hint)
        self.columns = first.fields
        return first

    @property
    def columns_hint(self) -> str:
        """See :attr:`toxonnx.io.base.Source.columns_hint`."""
        return self._sample.columns_hint()

    def value_getter(self, columns: Sequence[str]) -> Callable[[CsvRecord], list[str] | None]:
        """See :meth:`toxonnx.io.base.Source.value_getter`."""
        indices = [self.columns.index(name) for name in columns]
        if len(indices) == 1:
            (index,) = indices
            return lambda record: [record.fields[index]] if record.fields else None
        if not indices:
            return lambda record: [] if record.fields else None
        pick = itemgetter(*indices)
        return lambda record: list(pick(record.fields)) if record.fields else None

    def bytes_done(self, position: int) -> float:
        """See :meth:`toxonnx.io.base.Source.bytes_done`; 0 for a pipe."""
        if self.size is None:
            return 0.0
        return float(self._binary.tell() * position / max(self._recorder.characters, 1))

    def _records(self) -> Iterator[CsvRecord]:
        recorder = self._recorder
        for fields in self._csv:
            line, text = recorder.take()
            raw = text.rstrip("\r\n")
            yield CsvRecord(line, fields, raw, text[len(raw) :], recorder.characters)

    def _warn(self, message: str) -> None:
        warnings.warn(f"{self.path}: {message}", ReadWarning, stacklevel=3)

    def __iter__(self) -> Iterator[CsvRecord]:
        """The rows, in order. A blank line comes as a record without fields."""
        if not self._lenient and self._sample.header_is_data:
            self._warn("the first line looks like a row, not like a header; if it is one, use --no-header")
        width = len(self.columns)
        # A closing quote is followed by a delimiter or a line end, and one inside a field is doubled.
        escaped = None if self.escape_char else re.compile(rf'\\"[^"\r\n{re.escape(self.delimiter)}]')
        try:
            for record in self._all_records:
                if len(record.fields) != width and record.fields and not self._lenient:
                    raise self._ragged(record)
                if escaped and ESCAPED_QUOTE in record.raw and escaped.search(record.raw):
                    what = f"line {record.line}: quotes seem to be escaped by a backslash"
                    self._warn(f"{what}; if so, use --escape-char '\\'")
                    escaped = None
                yield record
        except csv.Error as error:
            raise RowError(self.path, self._recorder.line, f"not a CSV record: {error}") from None

    def _ragged(self, record: CsvRecord) -> RowError:
        first = "header" if self.has_header else "first row"
        what = f"{len(record.fields)} fields, the {first} has {len(self.columns)}"
        hint = f"Quote fields that contain the delimiter {self.delimiter!r}."
        escaped = ESCAPED_QUOTE in record.raw or f"\\{self.delimiter}" in record.raw
        hint = ESCAPE_HINT if escaped and not self.escape_char else self.columns_hint or hint
        return RowError(self.path, record.line, what, hint)

    def __enter__(self) -> CsvSource:
        return self

    def __exit__(self, *_: object) -> None:
        # A thread may be blocked inside the buffer of a pipe, and closing the buffer would wait for it.
        (self._text if self.size is not None else self._binary.raw).close()


def _delimiter(wanted: str) -> str:
    delimiter = {**DELIMITERS, "\\t": "\t"}.get(wanted, wanted)
    if len(delimiter) != 1 or delimiter in '"\r\n.0123456789':
        names = ", ".join(DELIMITERS)
        raise InputError(f"the delimiter {wanted!r} is not a single usable character", f"These have names: {names}.")
    return delimiter


def _escape_char(wanted: str | None) -> str | None:
    if wanted is not None and (len(wanted) != 1 or wanted in '"\r\n'):
        raise InputError(f"the escape character {wanted!r} is not a single usable character")
    return wanted


#: how the values of a column are written; flags as 0 and 1
_FORMATS = {"label": "%s", "score": "%.6f", "probabilities": "%.6f"}


class CsvSink:
    """Writes the records of a :class:`CsvSource` back, with scores appended to each row.

    Args:
        path: the file; standard output when None.
        source: gives the header, the dialect and the encoding.
        columns: the columns to add.
        force: replace the file if it exists.

    Raises:
        InputError, MachineError: see :class:`toxonnx.io.atomic.AtomicFile`.
    """

    def __init__(
        self, path: str | Path | None, source: CsvSource, columns: OutputColumns, *, force: bool = False
    ) -> None:
        self._delimiter, self._escape_char = source.delimiter, source.escape_char
        self._columns = columns
        formats = [_FORMATS.get(column.kind, "%d") for column in columns.columns]
        self._pattern = self._delimiter.replace("%", "%%").join(formats)
        self._start = source.byte_order_mark + source.preamble
        if header := source.header:
            self._start += f"{header.raw}{self._delimiter}{self._line(columns.names)}{header.end}"
        self._cells: dict[tuple[str, ...], str] = {}
        self._file = AtomicFile(path, encoding=source.encoding, force=force)

    def write(self, records: Sequence[CsvRecord], scores: Scores) -> None:
        """See :meth:`toxonnx.io.base.Sink.write`."""
        # With a GPU, this loop decides how many rows per second there are.
        delimiter, pattern = self._delimiter, self._pattern
        values = self._columns.values(scores)
        for i, column in enumerate(self._columns.columns):
            if column.kind == "label":
                values[i] = list(map(self._cell, values[i]))
        lines = []
        for record, row in zip(records, zip(*values, strict=True), strict=True):
            if not record.fields:  # a blank line is kept, and is not a row
                lines.append(record.raw + record.end)
            else:
                lines.append(f"{record.raw}{delimiter}{pattern % row}{record.end}")
        self._file.write("".join(lines))

    def _cell(self, labels: tuple[str, ...]) -> str:
        """The cell of the labels that apply to a row: a label may contain the delimiter, a number never does."""
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = self._line(["|".join(labels)])
        return cell

    def _line(self, cells: Sequence[str]) -> str:
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter=self._delimiter, escapechar=self._escape_char, lineterminator="")
        writer.writerow(cells)
        return buffer.getvalue()

    def __enter__(self) -> CsvSink:
        try:
            self._file.write(self._start)
        except BaseException:  # a label that the encoding lacks, say: leave no partial file
            self._file.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.__exit__(kind, error, tb)


def open_source(path: str | Path, options: ReadOptions) -> CsvSource:
    """See :func:`toxonnx.io.base.open_source`."""
    return CsvSource(path, options)


def open_sink(path: str | Path | None, source: Source[Any], columns: OutputColumns, *, force: bool = False) -> CsvSink:
    """See :func:`toxonnx.io.base.open_sink`."""
    if not isinstance(source, CsvSource):
        raise TypeError(f"a CSV sink writes what a CSV source read, not {type(source).__name__}")
    return CsvSink(path, source, columns, force=force)
