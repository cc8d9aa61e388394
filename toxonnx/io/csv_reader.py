"""Reads CSV and TSV. A record keeps the text it was read from.

The csv module decides where records and fields end; this module only remembers what it consumed.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from toxonnx.errors import InputError, RowError
from toxonnx.io.base import Position, ReadOptions, ReadWarning
from toxonnx.io.csv_recovery import RecoveringReader, is_strict
from toxonnx.io.input_file import InputFile
from toxonnx.io.line_recorder import ESCAPE_HINT, ESCAPED_QUOTE, MAX_RECORD, LineRecorder
from toxonnx.io.rejects import Rejected
from toxonnx.io.shards import divide_by_reading
from toxonnx.io.sniff import DELIMITERS, delimiter_name
from toxonnx.io.text_start import AUTO, read_start
from toxonnx.io.undecodable import AS_SURROGATES, UNDECODABLE
from toxonnx.wording import plural

__all__ = ["DEFAULT_DELIMITERS", "CsvRecord", "CsvSource"]

#: a first line that only names the delimiter, as Excel writes and reads it
_SEPARATOR_LINE = re.compile(r'"?sep=(?![".0-9])([\t -~])"?[\r\n]*', re.IGNORECASE)

DEFAULT_DELIMITERS = {"csv": ",", "tsv": "\t"}


class CsvRecord(NamedTuple):
    """One record.

    Attributes:
        line: where its first line is, from 1.
        fields: its fields; empty for a blank line, which is not a row.
        raw: its text without the line end.
        end: that line end.
        end_position: bytes of the (decompressed) input up to its end.
        is_settled: whether reading can continue after it; see :class:`toxonnx.io.csv_recovery.RecoveringReader`.
    """

    line: int
    fields: list[str]
    raw: str
    end: str
    end_position: int
    is_settled: bool = True


class CsvSource:
    """Reads a CSV or TSV file record by record, in bounded memory.

    Args:
        file: the input, from its start.
        options: how to read it.

    Raises:
        InputError: an empty file, another format, an unknown encoding, names in the header that repeat.
        RowError: while reading: wrong encoding, a NUL byte, a quote left open, a record whose number of fields differs
            from the header's.

    Warns:
        ReadWarning: the header looks like a row, or quotes look as if they were escaped by a backslash; what ``auto``
            stands for.
    """

    #: see :class:`toxonnx.io.base.Source`
    unit = "line"

    def __init__(self, file: InputFile, options: ReadOptions | None = None) -> None:
        self._options = options = options or ReadOptions()
        self._file, self.name, self.is_flat = file, file.name, True
        self.format = options.format or "csv"
        self.has_header = options.has_header
        self.escape_char = _escape_char(options.escape_char)
        self._sample, mark = read_start(file, options)
        self.encoding = self._sample.encoding
        self.byte_order_mark = "\ufeff" if mark else ""
        errors = AS_SURROGATES if options.lenient or options.yield_rejected else "strict"
        self._recorder = LineRecorder(file, self._sample, Position(mark, 1), errors=errors)
        lines = iter(self._recorder)
        first = next(lines, None)
        separator = _SEPARATOR_LINE.fullmatch(first or "")
        #: text above the header; part of the file, but not of the table
        self.preamble = ""
        if separator and first is not None:
            self.preamble = self._recorder.take()[1]
            below = self._sample.start[len(self.preamble.encode(self.encoding)) :]
            self._sample = replace(self._sample, start=below, skipped_lines=1)
        elif first is not None:
            lines = chain([first], lines)
        self.delimiter = self._choose_delimiter(separator[1] if separator else "")
        self._recorder.sample = self._sample = replace(self._sample, delimiter=self.delimiter)
        records = self._records(lines)
        read_ahead: list[CsvRecord] = []
        self.header = self._read_header(records, read_ahead)
        rest = self._records_or_rejected() if options.yield_rejected else records
        self._all_records: Iterator[Any] = chain(read_ahead, rest) if read_ahead else rest

    def _choose_delimiter(self, separator: str) -> str:
        """The delimiter, which ``separator`` names unless an option does."""
        wanted = self._options.delimiter
        if wanted == AUTO:
            delimiter = _delimiter(separator) if separator else self._sample.detect_delimiter()
            self._warn(f"the delimiter is taken to be {delimiter_name(delimiter)}")
        else:
            delimiter = _delimiter(wanted if wanted is not None else separator or DEFAULT_DELIMITERS[self.format])
        if self.escape_char == delimiter:
            raise InputError(
                f"{self.name}: the escape character and the delimiter are both {delimiter!r}",
                "Name another one with --escape-char or --delimiter.",
            )
        return delimiter

    def _read_header(self, records: Iterator[CsvRecord], read_ahead: list[CsvRecord]) -> CsvRecord | None:
        """The header; without one, only the number of columns is taken from the first row, and what was read for that
        is added to ``read_ahead``."""
        for first in records:
            if first.fields or self.has_header:
                break
            read_ahead.append(first)
        else:
            raise InputError(f"{self.name} is empty", "The first line must contain the column names." * self.has_header)
        if self._options.yield_rejected and UNDECODABLE.search(first.raw):
            raise RowError(self.name, first.line, f"not {self.encoding.upper()}", self._sample.encoding_hint())
        if not self.has_header:
            self.columns = [f"column_{i}" for i in range(1, len(first.fields) + 1)]
            read_ahead.append(first)
            return None
        if not any(field.strip() for field in first.fields):
            raise RowError(
                self.name, first.line, "the header is blank", "The first line must contain the column names."
            )
        repeated = sorted({name for name in first.fields if name and first.fields.count(name) > 1})
        if repeated:
            # Where the line is a row, these are no names but texts.
            names = "a value" if self._sample.header_is_data else f"the column {', '.join(map(repr, repeated))}"
            raise RowError(self.name, first.line, f"the header repeats {names}", self.columns_hint)
        self.columns = first.fields
        return first

    @property
    def columns_hint(self) -> str:
        """See :attr:`toxonnx.io.base.Source.columns_hint`."""
        return self._sample.columns_hint()

    def value_getter(self, columns: Sequence[str]) -> Callable[[CsvRecord], list[str] | None]:
        """See :meth:`toxonnx.io.base.Source.value_getter`."""
        is_all = list(columns) == self.columns  # several may have no name
        indices = list(range(len(columns))) if is_all else [self.columns.index(name) for name in columns]
        if len(indices) == 1:
            (index,) = indices
            return lambda record: [record.fields[index]] if record.fields else None
        if not indices:
            return lambda record: [] if record.fields else None
        pick = itemgetter(*indices)
        return lambda record: list(pick(record.fields)) if record.fields else None

    cell_getter = value_getter

    def can_continue_after(self, record: CsvRecord | Rejected) -> bool:
        """See :meth:`toxonnx.io.base.Source.can_continue_after`."""
        return record.is_settled and self._recorder.can_seek

    def position_after(self, record: CsvRecord | Rejected) -> Position:
        """See :meth:`toxonnx.io.base.Source.position_after`."""
        if isinstance(record, Rejected):
            return Position(record.end_position, record.next_line)
        text = record.raw + record.end
        lines = text.count("\n") + text.count("\r") - text.count("\r\n")
        return Position(record.end_position, record.line + max(lines, 1))

    def seek(self, position: Position) -> None:
        """See :meth:`toxonnx.io.base.Source.seek`."""
        self._recorder.seek(position)
        is_strict = not self._options.yield_rejected
        self._all_records = self._records(iter(self._recorder)) if is_strict else self._records_or_rejected()

    @property
    def extent(self) -> int | None:
        """See :attr:`toxonnx.io.base.Source.extent`."""
        return self._file.extent

    def divide(self, offsets: Sequence[int]) -> list[Position]:
        """See :meth:`toxonnx.io.base.Source.divide`."""
        return divide_by_reading(self, offsets)

    def bytes_done(self, position: int) -> float:
        """See :meth:`toxonnx.io.base.Source.bytes_done`."""
        return self._file.bytes_done(position)

    @property
    def size(self) -> int | None:
        """See :attr:`toxonnx.io.base.Source.size`."""
        return self._file.size

    def _records(self, lines: Iterator[str]) -> Iterator[CsvRecord]:
        recorder = self._recorder
        # The limit guards nothing that MAX_RECORD does not, and its default refuses long texts.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD))
        for fields in csv.reader(lines, delimiter=self.delimiter, escapechar=self.escape_char):
            if len(recorder.taken) > 1 and not (
                self._options.lenient or is_strict(recorder.taken, self.delimiter, self.escape_char)
            ):
                raise recorder.open_quote("the next quote does not end a field")
            line, text = recorder.take()
            raw = text.rstrip("\r\n")
            yield CsvRecord(line, fields, raw, text[len(raw) :], recorder.offset)

    def _records_or_rejected(self) -> Iterator[CsvRecord | Rejected]:
        for record in RecoveringReader(self._recorder, self.delimiter, self.escape_char, len(self.columns)):
            if isinstance(record, Rejected):
                yield record
                continue
            lines = record.lines
            text = lines[0].text if len(lines) == 1 else "".join(line.text for line in lines)
            raw = text.rstrip("\r\n")
            end = text[len(raw) :]
            yield CsvRecord(lines[0].number, record.fields, raw, end, lines[-1].end_position, record.is_settled)

    def _warn(self, message: str) -> None:
        warnings.warn(f"{self.name}: {message}", ReadWarning, stacklevel=3)

    def __iter__(self) -> Iterator[CsvRecord | Rejected]:
        """The rows, in order. A blank line comes as a record without fields."""
        if not self._options.lenient and self._sample.header_is_data:
            self._warn("the first line looks like a row, not like a header; if it is one, use --no-header")
        width, rejects = len(self.columns), self._options.yield_rejected
        # A closing quote is followed by a delimiter or a line end, and one inside a field is doubled.
        escaped = None if self.escape_char else re.compile(rf'\\"[^"\r\n{re.escape(self.delimiter)}]')
        try:
            for record in self._all_records:
                if rejects and isinstance(record, Rejected):
                    yield record
                    continue
                if len(record.fields) != width and record.fields and not self._options.lenient:
                    raise self._ragged(record)
                if escaped and ESCAPED_QUOTE in record.raw and escaped.search(record.raw):
                    what = f"line {record.line}: quotes seem to be escaped by a backslash"
                    self._warn(f"{what}; if so, use --escape-char '\\'")
                    escaped = None
                yield record
        except csv.Error as error:
            raise RowError(self.name, self._recorder.line, f"not a CSV record: {error}") from None

    def _ragged(self, record: CsvRecord) -> RowError:
        first = "header" if self.has_header else "first row"
        what = f"{plural(len(record.fields), 'field')}, the {first} has {len(self.columns)}"
        hint = f"Quote fields that contain the delimiter {self.delimiter!r}."
        escaped = ESCAPED_QUOTE in record.raw or f"\\{self.delimiter}" in record.raw
        hint = ESCAPE_HINT if escaped and not self.escape_char else self.columns_hint or hint
        return RowError(self.name, record.line, what, hint)

    def __enter__(self) -> CsvSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


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
