"""CSV and TSV: rows come out as they went in, byte for byte, with columns appended.

A record keeps the text it was read from. The csv module decides where records and fields end; this module only
remembers what it consumed.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from toxonnx.errors import InputError, RowError
from toxonnx.inference.scores import Scores
from toxonnx.io.atomic import BUFFER_BYTES, AtomicFile
from toxonnx.io.base import ReadOptions, Source

__all__ = ["CsvRecord", "CsvSink", "CsvSource", "open_sink", "open_source"]

#: characters; a longer record is an open quote, or not a table
MAX_RECORD = 1 << 24

_BYTE_ORDER_MARKS = {"utf-8": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}

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


class _Recorder:
    """Feeds lines to csv.reader and remembers which ones the current record consists of."""

    def __init__(self, lines: IO[str], path: Path, encoding: str) -> None:
        self._lines, self._path, self._encoding = lines, path, encoding
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
        """First line and text of the record that csv.reader has just completed."""
        lines = len(self.taken)
        text, line = self.taken[0] if lines == 1 else "".join(self.taken), self.line - lines + 1
        self.taken.clear()
        self.size = 0
        return line, text

    def _open_quote(self, why: str) -> RowError:
        line = self.line - len(self.taken) + 1
        return RowError(self._path, line, f"a quote is opened and never closed ({why})", "Close or double the quote.")

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
        except (UnicodeDecodeError, OSError):
            pass
        return RowError(
            self._path,
            line,
            f"not {error.encoding.upper()} (byte 0x{error.object[error.start]:02x}: {error.reason})",
            "Give the file's encoding with --encoding, for example --encoding cp1252.",
        )


class CsvSource:
    """Reads a CSV or (by its suffix) TSV file record by record, in bounded memory.

    Args:
        path: the file.
        options: encoding and delimiter.
        lenient: for diagnosing a file: rows come as they are, with any number of fields, and a byte that does not
            decode comes as a lone surrogate in any encoding.

    Raises:
        InputError: no such file, an empty file, an unknown encoding, names in the header that repeat.
        RowError: while reading: wrong encoding, a NUL byte, a quote left open, a record whose number of fields differs
            from the header's.
    """

    def __init__(self, path: str | Path, options: ReadOptions | None = None, *, lenient: bool = False) -> None:
        options = options or ReadOptions()
        self.path = Path(path)
        self._lenient = lenient
        self.delimiter = _delimiter(self.path, options.delimiter)
        try:
            codec = codecs.lookup(options.encoding or "utf-8")
            "".encode(codec.name)  # refuses codecs that are not text encodings
            binary: Any = open(self.path, "rb", buffering=BUFFER_BYTES)  # noqa: SIM115  (closed by __exit__)
        except LookupError:
            raise InputError(f"unknown encoding {options.encoding!r}") from None
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}") from None
        try:
            self.encoding = self._skip_byte_order_mark(binary, codec.name, guess=options.encoding is None)
            self.size = os.fstat(binary.fileno()).st_size if binary.seekable() else None
            self._binary: Any = binary
            errors = _LENIENT if lenient else "strict"
            self._text = io.TextIOWrapper(binary, encoding=self.encoding, errors=errors, newline="")
            self._recorder = _Recorder(self._text, self.path, self.encoding)
            # The limit guards nothing that MAX_RECORD does not, and its default refuses long texts.
            csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD))
            self._csv = csv.reader(self._recorder, delimiter=self.delimiter)
            self.header = self._read_header()
        except BaseException:
            binary.close()
            raise

    def _skip_byte_order_mark(self, binary: io.BufferedReader, name: str, *, guess: bool) -> str:
        """Removes a byte-order mark and returns the encoding of what follows."""
        start = binary.peek(4)[:4]
        self.byte_order_mark = ""
        if start == b"PK\x03\x04":
            raise InputError(f"{self.path} is a workbook or a zip archive", "Save it as CSV (UTF-8) first.")
        found = next((codec for codec, mark in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)
        if guess and found not in {None, "utf-8"}:
            raise InputError(f"{self.path} looks like UTF-16", "Add --encoding utf-16.")
        if name == "utf-16" and found not in {"utf-16-le", "utf-16-be"}:
            raise InputError(f"{self.path} has no UTF-16 byte-order mark", "Use --encoding utf-16-le or utf-16-be.")
        if found and name in {found, "utf-16", "utf-8-sig"}:
            binary.read(len(_BYTE_ORDER_MARKS[found]))
            self.byte_order_mark = "\ufeff"
            return found
        return "utf-8" if name == "utf-8-sig" else name

    def _read_header(self) -> CsvRecord:
        header = next(self._records(), None)
        if header is None or not any(field.strip() for field in header.fields):
            raise InputError(f"{self.path} is empty", "The first line must contain the column names.")
        repeated = sorted({name for name in header.fields if name and header.fields.count(name) > 1})
        if repeated:
            raise RowError(self.path, 1, f"the header repeats the column {', '.join(map(repr, repeated))}")
        return header

    @property
    def columns(self) -> list[str]:
        """The names in the header."""
        return self.header.fields

    @property
    def columns_hint(self) -> str:
        """A delimiter that the header suggests, where it has a single column."""
        other = next((mark for mark in ";\t|" if mark in self.header.raw), None)
        if len(self.columns) > 1 or other is None:
            return ""
        return f"Only one column was found; is the delimiter {other!r}? Then add --delimiter '{other}'."

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

    def __iter__(self) -> Iterator[CsvRecord]:
        """Records after the header. A blank line comes as a record without fields."""
        width = len(self.columns)
        try:
            for record in self._records():
                if len(record.fields) != width and record.fields and not self._lenient:
                    raise RowError(
                        self.path,
                        record.line,
                        f"{len(record.fields)} fields, the header has {width}",
                        f"Quote fields that contain the delimiter {self.delimiter!r}.",
                    )
                yield record
        except csv.Error as error:
            raise RowError(self.path, self._recorder.line, f"not a CSV record: {error}") from None

    def __enter__(self) -> CsvSource:
        return self

    def __exit__(self, *_: object) -> None:
        # A thread may be blocked inside the buffer of a pipe, and closing the buffer would wait for it.
        (self._text if self.size is not None else self._binary.raw).close()


def _delimiter(path: Path, wanted: str | None) -> str:
    default = "\t" if path.suffix.lower() in {".tsv", ".tab"} else ","
    delimiter = {"\\t": "\t", "tab": "\t"}.get(wanted or default, wanted or default)
    if len(delimiter) != 1 or delimiter in '"\r\n.0123456789':
        raise InputError(f"the delimiter {wanted!r} is not a single usable character", "For a tab, use tab.")
    return delimiter


class CsvSink:
    """Writes the records of a :class:`CsvSource` back, with scores appended to each row.

    Args:
        path: the file; standard output when None.
        source: gives the header, the dialect and the encoding.
        added_columns: see :func:`toxonnx.io.base.open_sink`.
        force: replace the file if it exists.

    Raises:
        InputError, MachineError: see :class:`toxonnx.io.atomic.AtomicFile`.
    """

    def __init__(
        self, path: str | Path | None, source: CsvSource, added_columns: Sequence[str], *, force: bool = False
    ) -> None:
        self._delimiter = source.delimiter
        self._names = list(added_columns)
        header = source.header
        self._start = f"{source.byte_order_mark}{header.raw}{self._delimiter}{self._line(added_columns)}{header.end}"
        self._quoted: dict[tuple[str, ...], str] = {}
        self._file = AtomicFile(path, encoding=source.encoding, force=force)

    def write(self, records: Sequence[CsvRecord], scores: Scores) -> None:
        """See :meth:`toxonnx.io.base.Sink.write`."""
        # With a GPU, this loop decides how many rows per second there are.
        delimiter, review = self._delimiter, len(self._names) > 2 + len(scores.labels)
        formats = ["%s", *["%.6f"] * (1 + len(scores.labels)), *["%d"] * review]
        pattern = delimiter.replace("%", "%%").join(formats)
        needs_review = scores.needs_review.tolist() if review else [None] * len(records)
        columns = (
            records,
            scores.label_names,
            scores.top_scores.tolist(),
            scores.probabilities.tolist(),
            needs_review,
        )
        lines = []
        for record, names, score, probabilities, mark in zip(*columns, strict=True):
            if not record.fields:  # a blank line is kept, and is not a row
                lines.append(record.raw + record.end)
                continue
            label = self._quoted.get(names)
            if label is None:  # a label may contain the delimiter; a number never does
                label = self._quoted[names] = self._line(["|".join(names)])
            cells = pattern % (label, score, *probabilities, *((mark,) if review else ()))
            lines.append(f"{record.raw}{delimiter}{cells}{record.end}")
        self._file.write("".join(lines))

    def _line(self, cells: Sequence[str]) -> str:
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=self._delimiter, lineterminator="").writerow(cells)
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


def open_sink(
    path: str | Path | None, source: Source[Any], added_columns: Sequence[str], *, force: bool = False
) -> CsvSink:
    """See :func:`toxonnx.io.base.open_sink`."""
    if not isinstance(source, CsvSource):
        raise TypeError(f"a CSV sink writes what a CSV source read, not {type(source).__name__}")
    return CsvSink(path, source, added_columns, force=force)
