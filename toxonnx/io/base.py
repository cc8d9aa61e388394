"""The two ends of a stream of rows: a source yields records, a sink takes them back with their scores.

A file format is one module beside this one and one entry in :mod:`toxonnx.io.formats`. Nothing else in the package
knows what a CSV is: :mod:`toxonnx.predict` asks a source for the text columns of a record and hands the record to a
sink.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from toxonnx.errors import InputError
from toxonnx.extras import require
from toxonnx.inference.scores import Scores
from toxonnx.io.atomic import AtomicFile
from toxonnx.io.formats import FORMATS, format_of_name, output_format, syntax_of
from toxonnx.io.input_file import InputFile
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.output_file import OutputFile
from toxonnx.io.rejects import Rejected
from toxonnx.io.remote import AnyPath, as_location
from toxonnx.io.sniff import recognize
from toxonnx.wire.moderations import Moderator

__all__ = [
    "Partial",
    "Position",
    "ReadOptions",
    "ReadWarning",
    "Record",
    "Sink",
    "Source",
    "WriteOptions",
    "open_output",
    "open_sink",
    "open_source",
    "require_flat",
    "require_unique_names",
]


@dataclass(frozen=True)
class ReadOptions:
    """How to read a file. A format ignores what it has no use for: only CSV has delimiters.

    Attributes:
        encoding: a Python codec; UTF-8 when None; what the first MiB suggests when ``auto``.
        delimiter: one character or its name, such as ``tab``; when None, the one that a first line ``sep=;`` names,
            else a tab for TSV and a comma for CSV; what the first rows suggest when ``auto``.
        has_header: whether the first line names the columns; if not, they are ``column_1``, ``column_2``, ...
        escape_char: a character that makes the next one literal, such as a backslash before a quote; None if quotes
            are escaped by doubling them.
        format: a key of :data:`toxonnx.io.formats.FORMATS`; when None, by the suffix, else by the content.
        lenient: for diagnosing a CSV file: rows come as they are, with any number of fields, and a byte that does not
            decode comes as a lone surrogate in any encoding; nothing is said about a header that may be a row.
        yield_rejected: a row that cannot be read comes as :class:`toxonnx.io.rejects.Rejected` instead of raising
            RowError, and the next one is read. A header must be valid all the same.
    """

    encoding: str | None = None
    delimiter: str | None = None
    has_header: bool = True
    escape_char: str | None = None
    format: str | None = None
    lenient: bool = False
    yield_rejected: bool = False


class Partial(NamedTuple):
    """Where an output is written until it is complete, if a journal takes care of that.

    Attributes:
        path: the file.
        size: bytes to keep of what an earlier process wrote.
    """

    path: Path
    size: int


@dataclass(frozen=True)
class WriteOptions:
    """How to write a file.

    Attributes:
        format: a key of :data:`toxonnx.io.formats.FORMATS`; when None, by the suffix, else that of the source.
        force: replace the file if it exists.
        partial: the file to write instead, which gets its name from somebody else; ``force`` has no meaning then.
        has_start: whether it starts with what precedes the rows, such as the header of CSV; only the first one of
            several parts does.
        spreadsheet_safe: put an apostrophe before each cell of CSV that a spreadsheet would run as a formula.
        moderator: what the answers to requests of OpenAI's moderation endpoint consist of.
    """

    format: str | None = None
    force: bool = False
    partial: Partial | None = None
    has_start: bool = True
    spreadsheet_safe: bool = False
    moderator: Moderator | None = None


class Position(NamedTuple):
    """A place between two records, from which a source can continue.

    Attributes:
        offset: how much of the input precedes it: bytes when decompressed, or rows, as the format counts.
        line: line (or row, in formats without lines) at which the next record starts, counted from 1.
    """

    offset: int
    line: int


class ReadWarning(UserWarning):
    """A file may have been read in another way than it was meant."""


class Record(Protocol):
    """One record of a source; everything else in it is up to the format."""

    @property
    def line(self) -> int:
        """Line in which it starts, counted from 1, as in error messages."""
        ...

    @property
    def end_position(self) -> int:
        """How much of the input precedes its end; see :attr:`Position.offset`."""
        ...


R = TypeVar("R", bound=Record)
#: a record, in the signatures of sinks
R_contra = TypeVar("R_contra", bound=Record, contravariant=True)


class Source(Protocol[R]):
    """A stream of records, read in bounded memory. A context manager: leaving it closes the file."""

    @property
    def name(self) -> str:
        """The input, as error messages call it."""
        ...

    @property
    def format(self) -> str:
        """Its key in :data:`toxonnx.io.formats.FORMATS`."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns."""
        ...

    @property
    def unit(self) -> str:
        """What :attr:`Record.line` counts, in error messages: ``line`` or ``row``."""
        ...

    @property
    def is_flat(self) -> bool:
        """Whether ``value_getter(columns)`` gives all that a record contains, so that any format can hold it."""
        ...

    @property
    def columns_hint(self) -> str:
        """What may be wrong if the expected columns are missing; empty if nothing is suspected."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes of the input; None if unknown, as for a pipe."""
        ...

    @property
    def extent(self) -> int | None:
        """What the offset of a :class:`Position` goes up to; None if that is not known before all is read."""
        ...

    def divide(self, offsets: Sequence[int]) -> list[Position]:
        """For each offset, in ascending order, the first place at or after it where reading can start.

        It may read the source, which is of no use after that.

        Raises:
            InputError: a record before one of them cannot be read.
        """
        ...

    def __iter__(self) -> Iterator[R]:
        """The records, in order; with ``yield_rejected`` also :class:`~toxonnx.io.rejects.Rejected` ones.

        Raises:
            RowError: a record cannot be read.
        """
        ...

    def value_getter(self, columns: Sequence[str]) -> Callable[[R], list[str] | None]:
        """A function from a record to the texts in these columns; None for a record that is not a row (a blank line).

        A sink copies records that are not rows without scores. The function raises RowError, with its ``error_type``,
        for a record without such texts; the next record can be read all the same.
        """
        ...

    def cell_getter(self, columns: Sequence[str]) -> Callable[[R], list[str] | None]:
        """Like :meth:`value_getter`, with values of any type as CSV would have them: numbers as they are written,
        ``true`` and ``false``, an empty string for a missing one, JSON for nested ones.
        """
        ...

    def position_after(self, record: R | Rejected) -> Position:
        """Where the next record starts."""
        ...

    def can_continue_after(self, record: R | Rejected) -> bool:
        """Whether the next records are the same for a source that continues there; if not, they are after another."""
        ...

    def seek(self, position: Position) -> None:
        """Continues at a position that a source of the same input gave, also in an earlier process.

        To be called before, not while the source is iterated over.

        Raises:
            InputError: the input is a pipe, or shorter than it was.
        """
        ...

    def bytes_done(self, position: int) -> float:
        """Bytes of the input, approximately, up to a record's ``end_position``."""
        ...

    def __enter__(self) -> Source[R]: ...

    def __exit__(self, *exc_info: Any) -> None: ...


