"""The file formats: one table, and what follows from it."""

from __future__ import annotations

from typing import NamedTuple

from toxonnx.errors import InputError
from toxonnx.io.compression import without_suffix
from toxonnx.io.remote import AnyPath, Location, as_location

__all__ = ["FORMATS", "Format", "format_of_name", "output_format", "syntax_of"]


class Format(NamedTuple):
    """A file format.

    Attributes:
        module: has ``open_source`` and, unless it is only read, ``open_sink``.
        suffixes: of its files, without that of a compression.
        is_written: whether it can hold scores. Input in a format that cannot is written in the first one by default.
        extra: the extra of this package with what the module imports; empty if it needs none.
        has_columns: whether its files have columns, of which one can be chosen.
        syntax: the format that its files have as such, if they are the messages of a protocol. No file is taken for
            one unless its format is named, and the answers have the same format.
    """

    module: str
    suffixes: tuple[str, ...]
    is_written: bool = True
    extra: str = ""
    has_columns: bool = True
    syntax: str = ""


#: in the order of ``--input-format``; files of unknown suffix and content are read as the first one
FORMATS = {
    "csv": Format("toxonnx.io.csv", (".csv",)),
    "tsv": Format("toxonnx.io.csv", (".tsv", ".tab")),
    "jsonl": Format("toxonnx.io.jsonl", (".jsonl", ".ndjson")),
    "text": Format("toxonnx.io.text", (".txt", ".text"), is_written=False, has_columns=False),
    "parquet": Format("toxonnx.io.parquet", (".parquet", ".pq"), extra="parquet"),
    "openai-batch": Format("toxonnx.io.openai_batch", (), has_columns=False, syntax="jsonl"),
}

#: of formats that are not written: under such a name, other programs would refuse the file or misread it
FOREIGN_SUFFIXES = frozenset(
    (".7z", ".arrow", ".avro", ".bz2", ".db", ".feather", ".json", ".ods", ".orc", ".sqlite", ".xls", ".xlsx", ".xz",
     ".zip")
)  # fmt: skip


def format_of_name(path: Location) -> str | None:
    """The format of a name's suffix, below that of a compression; None if it is unknown."""
    suffix = without_suffix(path).suffix.lower()
    return next((name for name, one in FORMATS.items() if suffix in one.suffixes), None)


def output_format(path: AnyPath | None, input_format: str) -> str:
    """The format of an output that nobody named: that of its suffix, else that of the input, else the first one.

    Raises:
        InputError: the suffix is that of a format that is not written.
    """
    if input_format in FORMATS and FORMATS[input_format].syntax:
        return input_format
    of_name = None
    if path is not None:
        location = as_location(path)
        of_name = format_of_name(location)
        suffix = without_suffix(location).suffix.lower()
        if suffix in FOREIGN_SUFFIXES:
            written = ", ".join(suffix for one in FORMATS.values() if one.is_written for suffix in one.suffixes)
            raise InputError(
                f"{path}: toxonnx does not write {suffix} files",
                f"Use a name that ends in {written}; or name the format with --output-format.",
            )
    return next(
        (name for name in (of_name, input_format) if name is not None and FORMATS[name].is_written), next(iter(FORMATS))
    )


def syntax_of(name: str) -> str:
    """The format that files of a format have as such; see :attr:`Format.syntax`."""
    return FORMATS[name].syntax or name
