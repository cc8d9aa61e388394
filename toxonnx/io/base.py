"""The two ends of a stream of rows: a source yields records, a sink takes them back with their scores.

A file format is one module beside this one and one entry in :data:`FORMATS`. Nothing else in the package knows what a
CSV is: :mod:`toxonnx.predict` asks a source for the text columns of a record and hands the record to a sink.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from toxonnx.inference.scores import Scores
from toxonnx.io.output_columns import OutputColumns

__all__ = ["FORMATS", "ReadOptions", "ReadWarning", "Record", "Sink", "Source", "open_sink", "open_source"]

#: format -> its module and the suffixes of its files; the first one is the default
FORMATS = {
    "csv": ("toxonnx.io.csv", (".csv", ".tsv", ".tab")),
}


@dataclass(frozen=True)
class ReadOptions:
    """How to read a text file.

    Attributes:
        encoding: a Python codec; UTF-8 when None.
        delimiter: one character or its name, such as ``tab``; when None, the one that a first line ``sep=;`` names,
            else a tab for ``.tsv`` and ``.tab`` files and a comma for all others.
        has_header: whether the first line names the columns; if not, they are ``column_1``, ``column_2``, ...
        escape_char: a character that makes the next one literal, such as a backslash before a quote; None if quotes
            are escaped by doubling them.
    """

    encoding: str | None = None
    delimiter: str | None = None
    has_header: bool = True
    escape_char: str | None = None


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
        """How much of the input precedes its end, in the source's own unit."""
        ...


R = TypeVar("R", bound=Record)
#: a record, in the signatures of sinks
R_contra = TypeVar("R_contra", bound=Record, contravariant=True)


class Source(Protocol[R]):
    """A stream of records, read in bounded memory. A context manager: leaving it closes the file."""

    @property
    def path(self) -> Path:
        """The file that is read."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns."""
        ...

    @property
    def columns_hint(self) -> str:
        """What may be wrong if the expected columns are missing; empty if nothing is suspected."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes of the input; None if unknown, as for a pipe."""
        ...

    def __iter__(self) -> Iterator[R]:
        """The records, in order.

        Raises:
            RowError: a record cannot be read.
        """
        ...

    def value_getter(self, columns: Sequence[str]) -> Callable[[R], list[str] | None]:
        """A function from a record to its values in these columns; None for a record that is not a row (a blank line).

        A sink copies records that are not rows without scores.
        """
        ...

    def bytes_done(self, position: int) -> float:
        """Bytes of the input, approximately, up to a record's ``end_position``."""
        ...

    def __enter__(self) -> Source[R]: ...

    def __exit__(self, *exc_info: Any) -> None: ...


class Sink(Protocol[R_contra]):
    """Writes records with their scores. Leaving the ``with`` block without an error makes the output appear."""

    def write(self, records: Sequence[R_contra], scores: Scores) -> None:
        """Appends records, in order; row i of ``scores`` belongs to record i.

        Raises:
            MachineError: the disk is full, or another write failed.
        """
        ...

    def __enter__(self) -> Sink[R_contra]: ...

    def __exit__(self, *exc_info: Any) -> None: ...


def open_source(path: str | Path, options: ReadOptions | None = None) -> Source[Any]:
    """Opens a file to read, in the format of its suffix (CSV for any unknown suffix).

    Raises:
        InputError: it cannot be read, or its header is invalid.
    """
    source: Source[Any] = _module(path).open_source(path, options or ReadOptions())
    return source


def open_sink(path: str | Path | None, source: Source[Any], columns: OutputColumns, *, force: bool = False) -> Any:
    """Opens a file to write what ``source`` yields, in the source's format, with columns added at the end.

    Args:
        path: the file; standard output when None.
        source: where the records come from.
        columns: the columns to add.
        force: replace the file if it exists.

    Raises:
        InputError: the file exists and ``force`` was not given, or it cannot be written.
    """
    return _module(source.path).open_sink(path, source, columns, force=force)


def _module(path: str | Path) -> Any:
    suffix = Path(path).suffix.lower()
    modules = [module for module, suffixes in FORMATS.values() if suffix in suffixes]
    return importlib.import_module((modules or [FORMATS["csv"][0]])[0])