class Sink(Protocol[R_contra]):
    """Writes records with their scores. Leaving the ``with`` block without an error makes the output appear."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns that are added."""
        ...

    def write(
        self, records: Sequence[R_contra | Rejected], scores: Scores, errors: Sequence[str | None] | None = None
    ) -> None:
        """Appends records, in order; row i of ``scores`` belongs to record i.

        Args:
            records: of a :class:`~toxonnx.io.rejects.Rejected` one, the row itself is written if its format can write
                it, else a row without values.
            scores: their scores.
            errors: for each record, why it is rejected and gets no scores, or None; None if none is rejected.

        Raises:
            MachineError: the disk is full, or another write failed.
        """
        ...

    def checkpoint(self) -> int:
        """Puts all rows so far on the disk.

        Where this is called, and how often, decides which bytes a compressed file has.

        Returns:
            The ``size`` of a :class:`Partial` with which another sink of the same kind continues; 0 for a pipe.

        Raises:
            MachineError: see :meth:`write`.
        """
        ...

    def __enter__(self) -> Sink[R_contra]: ...

    def __exit__(self, *exc_info: Any) -> None: ...


def open_source(path: AnyPath, options: ReadOptions | None = None) -> Source[Any]:
    """Opens an input. It is decompressed if its content is compressed.

    The format is the requested one, else that of the suffix, else what the content suggests, else CSV.

    Args:
        path: a file, also a URL such as ``s3://bucket/posts.csv``; ``-`` is standard input.
        options: how to read it.

    Raises:
        InputError: it cannot be read, its header is invalid, or its content contradicts the format.
        MachineError: a package that the format needs is not installed.
    """
    file = InputFile(path)
    try:
        name = _input_format(file, options)
        source: Source[Any] = _module(name).open_source(file, replace(options or ReadOptions(), format=name))
    except BaseException:
        file.close()
        raise
    return source


