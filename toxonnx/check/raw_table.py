"""A labelled file before it is interpreted: its rows, the column names that may be shown, and format problems."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from toxonnx.check.finding import MAX_NAME_LENGTH, Finding, format_share, make_finding
from toxonnx.errors import InputError
from toxonnx.io.base import ReadOptions, Source, open_source
from toxonnx.io.csv_reader import CsvRecord, CsvSource
from toxonnx.io.header import looks_like_data, reads_like_text
from toxonnx.io.table import Table
from toxonnx.texts import replace_surrogates
from toxonnx.wording import plural

__all__ = ["MultilineRecord", "RawTable", "read_raw_table"]

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class MultilineRecord:
    """A record that spans several lines of the file.

    Attributes:
        line: where it starts, counted from 1.
        line_count: how many lines it spans.
        fields: its values.
    """

    line: int
    line_count: int
    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """A whole file in memory, with everything that is wrong with its format.

    Attributes:
        table: the rows with as many fields as the header; undecodable bytes are replaced by U+FFFD.
        display_names: column name -> the name to show, which never is a text.
        delimiter: the delimiter; empty in formats that have none.
        ragged_lines: lines of rows with more or fewer fields than the header; not in ``table``.
        undecodable_lines: lines of rows with undecodable bytes.
        repeated_header_lines: lines that repeat the header; not in ``table``.
        multiline_records: records that span several lines.
        blank_lines: number of blank lines.
        missing_header: whether the first line looks like data.
        columns_hint: see :attr:`toxonnx.io.base.Source.columns_hint`.
        file: name of the file for findings; empty for the file being checked.
    """

    table: Table
    display_names: Mapping[str, str]
    delimiter: str
    ragged_lines: list[int] = field(default_factory=list)
    undecodable_lines: list[int] = field(default_factory=list)
    repeated_header_lines: list[int] = field(default_factory=list)
    multiline_records: list[MultilineRecord] = field(default_factory=list)
    blank_lines: int = 0
    missing_header: bool = False
    columns_hint: str = ""
    file: str = ""

    @property
    def rows(self) -> int:
        """Number of rows below the header, readable or not."""
        return len(self.table) + len(self.ragged_lines) + len(self.repeated_header_lines)

    def column(self, name: str) -> list[str]:
        """The values of a column.

        Raises:
            InputError: there is no such column.
        """
        if name not in self.table.columns:
            raise InputError(f"{self.table.path} has no column {name!r}", self.column_hint())
        return self.table.columns[name]

    def column_hint(self, advice: str = "") -> str:
        """What to do if a column is not found; ``advice`` follows the list of columns."""
        if self.columns_hint:
            return self.columns_hint
        if self.missing_header:
            return "The first line looks like a row, not like a header: add a header, or use --no-header."
        return f"Its columns: {', '.join(map(repr, self.display_names.values()))}.{advice}"

    def findings(self) -> list[Finding]:
        """Problems of the file format, which do not depend on what the columns mean."""
        result = []
        if self.missing_header:
            message = "The first line does not look like a header"
            result.append(make_finding("missing-header", message, [1], file=self.file))
        for kind, lines, what in (
            ("ragged-rows", self.ragged_lines,
             f"do not have the {plural(len(self.display_names), 'field')} of the header"),
            ("undecodable-bytes", self.undecodable_lines, "contain bytes that are invalid in this encoding"),
            ("repeated-header", self.repeated_header_lines, "repeat the header"),
        ):  # fmt: skip
            if lines:
                message = f"{format_share(len(lines), self.rows)} {what}"
                result.append(make_finding(kind, message, lines, file=self.file))
        return result


def read_raw_table(
    path: Path, reading: ReadOptions | None, file: str = "", named_columns: Collection[str] = ()
) -> RawTable:
    """Reads everything in a file that is readable.

    Args:
        path: the file.
        reading: how to read it.
        file: see :class:`RawTable`.
        named_columns: columns named by the user or the recipe. A first line that contains one of them is a header,
            unless it reads like a sentence.

    Raises:
        InputError: the file does not exist, has no rows, or cannot be opened.
        RowError: a NUL byte or an unclosed quote.
    """
    ragged: list[int] = []
    undecodable: list[int] = []
    repeated: list[int] = []
    multiline: list[MultilineRecord] = []
    lines: list[int] = []
    rows: list[list[str]] = []
    blank = 0
    with open_source(path, replace(reading or ReadOptions(), lenient=True)) as source:
        if not isinstance(source, CsvSource):
            return _without_lines(path, source, file)
        header = [replace_surrogates(name) or f"(column {i})" for i, name in enumerate(source.columns, start=1)]
        for record in cast("Iterator[CsvRecord]", source):  # the others are not asked for
            if not record.fields:
                blank += 1
                continue
            if source.header and record.fields == source.columns:
                repeated.append(record.line)
                continue
            if _SURROGATE.search(record.raw):
                undecodable.append(record.line)
            fields = [replace_surrogates(value) for value in record.fields]
            if "\n" in record.raw:
                multiline.append(MultilineRecord(record.line, record.raw.count("\n") + 1, tuple(fields)))
            if len(fields) == len(header):
                lines.append(record.line)
                rows.append(fields)
            else:
                ragged.append(record.line)
        delimiter, columns_hint, has_header = source.delimiter, source.columns_hint, source.has_header
    if not rows:
        what = f"{plural(len(ragged), 'row')}, none with as many fields as the header" if ragged else "no rows"
        raise InputError(f"{path} has {what}", (columns_hint or "Check the delimiter (--delimiter).") if ragged else "")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    missing_header = has_header and looks_like_data(columns, named_columns)
    return RawTable(
        table=Table(path, columns, lines), display_names=_display_names(header, missing_header), delimiter=delimiter,
        ragged_lines=ragged, undecodable_lines=undecodable, repeated_header_lines=repeated,
        multiline_records=multiline, blank_lines=blank, missing_header=missing_header,
        columns_hint=columns_hint, file=file,
    )  # fmt: skip


def _without_lines(path: Path, source: Source[Any], file: str) -> RawTable:
    """The rows of a format that has neither a header nor quotes, where such problems cannot occur."""
    header = list(source.columns)
    get = source.cell_getter(header)
    cells = [(record.line, row) for record in source if (row := get(record)) is not None]
    if not cells:
        raise InputError(f"{path} has no rows")
    columns = {name: [replace_surrogates(row[i]) for _, row in cells] for i, name in enumerate(header)}
    return RawTable(
        table=Table(path, columns, [line for line, _ in cells]), display_names=_display_names(header, False),
        delimiter="", columns_hint=source.columns_hint, file=file,
    )  # fmt: skip


def _display_names(header: Sequence[str], missing_header: bool) -> dict[str, str]:
    """Names that may be shown: unique, and never a text."""
    result: dict[str, str] = {}
    for i, name in enumerate(header, start=1):
        short = name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"
        hidden = missing_header or reads_like_text(name) or short in result.values()
        shown = f"(column {i})" if hidden else short
        while shown in result.values():  # a column may have such a name of its own
            shown += "'"
        result[name] = shown
    return result
