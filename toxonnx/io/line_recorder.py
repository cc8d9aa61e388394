"""The lines that each record of a CSV file consists of, and what can be wrong with them."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from toxonnx.errors import RowError
from toxonnx.io.sniff import Sample

__all__ = ["ESCAPED_QUOTE", "ESCAPE_HINT", "MAX_RECORD", "LineRecorder"]

#: characters; a longer record is an open quote, or not a table
MAX_RECORD = 1 << 24

ESCAPED_QUOTE = '\\"'
ESCAPE_HINT = "Quotes or delimiters seem to be escaped by a backslash: add --escape-char '\\'."


class LineRecorder:
    """Feeds lines to csv.reader and remembers which ones the current record consists of."""

    def __init__(self, lines: IO[str], path: Path, sample: Sample) -> None:
        self._lines, self._path, self._encoding = lines, path, sample.encoding
        self.sample = sample
        self.taken: list[str] = []
        self.size = 0
        self.line = 0  # lines taken so far
        self.characters = 0  # in these lines

    def __iter__(self) -> Iterator[str]:
        readline, taken = self._lines.readline, self.taken  # looked up once: this loop runs once per row
        while True:
            try:
                text = readline(MAX_RECORD + 1)
            except UnicodeDecodeError as error:
                raise self._undecodable(error) from None
            except UnicodeError as error:
                raise RowError(self._path, self.line + 1, f"not {self._encoding}: {error}") from None
            if not text:
                if taken:
                    raise self._open_quote("the file ends inside it")
                return
            self.line += 1
            if "\0" in text:
                raise RowError(
                    self._path,
                    self.line,
                    "a NUL byte, which no CSV text contains",
                    "Is the file UTF-16 (--encoding utf-16-le) or damaged?",
                )
            taken.append(text)
            size = len(text)
            self.size += size
            self.characters += size
            if size > MAX_RECORD:
                raise RowError(self._path, self.line, f"the line has over {MAX_RECORD >> 20} million characters")
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
        return RowError(self._path, line, f"a quote is opened and never closed ({why})", hint)

    def _undecodable(self, error: UnicodeDecodeError) -> RowError:
        # The decoder works in blocks, so the line has to be searched for.
        line = self.line + 1
        # Only where a line end is a byte of its own can lines be found in bytes that do not decode.
        wide = self._encoding.startswith(("utf-16", "utf-32"))
        decoder = codecs.getincrementaldecoder(self._encoding)()
        try:
            with open(os.devnull if wide else self._path, "rb") as binary:
                for number, data in enumerate(binary, start=1):
                    line = number
                    decoder.decode(data)
        except (UnicodeError, OSError):
            pass
        return RowError(
            self._path,
            line,
            f"not {error.encoding.upper()} (byte 0x{error.object[error.start]:02x}: {error.reason})",
            self.sample.encoding_hint(),
        )