def open_sink(
    path: AnyPath | None, source: Source[Any], columns: OutputColumns, options: WriteOptions | None = None
) -> Sink[Any]:
    """Opens a file to write what ``source`` yields, with columns added at the end.

    Args:
        path: the file, which is compressed if its name ends in ``.gz`` or ``.zst``; standard output when None.
        source: where the records come from.
        columns: the columns to add.
        options: how to write it.

    Raises:
        InputError: the file exists and is not to be replaced, or it cannot be written; the format cannot hold these
            records.
        MachineError: a package that the format needs is not installed.
    """
    options = options or WriteOptions()
    wanted = options.format or output_format(path, source.format)
    if options.spreadsheet_safe and wanted not in {"csv", "tsv"}:
        raise InputError(f"only CSV and TSV can be made safe for spreadsheets, not {wanted}")
    sink: Sink[Any] = _module(wanted).open_sink(path, source, columns, replace(options, format=wanted))
    return sink


def open_output(path: AnyPath | None, options: WriteOptions, *, encoding: str = "utf-8") -> OutputFile:
    """Opens what a sink writes to.

    Raises:
        InputError, MachineError: see :class:`toxonnx.io.atomic.AtomicFile`.
    """
    if path is not None and options.partial is not None:
        return OutputFile(as_location(path), options.partial.path, encoding=encoding, size=options.partial.size)
    return AtomicFile(path, encoding=encoding, force=options.force)


def require_flat(source: Source[Any], options: WriteOptions) -> None:
    """Checks that a source can be written in another format than its own.

    Raises:
        InputError: it cannot.
    """
    if not source.is_flat and source.format != options.format:
        raise InputError(
            f"{source.name} is {source.format}, whose nested values are not written as {options.format}",
            f"Write {source.format} and convert that, for example with DuckDB or polars.",
        )


def require_unique_names(source: Source[Any], format_name: str) -> None:
    """Checks that the columns of a source can be the keys of an object, or the fields of a schema.

    Raises:
        InputError: several have no name; other names never repeat.
    """
    if len(set(source.columns)) < len(source.columns):
        raise InputError(
            f"{source.name} has several columns without a name, which {format_name} cannot hold",
            "Name them in the header, or write CSV or TSV.",
        )


def _input_format(file: InputFile, options: ReadOptions | None) -> str:
    wanted = (options and options.format) or format_of_name(file.path)
    found = recognize(file.start, wanted and syntax_of(wanted), is_named=bool(options and options.format))
    if found is None or (found.format in FORMATS and wanted is None):
        return wanted or (found.format if found else next(iter(FORMATS)))
    if found.format in FORMATS:
        raise InputError(f"{file.name} is {found.what}, not {wanted}", f"Use --input-format {found.format}.")
    inside = f" inside {file.compression}" if file.compression else ""
    raise InputError(f"{file.name} is {found.what}{inside}", found.advice)


def _module(name: str) -> Any:
    one = FORMATS[name]
    if one.extra:
        require(one.extra)
    return importlib.import_module(one.module)
