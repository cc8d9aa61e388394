"""Writes CSV and TSV: rows come out as they went in, byte for byte, with columns appended."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable, Sequence
from itertools import compress
from types import TracebackType
from typing import Any

from toxonnx.inference.scores import Scores
from toxonnx.io.base import Source, WriteOptions, open_output
from toxonnx.io.csv_reader import DEFAULT_DELIMITERS, CsvSource
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.remote import AnyPath

__all__ = ["CsvSink"]

#: how the values of a column are written; flags as 0 and 1
_PATTERNS = {"label": "%s", "score": "%.6f", "probabilities": "%.6f", "error": "%s"}


#: what makes a spreadsheet run a cell as a formula (OWASP, CSV Injection), full-width characters included
_FORMULA = re.compile("[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?%?")


def _guarded(cell: str) -> str:
    """A cell that no spreadsheet runs: one that would be a formula starts with an apostrophe."""
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


class CsvSink:
    """Writes the records of a source as CSV or TSV, with scores appended to each row.

    Records of a :class:`CsvSource` of the same format keep their bytes. Those of other sources must be flat.

    Args:
        path: the file; standard output when None.
        source: gives the columns, and if it is a :class:`CsvSource`, the encoding.
        columns: the columns to add.
        options: ``csv`` or ``tsv``, whether to replace the file, and whether to guard cells.

    Raises:
        InputError: the source has such columns already; see also :class:`toxonnx.io.atomic.AtomicFile`.
        MachineError: see there.
    """

    def __init__(
        self, path: AnyPath | None, source: Source[Any], columns: OutputColumns, options: WriteOptions
    ) -> None:
        self._columns = columns
        #: see :attr:`toxonnx.io.base.Sink.columns`
        self.columns = columns.flat_names(source.columns)
        self._delimiter = DEFAULT_DELIMITERS[options.format or "csv"]
        self._escape_char: str | None = None
        encoding, header, self._start, end = "utf-8", True, "", "\n"
        self._values: Callable[[Any], list[str] | None] | None = source.value_getter(source.columns)
        self._is_guarded = options.spreadsheet_safe
        if isinstance(source, CsvSource):
            encoding, header, self._start = source.encoding, source.has_header, source.byte_order_mark
            if source.format == options.format or source.delimiter == self._delimiter:
                self._delimiter, self._escape_char = source.delimiter, source.escape_char
                self._start += source.preamble
                end = source.header.end if source.header else ""
                if not self._is_guarded:  # rows are copied
                    self._values = None
        copied_names = source.header.raw if isinstance(source, CsvSource) and source.header else ""
        names = copied_names if self._values is None else self._line(source.columns)
        if header:
            self._start += f"{names}{self._delimiter}{self._line(self.columns)}{end}"
        if not options.has_start:
            self._start = ""
        #: of a row that is rejected
        self._nulls = [kind for kind in columns.kinds for _ in self._names_of(kind)]
        self._width, self._end = len(source.columns), end or "\n"
        patterns = [_PATTERNS.get(kind, "%d") for kind in columns.kinds for _ in self._names_of(kind)]
        self._pattern = self._delimiter.replace("%", "%%").join(patterns)
        self._cells: dict[tuple[str, ...], str] = {}
        self._file = open_output(path, options, encoding=encoding)

    def _names_of(self, kind: str) -> Sequence[str]:
        return self._columns.labels if kind == "probabilities" else (kind,)

    def write(self, records: Sequence[Any], scores: Scores, errors: Sequence[str | None] | None = None) -> None:
        """See :meth:`toxonnx.io.base.Sink.write`."""
        if errors is None:
            self._file.write("".join(self._lines(records, scores)))
            return
        is_scored = [error is None for error in errors]
        lines = iter(self._lines(list(compress(records, is_scored)), scores.take(is_scored)))
        self._file.write("".join(next(lines) if error is None else self._rejected_line(error) for error in errors))

    def checkpoint(self) -> int:
        """See :meth:`toxonnx.io.base.Sink.checkpoint`."""
        return self._file.checkpoint()

    def _rejected_line(self, error: str) -> str:
        """A row without values: one with the bytes of the invalid row would be invalid as well."""
        added = [error if kind == "error" else "" for kind in self._nulls]
        return self._line([*[""] * self._width, *added]) + self._end

    def _lines(self, records: Sequence[Any], scores: Scores) -> list[str]:
        # With a GPU, these loops decide how many rows per second there are.
        delimiter, pattern = self._delimiter, self._pattern
        rows = zip(*self._added(scores), strict=True)
        lines = []
        if self._values is None:
            for record, row in zip(records, rows, strict=True):
                if not record.fields:  # a blank line is kept, and is not a row
                    lines.append(record.raw + record.end)
                else:
                    lines.append(f"{record.raw}{delimiter}{pattern % row}{record.end}")
        else:
            for record, row in zip(records, rows, strict=True):
                fields = self._values(record)
                lines.append("" if fields is None else f"{self._line(fields)}{delimiter}{pattern % row}{self._end}")
        return lines

    def _added(self, scores: Scores) -> list[list[Any]]:
        """The values of each column."""
        values: list[list[Any]] = []
        for kind, of_kind in zip(self._columns.kinds, self._columns.values(scores), strict=True):
            if kind == "label":
                values.append(list(map(self._cell, of_kind)))
            elif kind == "probabilities":
                values += of_kind.T.tolist()
            elif kind == "error":
                values.append([""] * len(of_kind))
            else:
                values.append(of_kind.tolist())
        return values

    def _cell(self, labels: tuple[str, ...]) -> str:
        """The cell of the labels that apply to a row: a label may contain the delimiter, a number never does."""
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = self._line(["|".join(labels)])
        return cell

    def _line(self, cells: Sequence[str]) -> str:
        buffer = io.StringIO()
        # Cells are quoted for the characters of the line terminator, among others.
        writer = csv.writer(buffer, delimiter=self._delimiter, escapechar=self._escape_char, lineterminator="\r\n")
        writer.writerow(map(_guarded, cells) if self._is_guarded else cells)
        return buffer.getvalue().removesuffix("\r\n")

    def __enter__(self) -> CsvSink:
        try:
            if self._file.is_new:
                self._file.write(self._start)
        except BaseException:  # a label that the encoding lacks, say: leave no partial file
            self._file.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.__exit__(kind, error, tb)
