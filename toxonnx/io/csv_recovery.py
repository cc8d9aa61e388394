"""Records of a CSV file in which some are invalid: where an invalid one ends, and the next one starts."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from toxonnx.errors import InputError
from toxonnx.io.line_recorder import MAX_RECORD, Line, LineRecorder
from toxonnx.io.rejects import ErrorType, Rejected
from toxonnx.wording import plural

__all__ = ["Lines", "RecoveringReader", "is_strict"]

#: invalid records that start among the lines of an earlier one; after so many, those lines are read one by one
_MAX_RETRIES = 16

#: characters that a line counts in addition, since many short ones take as much memory
_LINE_COST = 100

_OPEN_QUOTE = "a quote is opened and not closed"


def is_strict(lines: Sequence[str], delimiter: str, escape_char: str | None) -> bool:
    """Whether in a record of several lines each quote that closes a field is followed by a delimiter or a line end.

    Where one is not, it was meant to open a later field, and the lines are several records of which the first has an
    open quote. A record of a single line is read as it is.
    """
    if len(lines) < 2:
        return True
    try:
        return len(list(csv.reader(lines, delimiter=delimiter, escapechar=escape_char, strict=True))) == 1
    except csv.Error:
        return False


class Lines(NamedTuple):
    """The lines of a record, its fields, and whether reading can continue after it."""

    lines: list[Line]
    fields: list[str]
    is_settled: bool


class RecoveringReader:
    """Reads records, and rejects those that are invalid by themselves.

    A record whose quote is never closed, or closed by one that opens a later field, is its first line only: reading
    continues at its second line, so that no row is lost inside it. Any other invalid record is rejected as a whole.

    Args:
        recorder: the input, in which bytes that cannot be decoded are lone surrogates.
        delimiter, escape_char: see :class:`toxonnx.io.base.ReadOptions`.
        width: fields of a record.
    """

    def __init__(self, recorder: LineRecorder, delimiter: str, escape_char: str | None, width: int) -> None:
        self._recorder, self._width = recorder, width
        self._delimiter, self._escape_char = delimiter, escape_char
        self._pending: deque[Line] = deque()
        self._offset = recorder.offset
        self._is_open = False
        # Hostile files could make each line start a record that runs to the end of the file.
        self._retries = 0
        self._last_line = 0  # of the invalid records so far

    def __iter__(self) -> Iterator[Lines | Rejected]:
        while True:
            taken: list[Line] = []
            try:
                fields = next(self._reader(self._feed(taken)), [])
                problem = self._problem(taken, fields)
            except csv.Error as error:
                problem = ErrorType.UNQUOTED_VALUE, f"not a CSV record: {error}"
            if not taken:
                return
            if problem and problem[0] is ErrorType.UNQUOTED_VALUE:
                self._resume_below(taken)
                taken = taken[:1]
            # Above that line, how records are read depends on the invalid ones before them.
            is_settled = taken[-1].number >= self._last_line
            if problem:
                yield self._recorder.rejected(taken, self._offset, *problem)._replace(is_settled=is_settled)
            else:
                yield Lines(taken, fields, is_settled)
            self._offset = taken[-1].end_position

    def _reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        return csv.reader(lines, delimiter=self._delimiter, escapechar=self._escape_char)

    def _feed(self, taken: list[Line]) -> Iterator[str]:
        """Lines until the record is complete. Where there are no more, or too many, it is open."""
        self._is_open, size = False, 0
        while True:
            try:
                line = self._pending.popleft() if self._pending else self._recorder.next_line()
            except InputError:  # damage, which is reported when nothing precedes it
                if not taken:
                    raise
                break
            if line is None:
                break
            taken.append(line)
            size += len(line.text) + _LINE_COST
            one_by_one = self._retries > _MAX_RETRIES and line.number <= self._last_line
            yield line.text
            if size > MAX_RECORD or one_by_one or line.error_type is ErrorType.LINE_SIZE:
                break
        self._is_open = bool(taken)

    def _problem(self, taken: list[Line], fields: list[str]) -> tuple[ErrorType, str] | None:
        if taken and taken[0].error_type is ErrorType.LINE_SIZE:
            return taken[0].error_type, taken[0].problem
        if self._is_open or not is_strict([line.text for line in taken], self._delimiter, self._escape_char):
            return ErrorType.UNQUOTED_VALUE, _OPEN_QUOTE
        for line in taken:
            if line.error_type:
                return line.error_type, line.problem
        if fields and len(fields) != self._width:
            kind = ErrorType.MISSING_COLUMNS if len(fields) < self._width else ErrorType.TOO_MANY_COLUMNS
            return kind, f"{plural(len(fields), 'field')} instead of {self._width}"
        return None

    def _resume_below(self, taken: list[Line]) -> None:
        """Has all lines but the first one read again."""
        self._retries = self._retries + 1 if taken[0].number <= self._last_line else 0
        self._last_line = max(self._last_line, taken[-1].number)
        self._pending.extendleft(reversed(taken[1:]))
