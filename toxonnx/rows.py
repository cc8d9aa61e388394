"""Streaming readers and writers that know where they are and change nothing that they were not asked to change.

A record is kept as the text it was read from, so that what is written out is what came in, byte for byte, with
columns appended. The csv module decides where records and fields end; here we only remember what it consumed.
"""

from __future__ import annotations

import codecs
import csv
import errno
import io
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from toxonnx.errors import InputError, MachineError, RowError

__all__ = ["OutputFile", "Row", "RowReader", "Table", "read_table"]

#: characters; a record over this is a quote that was left open, or no table
MAX_RECORD = 1 << 24
#: bytes; each call into the system lets another thread run, and costs more than it reads or writes
BUFFER = 1 << 20


_MARKS = {"utf-8": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}

#: how bytes that do not decode are read by who looks for them; surrogateescape knows only encodings like ASCII
_LENIENT = "toxonnx-lone-surrogate"


def _as_lone_surrogate(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_LENIENT, _as_lone_surrogate)


class Row(NamedTuple):
    """One record: where its first line is (from 1), its fields, its text without the line's end, and that end."""

    line: int
    fields: list[str]
    raw: str
    end: str


class _Recorder:
    """Feeds lines to csv.reader and keeps what the current record is made of."""

    def __init__(self, lines: IO[str], path: Path, encoding: str) -> None:
        self._lines, self._path, self._encoding = lines, path, encoding
        self.taken: list[str] = []
        self.size = 0
        self.line = 0  # lines taken so far
        self.characters = 0  # of these lines

    def __iter__(self) -> Iterator[str]:
        readline, taken = self._lines.readline, self.taken  # once a row: see annotate
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
                    "a NUL byte, which no CSV text holds",
                    "Is the file UTF-16 (--encoding utf-16) or damaged?",
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
        """First line and text of the record that csv.reader has just ended."""
        lines = len(self.taken)
        text, line = self.taken[0] if lines == 1 else "".join(self.taken), self.line - lines + 1
        self.taken.clear()
        self.size = 0
        return line, text

    def _open_quote(self, why: str) -> RowError:
        line = self.line - len(self.taken) + 1
        return RowError(self._path, line, f"a quote is opened and never closed ({why})", "Close or double the quote.")

    def _undecodable(self, error: UnicodeDecodeError) -> RowError:
        # The decoder works in blocks, so the line has to be looked for.
        line = self.line + 1
        # Only where a line's end is a byte of its own can lines be found in bytes that do not decode.
        wide = self._encoding.startswith(("utf-16", "utf-32"))
        decoder = codecs.getincrementaldecoder(self._encoding)()
        try:
            with open(os.devnull if wide else self._path, "rb") as binary:
                for number, data in enumerate(binary, start=1):
                    line = number
                    decoder.decode(data)
        except (UnicodeDecodeError, OSError):
            pass
        return RowError(
            self._path,
            line,
            f"not {error.encoding.upper()} (byte 0x{error.object[error.start]:02x}: {error.reason})",
            "Name the file's encoding with --encoding, for example --encoding cp1252.",
        )


