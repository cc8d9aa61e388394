"""The lines of a text file that each record consists of, and what can be wrong with them."""

from __future__ import annotations

import io
from collections.abc import Iterator

from toxonnx.errors import RowError
from toxonnx.io.base import Position
from toxonnx.io.input_file import InputFile
from toxonnx.io.sniff import Sample

__all__ = ["ESCAPED_QUOTE", "ESCAPE_HINT", "MAX_RECORD", "LineRecorder"]

#: characters; a longer record is an open quote, or not a table
MAX_RECORD = 1 << 24

ESCAPED_QUOTE = '\\"'
ESCAPE_HINT = "Quotes or delimiters seem to be escaped by a backslash: add --escape-char '\\'."


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
                    raise self._open_quote("the file ends inside it")
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
                raise self._open_quote(f"the record runs on for over {MAX_RECORD >> 20} million characters")
            yield text

    def take(self) -> tuple[int, str]:
        """First line and text of the record that csv.reader has just completed."""
        lines = len(self.taken)
        text, line = self.taken[0] if lines == 1 else "".join(self.taken), self.line - lines + 1
        self.taken.clear()
        self.size = 0
        return line, text

    def _open_quote(self, why: str) -> RowError:
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
