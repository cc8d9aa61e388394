"""The lines of a text file that each record consists of, and what can be wrong with them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import NamedTuple

from toxonnx.errors import InputError, RowError
from toxonnx.io.base import Position
from toxonnx.io.input_file import InputFile
from toxonnx.io.rejects import MAX_RAW, ErrorType, Rejected
from toxonnx.io.sniff import Sample
from toxonnx.io.undecodable import UNDECODABLE, encoded

__all__ = ["ESCAPED_QUOTE", "ESCAPE_HINT", "MAX_RECORD", "Line", "LineRecorder"]

#: characters; a longer record is an open quote, or not a table
MAX_RECORD = 1 << 24

_STATEFUL = re.compile("utf-7|hz|iso2022|unicode-escape|raw-unicode-escape")

ESCAPED_QUOTE = '\\"'
ESCAPE_HINT = "Quotes or delimiters seem to be escaped by a backslash: add --escape-char '\\'."


class Line(NamedTuple):
    """A line, whatever it contains.

    Attributes:
        number: from 1.
        text: the line with its end; the start of one that is too long.
        end_position: bytes of the input up to its end.
        error_type, problem: what is wrong with it, if anything.
    """

    number: int
    text: str
    end_position: int
    error_type: ErrorType | None = None
    problem: str = ""


class LineRecorder:
    """Feeds lines to a reader and remembers which ones the current record consists of.

    Args:
        file: the input, behind its byte-order mark.
        sample: its encoding, and hints for errors.
        start: where it is.
        errors: how to decode what is not in this encoding.
        newline: where lines end, see :func:`open`.
    """

    def __init__(
        self, file: InputFile, sample: Sample, start: Position, *, errors: str = "strict", newline: str = ""
    ) -> None:
        self._file, self._encoding, self._errors, self._newline = file, sample.encoding, errors, newline
        self._bytes_per_ascii = len("a".encode(sample.encoding))
        #: whether a text has as many bytes as it had: not where there are several ways to write the same text
        self.can_seek = not _STATEFUL.match(sample.encoding.replace("_", "-"))
        self.sample = sample
        self.taken: list[str] = []
        self._start(start)

    def _start(self, position: Position) -> None:
        self.line = position.line - 1  # lines taken so far
        self.offset = position.offset  # bytes of the input up to their end
        self.size = 0
        self.taken.clear()
        self._lines = io.TextIOWrapper(self._file.stream, self._encoding, self._errors, newline=self._newline)

    def seek(self, position: Position) -> None:
        """Continues at another place; iterate anew after that."""
        self._lines.detach()
        self._file.seek(position.offset)
        self._start(position)

    def __iter__(self) -> Iterator[str]:
        readline, taken = self._lines.readline, self.taken  # looked up once: this loop runs once per row
        while True:
            try:
                text = readline(MAX_RECORD + 1)
            except UnicodeDecodeError as error:
                raise self._undecodable(error) from None
            except UnicodeError as error:
                raise RowError(self._file.name, self.line + 1, f"not {self._encoding}: {error}") from None
            if not text:
                if taken:
                    raise self.open_quote("the file ends inside it")
                return
            self.line += 1
            if "\0" in text:
                raise RowError(
                    self._file.name,
                    self.line,
                    "a NUL byte, which no text file contains",
                    "Is the file UTF-16 (--encoding utf-16-le) or damaged?",
                )
            taken.append(text)
            size = len(text)
            self.size += size
            if text.isascii():
                self.offset += size * self._bytes_per_ascii
            else:
                self.offset += len(text.encode(self._encoding, "replace"))
            if size > MAX_RECORD:
                raise RowError(self._file.name, self.line, f"the line has over {MAX_RECORD >> 20} million characters")
            if self.size > MAX_RECORD:
                raise self.open_quote(f"the record runs on for over {MAX_RECORD >> 20} million characters")
            yield text

    def next_line(self) -> Line | None:
        """The next line, also if it is invalid, where others are taken by iterating; None at the end of the input.

        Bytes that cannot be decoded must be decoded to lone surrogates.

        Raises:
            InputError: the rest cannot be read.
        """
        try:
            text = part = self._lines.readline(MAX_RECORD + 1)
            if not text:
                return None
            self.line += 1
            self.offset += len(encoded(text, self._encoding))
            ends = ("\n", "\r") if self._newline == "" else "\n"
            while len(text) > MAX_RECORD and part and not part.endswith(ends):
                part = self._lines.readline(MAX_RECORD)
                self.offset += len(encoded(part, self._encoding))
        except UnicodeError as error:  # of a codec that cannot go on
            raise InputError(f"not {self._encoding}: {error}") from None
        if len(text) > MAX_RECORD:
            problem = f"the line has over {MAX_RECORD >> 20} million characters"
            return Line(self.line, text[:MAX_RAW], self.offset, ErrorType.LINE_SIZE, problem)
        if "\0" in text:
            return Line(self.line, text, self.offset, ErrorType.NUL_BYTE, "a NUL byte, which no text file contains")
        if not text.isascii() and (found := UNDECODABLE.search(text)):
            problem = f"not {self._encoding.upper()} (byte 0x{ord(found[0]) - 0xDC00:02x})"
            return Line(self.line, text, self.offset, ErrorType.INVALID_ENCODING, problem)
        return Line(self.line, text, self.offset)

    def rejected(self, lines: list[Line], start: int, error_type: ErrorType, problem: str) -> Rejected:
        """The record that consists of these lines, of which the first starts at byte ``start``."""
        raw = ""
        for line in lines:  # a record may be very long
            raw += line.text[: MAX_RAW - len(raw)]
        end, next_line = lines[-1].end_position, lines[-1].number + 1
        return Rejected(lines[0].number, end, next_line, error_type, problem, raw=raw, byte_position=start)

    def take(self) -> tuple[int, str]:
        """First line and text of the record that csv.reader has just completed."""
        lines = len(self.taken)
        text, line = self.taken[0] if lines == 1 else "".join(self.taken), self.line - lines + 1
        self.taken.clear()
        self.size = 0
        return line, text

    def open_quote(self, why: str) -> RowError:
        """The error for the lines that are taken, of which the first opens a quote."""
        line = self.line - len(self.taken) + 1
        hint = ESCAPE_HINT if any(ESCAPED_QUOTE in text for text in self.taken) else "Close or double the quote."
        return RowError(self._file.name, line, f"a quote is opened and never closed ({why})", hint)

    def _undecodable(self, error: UnicodeDecodeError) -> RowError:
        # The decoder works in blocks: no line of this one has been taken yet.
        before = error.object[: error.start].decode(self._encoding, "replace")
        line = self.line + len(io.StringIO(before + "?", newline=self._newline).readlines())
        return RowError(
            self._file.name,
            line,
            f"not {error.encoding.upper()} (byte 0x{error.object[error.start]:02x}: {error.reason})",
            self.sample.encoding_hint(),
        )
