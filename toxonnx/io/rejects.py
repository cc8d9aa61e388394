"""Rows that cannot be scored: what a source yields in their place, and the file that lists them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from toxonnx.errors import InputError, RowError
from toxonnx.io.atomic import AtomicFile
from toxonnx.io.remote import Location
from toxonnx.io.undecodable import encoded

__all__ = ["MAX_RAW", "ErrorType", "RejectLimitError", "Rejected", "Rejects", "join_rejects", "with_rejected"]

#: characters of a rejected row, in the file of rejects
MAX_RAW = 10_000


class ErrorType(StrEnum):
    """Why a row is rejected; the first ones are those of DuckDB's ``reject_errors``."""

    MISSING_COLUMNS = "MISSING COLUMNS"
    TOO_MANY_COLUMNS = "TOO MANY COLUMNS"
    UNQUOTED_VALUE = "UNQUOTED VALUE"  # a quote that is never closed
    LINE_SIZE = "LINE SIZE OVER MAXIMUM"
    INVALID_ENCODING = "INVALID ENCODING"
    CAST = "CAST"  # the text is not a string
    MISSING_VALUE = "MISSING VALUE"  # the text is null, or its key is missing
    NUL_BYTE = "NUL BYTE"
    INVALID_JSON = "INVALID JSON"
    INVALID_REQUEST = "INVALID REQUEST"  # JSON, but not a request that can be answered
    DAMAGED_FILE = "DAMAGED FILE"  # the rest of the file, in one


class Rejected(NamedTuple):
    """A row that cannot be scored, in the place of its record.

    Attributes:
        line: where it starts, from 1.
        end_position: as in :class:`toxonnx.io.base.Record`.
        next_line: line at which the next record starts.
        error_type: why.
        message: the same in words, without the text of the row.
        column: the column concerned, if it is a single one.
        raw: its first :data:`MAX_RAW` characters, with undecodable bytes as lone surrogates (see
            :mod:`toxonnx.io.undecodable`); empty for formats without lines.
        byte_position: bytes of the (decompressed) input before it; None if that is unknown.
        record: the record, if the row is valid and only has no text; its format can write it.
        is_settled: whether reading can continue after it.
    """

    line: int
    end_position: int
    next_line: int
    error_type: ErrorType
    message: str
    column: str = ""
    raw: str = ""
    byte_position: int | None = None
    record: Any = None
    is_settled: bool = True

    @property
    def is_row(self) -> bool:
        """Whether it is one row, not the damaged rest of a file."""
        return self.error_type is not ErrorType.DAMAGED_FILE


def with_rejected(source: Any, values: Callable[[Any], Any]) -> Iterator[Any]:
    """The records of a source that was opened with ``yield_rejected``, and :class:`Rejected` for all that have no text.

    Args:
        source: see :class:`toxonnx.io.base.Source`.
        values: its ``value_getter`` for the columns of the text.
    """
    last = None
    records = iter(source)
    while True:
        try:
            record = next(records)
        except StopIteration:
            return
        except InputError as error:  # nothing after it can be read
            offset, line = (0, 1) if last is None else source.position_after(last)
            yield Rejected(line, offset, line, ErrorType.DAMAGED_FILE, error.what)
            return
        if not isinstance(record, Rejected):
            try:
                values(record)
            except RowError as error:
                # Not the error itself: its traceback would be a reference cycle.
                record = _rejected(record, error, source.position_after(record).line)
        yield record
        last = record


def _rejected(record: Any, error: RowError, next_line: int) -> Rejected:
    end = record.end_position
    start = end - len(encoded(error.raw, "utf-8")) if error.raw else None
    kind, raw = ErrorType(error.error_type), error.raw[:MAX_RAW]
    return Rejected(record.line, end, next_line, kind, error.problem, error.column, raw, start, record)


#: undecodable bytes, and NUL, which many readers of CSV refuse; written as \xNN
_UNREADABLE = re.compile("[\0\udc00-\udcff]")


class RejectLimitError(InputError):
    """More rows were rejected than allowed."""


_HEADER = ("file", "line", "byte_position", "column_name", "error_type", "raw", "error_message")


class Rejects:
    """Counts rejected rows, of all files of a command, and lists them in a CSV file with DuckDB's columns.

    The file appears at the end, also if that is because there were more than ``limit``.

    Args:
        path: the file; None for none.
        keep: whether rejected rows are written without scores, or left out.
        limit: how many are allowed; any number when None.
        force: replace the file if it exists.
        size: bytes to keep of the file that an earlier process left; see :meth:`checkpoint`.
        before: how many rows that process rejected, which count for ``limit``.

    Raises:
        InputError: the file exists, or cannot be written.
        MachineError: see :class:`toxonnx.io.atomic.AtomicFile`.
    """

    def __init__(
        self,
        path: Location | None = None,
        *,
        keep: bool = False,
        limit: int | None = None,
        force: bool = False,
        size: int = 0,
        before: int = 0,
    ) -> None:
        self.keep, self._path, self._limit, self._count = keep, path, limit, before
        self._file = AtomicFile(path, force=force, size=size) if path is not None else None
        if self._file is not None and self._file.is_new:
            self._write(_HEADER)

    def add(self, name: str, rejected: Rejected, unit: str = "line") -> None:
        """Adds a row of the input ``name``, of which ``unit`` says what :attr:`Rejected.line` counts.

        Raises:
            RejectLimitError: it is one too many; it is in the file as well.
        """
        self._count += 1
        position = "" if rejected.byte_position is None else rejected.byte_position
        raw = rejected.raw.rstrip("\r\n")
        self._write((name, rejected.line, position, rejected.column, rejected.error_type, raw, rejected.message))
        if self._limit is not None and self._count > self._limit:
            found = f"{name}, {unit} {rejected.line}: {rejected.message}"
            listed = f"{self._path} lists them." if self._path else "List them with --rejects FILE."
            raise RejectLimitError(
                f"too many rows are rejected (--max-rejects {self._limit}), the last one is {found}", listed
            )

    def checkpoint(self) -> int:
        """Puts the list on the disk, where it stays if the command fails, and returns its size; 0 without a file."""
        if self._file is None:
            return 0
        size, self._file.is_kept = self._file.checkpoint(), True
        return size

    def discard(self) -> None:
        """Has nothing left if the command fails."""
        if self._file is not None:
            self._file.is_kept = False

    def _write(self, cells: tuple[Any, ...]) -> None:
        if self._file is not None:
            buffer = io.StringIO()
            csv.writer(buffer).writerow(cells)  # with \r\n it quotes cells that contain either
            line = _UNREADABLE.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", buffer.getvalue())
            self._file.write(line.encode("utf-8", "backslashreplace").decode())

    def __enter__(self) -> Rejects:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._file is not None:
            if isinstance(error, RejectLimitError):
                kind = error = tb = None
            self._file.__exit__(kind, error, tb)


def join_rejects(paths: Sequence[Path], target: Location, *, force: bool) -> None:
    """Joins lists of rejected rows to one.

    Raises:
        InputError, MachineError: see :class:`toxonnx.io.atomic.AtomicFile`.
    """
    with AtomicFile(target, force=force) as joined:
        for number, path in enumerate(paths):
            with open(path, encoding="utf-8", newline="") as file:
                header = file.readline()
                joined.write(header if number == 0 else "")
                for line in file:
                    joined.write(line)
