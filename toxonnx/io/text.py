"""Plain text, one text per line. Every line is a row, a blank one too. It is only read: it has no place for scores."""

from __future__ import annotations

import codecs
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from toxonnx.io.base import Position, ReadOptions, ReadWarning
from toxonnx.io.header import has_usual_text_column
from toxonnx.io.input_file import InputFile
from toxonnx.io.line_recorder import LineRecorder
from toxonnx.io.rejects import Rejected
from toxonnx.io.shards import divide_by_reading
from toxonnx.io.text_start import read_start
from toxonnx.io.undecodable import AS_SURROGATES

__all__ = ["TextRecord", "TextSource", "open_source"]

COLUMN = "text"
#: encodings in which a byte 0x0A is a line feed, and nothing else
_LINE_FEED_IS_A_BYTE = {"utf-8", "utf-8-sig", "ascii", "iso8859-1", "cp1252"}


class TextRecord(NamedTuple):
    """One line.

    Attributes:
        line: its number, from 1.
        text: the line without its end.
        end_position: bytes of the (decompressed) input up to its end.
    """

    line: int
    text: str
    end_position: int


class TextSource:
    """Reads a file line by line, in bounded memory, as a table with the column ``text``.

    Args:
        file: the input, from its start.
        options: its encoding.

    Raises:
        InputError: the encoding is unknown, or contradicts the first bytes.
        RowError: while reading: wrong encoding, a NUL byte, a line that is too long.

    Warns:
        ReadWarning: the first line looks like the header of a table.
    """

    #: see :class:`toxonnx.io.base.Source`
    format, unit, is_flat, columns_hint = "text", "line", True, ""

    def __init__(self, file: InputFile, options: ReadOptions) -> None:
        self._file, self.name = file, file.name
        sample, mark = read_start(file, options)
        self.columns = [COLUMN]
        self._encoding = codecs.lookup(sample.encoding).name
        self._yield_rejected = options.yield_rejected
        errors = AS_SURROGATES if options.yield_rejected else "strict"
        self._recorder = LineRecorder(file, sample, Position(mark, 1), errors=errors, newline="\n")
        first = sample.start.decode(sample.encoding, "replace").partition("\n")[0]
        names = re.split("[,;\t]", first)
        if len(names) > 1 and has_usual_text_column(names):
            message = "the first line looks like the header of a table; if it is one, use --input-format csv or tsv"
            warnings.warn(f"{file.name}: {message}", ReadWarning, stacklevel=2)

    def __iter__(self) -> Iterator[TextRecord | Rejected]:
        """The lines, in order."""
        recorder = self._recorder
        if self._yield_rejected:
            yield from self._all_lines()
            return
        for _ in recorder:
            line, text = recorder.take()
            yield TextRecord(line, text.removesuffix("\n").removesuffix("\r"), recorder.offset)

    def _all_lines(self) -> Iterator[TextRecord | Rejected]:
        start = self._recorder.offset
        while line := self._recorder.next_line():
            if line.error_type:
                yield self._recorder.rejected([line], start, line.error_type, line.problem)
            else:
                text = line.text.removesuffix("\n").removesuffix("\r")
                yield TextRecord(line.number, text, line.end_position)
            start = line.end_position

    def value_getter(self, columns: Sequence[str]) -> Callable[[TextRecord], list[str] | None]:
        """See :meth:`toxonnx.io.base.Source.value_getter`."""
        count = len(columns)
        return lambda record: [record.text] * count

    cell_getter = value_getter

    def can_continue_after(self, record: TextRecord | Rejected) -> bool:
        """See :meth:`toxonnx.io.base.Source.can_continue_after`."""
        return self._recorder.can_seek

    def position_after(self, record: TextRecord | Rejected) -> Position:
        """See :meth:`toxonnx.io.base.Source.position_after`."""
        return Position(record.end_position, record.line + 1)

    def seek(self, position: Position) -> None:
        """See :meth:`toxonnx.io.base.Source.seek`."""
        self._recorder.seek(position)

    @property
    def extent(self) -> int | None:
        """See :attr:`toxonnx.io.base.Source.extent`."""
        return self._file.extent

    def divide(self, offsets: Sequence[int]) -> list[Position]:
        """See :meth:`toxonnx.io.base.Source.divide`."""
        if self._encoding not in _LINE_FEED_IS_A_BYTE:
            return divide_by_reading(self, offsets)
        return [Position(*place) for place in self._file.line_starts(offsets)]

    def bytes_done(self, position: int) -> float:
        """See :meth:`toxonnx.io.base.Source.bytes_done`."""
        return self._file.bytes_done(position)

    @property
    def size(self) -> int | None:
        """See :attr:`toxonnx.io.base.Source.size`."""
        return self._file.size

    def __enter__(self) -> TextSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def open_source(file: InputFile, options: ReadOptions) -> TextSource:
    """See :func:`toxonnx.io.base.open_source`."""
    return TextSource(file, options)
