"""A labelled file as it is: every row that can be read, what of it may be shown, and what is wrong with its form."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toxonnx.check.finding import LONGEST, Finding, format_share, make_finding, plural
from toxonnx.errors import InputError
from toxonnx.io.base import ReadOptions
from toxonnx.io.csv import CsvSource
from toxonnx.io.table import Table
from toxonnx.texts import USUAL_TEXT_COLUMNS

__all__ = ["USUAL_LABELS", "Sheet", "Span", "read_sheet"]

#: names that a label column usually has, when nobody says which one it is
USUAL_LABELS = (
    "label", "labels", "class", "category", "target", "toxic", "toxicity", "hate", "hateful", "hate_speech",
    "offensive", "label_gold", "gold_label", "annotation", "y",
)  # fmt: skip
#: characters and words from which the name of a column is rather a text
TEXT_CHARACTERS, TEXT_WORDS = 60, 8
#: words from which it may be one, where more speaks for that
SENTENCE_WORDS = 3

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Span:
    """A record that runs over several lines of the file."""

    line: int
    lines: int
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """A whole file in memory.

    Attributes:
        table: rows with as many fields as the header; bytes that do not decode are U+FFFD there.
        names: each column's name as it may be shown.
        delimiter: between the fields.
        ragged: lines of the other rows.
        undecodable: lines of rows with bytes that do not decode.
        again: lines that repeat the header.
        spans: records that run over several lines.
        blank: blank lines.
        headless: whether the first line looks like a row.
        broken_header: whether the first line has bytes that do not decode.
        file: its name where it is not the file that is checked, for findings.
    """

    table: Table
    names: Mapping[str, str]
    delimiter: str
    ragged: list[int] = field(default_factory=list)
    undecodable: list[int] = field(default_factory=list)
    again: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    blank: int = 0
    headless: bool = False
    broken_header: bool = False
    file: str = ""

    @property
    def rows(self) -> int:
        """All rows under the header."""
        return len(self.table) + len(self.ragged) + len(self.again)

    def column(self, name: str) -> list[str]:
        """The values of one column.

        Raises:
            InputError: no such column.
        """
        if name not in self.table.columns:
            raise InputError(f"{self.table.path} has no column {name!r}", self.hint())
        return self.table.columns[name]

    def hint(self, then: str = "") -> str:
        """What to do when a column is not found."""
        if self.headless:
            return (
                f"The first line of {self.table.path.name} does not look like a header: put the columns' names there."
            )
        if self.broken_header:
            return "The header has bytes that are not text in this encoding: name the file's encoding with --encoding."
        if len(self.names) == 1:
            for mark, name in ((";", ";"), ("\t", "tab"), ("|", "|"), (",", ",")):
                if mark in next(iter(self.table.columns)):
                    return f"The header is one field: add --delimiter '{name}'."
        return f"Its columns: {', '.join(map(repr, self.names.values()))}.{then}"

    def findings(self) -> list[Finding]:
        """What is wrong with the file before anything is known of its columns."""
        result = []
        if self.headless:
            result.append(
                make_finding(
                    "no-header", "error", "The first line does not look like a header", [1], file=self.file,
                    advice="Put the columns' names on a line of their own; the first line was taken for them.",
                )
            )  # fmt: skip
        for kind, lines, what, advice in (
            (
                "ragged-rows", self.ragged,
                f"do not have {plural(len(self.names), 'field')} as the header has",
                "Quote the fields that hold the delimiter or a line's end; these rows were left out here.",
            ),
            (
                "undecodable-bytes", self.undecodable, "hold bytes that are not text in this encoding",
                "Name the file's encoding with --encoding, or mend the rows.",
            ),
            (
                "repeated-header", self.again, "are the header once more",
                "Take them out: files were put together line by line; they were left out here.",
            ),
        ):  # fmt: skip
            if lines:
                message = f"{format_share(len(lines), self.rows)} {what}"
                result.append(make_finding(kind, "error", message, lines, file=self.file, advice=advice))
        return result


def read_sheet(path: Path, reading: ReadOptions | None, file: str = "", known: Collection[str] = ()) -> Sheet:
    """Reads all that can be read of a file.

    Args:
        path: the file.
        reading: how to read it.
        file: see :class:`Sheet`.
        known: columns that somebody named: a first line that holds one of them is a header, unless it reads like a row.

    Raises:
        InputError: no such file, no rows, and what :class:`toxonnx.io.csv.CsvSource` raises on opening it.
        RowError: a NUL byte, a quote that is left open.
    """
    places: dict[str, list[int]] = {"ragged": [], "undecodable": [], "again": []}
    lines: list[int] = []
    kept: list[list[str]] = []
    spans: list[Span] = []
    blank = 0
    with CsvSource(path, reading, lenient=True) as reader:
        header = [_sound(name) or f"(column {i})" for i, name in enumerate(reader.columns, start=1)]
        for row in reader:
            if not row.fields:
                blank += 1
                continue
            if row.fields == reader.columns:
                places["again"].append(row.line)
                continue
            if _SURROGATE.search(row.raw):
                places["undecodable"].append(row.line)
            fields = [_sound(value) for value in row.fields]
            if "\n" in row.raw:
                spans.append(Span(row.line, row.raw.count("\n") + 1, tuple(fields)))
            if len(fields) == len(header):
                lines.append(row.line)
                kept.append(fields)
            else:
                places["ragged"].append(row.line)
        broken, mark = any(map(_SURROGATE.search, reader.columns)), reader.delimiter
    if not kept:
        ragged = len(places["ragged"])
        why = f"{plural(ragged, 'row')}, none with as many fields as the header" if ragged else "no rows"
        raise InputError(f"{path} has {why}", "Check the delimiter (--delimiter)." if ragged else "")
    columns = {name: [row[i] for row in kept] for i, name in enumerate(header)}
    headless = _looks_like_a_row(columns, known)
    names = _names(header, headless)
    return Sheet(
        Table(path, columns, lines), names, mark, **places, spans=spans, blank=blank, headless=headless,
        broken_header=broken, file=file,
    )  # fmt: skip


def _sound(value: str) -> str:
    # A lone surrogate can be neither tokenized nor written.
    return value if value.isascii() else _SURROGATE.sub("\ufffd", value)


def _is_text(name: str) -> bool:
    return len(name) > TEXT_CHARACTERS or len(name.split()) >= TEXT_WORDS


def _looks_like_a_row(columns: Mapping[str, list[str]], known: Collection[str]) -> bool:
    usual = {*USUAL_TEXT_COLUMNS, *USUAL_LABELS}
    if any(name.strip().lower() in usual for name in columns):
        return False
    named = {name: values for name, values in columns.items() if name in known}
    if named:  # a column spam may hold spam and ham; but beside what reads like a sentence it is a row
        again = any(name in values for name, values in named.items())
        return any(_is_text(name) or (again and len(name.split()) >= SENTENCE_WORDS) for name in named)
    return any(_is_text(name) or name in values for name, values in columns.items())


def _names(header: Sequence[str], headless: bool) -> dict[str, str]:
    """Names that may be shown: none that may be a text, none twice."""
    result: dict[str, str] = {}
    for i, name in enumerate(header, start=1):
        short = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
        hidden = headless or _is_text(name) or short in result.values()
        result[name] = f"(column {i})" if hidden else short
    return result