class RowReader:
    """Reads a CSV (or, by its suffix, a TSV) record by record, in bounded memory.

    Args:
        path: the file.
        encoding: a Python codec; UTF-8 with or without a byte-order mark when not given.
        delimiter: one character, or ``tab``; when not given, a tab for ``.tsv`` and ``.tab``, else a comma.
        lenient: for who looks for troubles: rows come as they are, however many fields they have, and a byte that does
            not decode comes as a lone surrogate, whatever the encoding.

    Raises:
        InputError: no such file, an empty file, an unknown encoding, names in the header that repeat.
        RowError: while reading: wrong encoding, a NUL byte, a quote left open, a record whose number of fields is not
            the header's.
    """

    def __init__(
        self, path: str | Path, encoding: str | None = None, delimiter: str | None = None, *, lenient: bool = False
    ) -> None:
        self.path = Path(path)
        self._lenient = lenient
        usual = "\t" if self.path.suffix.lower() in {".tsv", ".tab"} else ","
        self.delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter or usual, delimiter or usual)
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n.0123456789':
            raise InputError(f"the delimiter {delimiter!r} is not one character that can be one", "For a tab, say tab.")
        try:
            codec = codecs.lookup(encoding or "utf-8")
            "".encode(codec.name)  # refuses codecs that are no text encodings
            binary: Any = open(self.path, "rb", buffering=BUFFER)  # noqa: SIM115  (closed by __exit__)
        except LookupError:
            raise InputError(f"unknown encoding {encoding!r}") from None
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}") from None
        try:
            self.encoding = self._skip_mark(binary, codec.name, guess=encoding is None)
            self.size = os.fstat(binary.fileno()).st_size if binary.seekable() else None
            self._binary: Any = binary
            errors = _LENIENT if lenient else "strict"
            self._text = io.TextIOWrapper(binary, encoding=self.encoding, errors=errors, newline="")
            self._recorder = _Recorder(self._text, self.path, self.encoding)
            # The limit guards nothing that MAX_RECORD does not, and its default refuses long texts.
            csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD))
            self._csv = csv.reader(self._recorder, delimiter=self.delimiter)
            first = next(self._records(), None)
            if first is None or not any(field.strip() for field in first.fields):
                raise InputError(f"{self.path} is empty", "The first line has to name the columns.")
            self.header = first
            repeated = sorted({name for name in first.fields if name and first.fields.count(name) > 1})
            if repeated:
                raise RowError(self.path, 1, f"the header repeats the column {', '.join(map(repr, repeated))}")
        except BaseException:
            binary.close()
            raise

    def _skip_mark(self, binary: io.BufferedReader, name: str, *, guess: bool) -> str:
        """Takes a byte-order mark off the start and returns the encoding of what follows, mark or no mark."""
        start = binary.peek(4)[:4]
        self.mark = ""
        if start == b"PK\x03\x04":
            raise InputError(f"{self.path} is a workbook or a zip archive", "Save it as CSV (UTF-8) first.")
        found = next((codec for codec, mark in _MARKS.items() if start.startswith(mark)), None)
        if guess and found not in {None, "utf-8"}:
            raise InputError(f"{self.path} looks like UTF-16", "Add --encoding utf-16.")
        if name == "utf-16" and found not in {"utf-16-le", "utf-16-be"}:
            raise InputError(f"{self.path} has no UTF-16 byte-order mark", "Name utf-16-le or utf-16-be.")
        if found and name in {found, "utf-16", "utf-8-sig"}:
            binary.read(len(_MARKS[found]))
            self.mark = "\ufeff"
            return found
        return "utf-8" if name == "utf-8-sig" else name

    @property
    def columns(self) -> list[str]:
        """The header's names."""
        return self.header.fields

    def position(self, characters: int) -> float:
        """About how many bytes of the file the first ``characters`` read from it take."""
        if self.size is None:  # a pipe
            return 0.0
        return float(self._binary.tell() * characters / max(self._recorder.characters, 1))

    def _records(self) -> Iterator[Row]:
        for fields in self._csv:
            line, text = self._recorder.take()
            raw = text.rstrip("\r\n")
            yield Row(line, fields, raw, text[len(raw) :])

    def __iter__(self) -> Iterator[Row]:
        """Records after the header. A blank line comes as a row without fields."""
        width = len(self.columns)
        try:
            for row in self._records():
                if len(row.fields) != width and row.fields and not self._lenient:
                    raise RowError(
                        self.path,
                        row.line,
                        f"{len(row.fields)} fields, the header has {width}",
                        f"Quote fields that hold the delimiter {self.delimiter!r}.",
                    )
                yield row
        except csv.Error as error:
            raise RowError(self.path, self._recorder.line, f"not a CSV record: {error}") from None

    def __enter__(self) -> RowReader:
        return self

    def __exit__(self, *_: object) -> None:
        # A thread may be waiting inside the buffer of a pipe, and would have to be waited for.
        (self._text if self.size is not None else self._binary.raw).close()


class OutputFile:
    """A text file that appears under its name only when it is whole.

    Written beside its name first and moved there at the end; on any error nothing is left behind. A path that is no
    plain file (a pipe, ``/dev/stdout``) and standard output (``None``) are written as they are.

    Raises:
        InputError: the file exists and ``force`` was not given, or its folder cannot be written.
        MachineError: the disk is full, or another write failed.
    """

    def __init__(self, path: str | Path | None, *, encoding: str = "utf-8", force: bool = False) -> None:
        self.path = Path(path) if path is not None else None
        self._part: Path | None = None
        try:
            if self.path is None:
                target: int | Path = sys.stdout.fileno()
            elif _is_special(self.path):
                target = self.path
            else:
                if self.path.exists() and not force:
                    raise InputError(f"{self.path} exists already", "Add --force to replace it.")
                target = self._part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
            buffer = -1 if self._part is None else BUFFER  # who reads from a pipe does not want to wait
            self._file = open(  # noqa: SIM115
                target, "w", buffering=buffer, encoding=encoding, newline="", closefd=self.path is not None
            )
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}") from None

    def write(self, text: str) -> None:
        """Appends text as it is, without translating line ends."""
        try:
            self._file.write(text)
        except UnicodeEncodeError as error:
            raise InputError(
                f"{error.object[error.start]!r} cannot be written in {error.encoding}",
                "Convert the file to UTF-8 first: it is written in the encoding that it is read in.",
            ) from None
        except OSError as error:
            raise self._failed(error) from None

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self._file.flush()
            if self._part is not None and kind is None:
                os.fsync(self._file.fileno())
            self._file.close()
            if self._part is not None and kind is None and self.path is not None:
                os.replace(self._part, self.path)
                self._part = None
        except OSError as failure:
            if kind is None:
                raise self._failed(failure) from None
        finally:
            if self._part is not None:
                self._part.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> Exception:
        if isinstance(error, BrokenPipeError):
            return error
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        what = "the disk is full" if full else str(error.strerror)
        return MachineError(
            f"cannot write {self.path or 'standard output'}: {what}",
            "Nothing was left under that name; free some space and run the command again." if full else "",
        )


def _is_special(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


@dataclass(frozen=True)
class Table:
    """A whole file in memory, for training: column name -> values, and the line that each row starts at."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> list[str]:
        """The values of one column.

        Raises:
            InputError: no such column; lists the ones there are.
        """
        if name not in self.columns:
            listing = ", ".join(map(repr, self.columns))
            raise InputError(f"{self.path} has no column {name!r}", f"Its columns: {listing}.")
        return self.columns[name]


def read_table(
    path: str | Path, encoding: str | None = None, names: Sequence[str] | None = None, delimiter: str | None = None
) -> Table:
    """Reads the named columns (all, when none are named) of a file.

    Raises:
        InputError: see :class:`RowReader`; also a named column that is not there.
    """
    with RowReader(path, encoding, delimiter) as reader:
        for name in names or ():
            if name not in reader.columns:
                listing = ", ".join(map(repr, reader.columns))
                raise InputError(f"{path} has no column {name!r}", f"Its columns: {listing}.")
        kept = [(i, name) for i, name in enumerate(reader.columns) if names is None or name in names]
        columns: dict[str, list[str]] = {name: [] for _, name in kept}
        lines: list[int] = []
        for row in reader:
            if row.fields:
                lines.append(row.line)
                for i, name in kept:
                    columns[name].append(row.fields[i])
    return Table(Path(path), columns, lines)
