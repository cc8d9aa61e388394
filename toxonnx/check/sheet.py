"""A labelled file as it is: every row that can be read, and which of its columns are what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toxonnx.check.finding import Finding, found, listing, plural
from toxonnx.errors import InputError
from toxonnx.recipe import LabelSpec, Recipe, Split
from toxonnx.rows import RowReader, Table
from toxonnx.texts import TextSpec

__all__ = ["USUAL_LABELS", "Sheet", "choose", "read_sheet"]

#: names that a label column usually has, when nobody says which one it is
USUAL_LABELS = (
    "label", "labels", "class", "category", "target", "toxic", "toxicity", "hate", "hateful", "hate_speech",
    "offensive", "label_gold", "gold_label", "annotation", "y",
)  # fmt: skip

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Sheet:
    """A whole file in memory.

    Attributes:
        table: rows with as many fields as the header; bytes that do not decode are U+FFFD there.
        ragged: lines of the other rows.
        undecodable: lines of rows with bytes that do not decode.
        blank: blank lines.
        file: its name where it is not the file that is checked, for findings.
    """

    table: Table
    ragged: list[int]
    undecodable: list[int]
    blank: int
    file: str = ""

    def findings(self) -> list[Finding]:
        """What is wrong with the file before anything is known of its columns."""
        rows = len(self.table) + len(self.ragged)
        result = []
        if self.ragged:
            width = len(self.table.columns)
            result.append(
                found(
                    "ragged-rows", "error",
                    f"{_part(len(self.ragged), rows)} do not have {plural(width, 'field')} as the header has",
                    self.ragged, file=self.file,
                    advice="Quote the fields that hold the delimiter or a line's end; these rows were left out here.",
                )
            )  # fmt: skip
        if self.undecodable:
            result.append(
                found(
                    "undecodable-bytes", "error",
                    f"{_part(len(self.undecodable), rows)} hold bytes that are not text in this encoding",
                    self.undecodable, file=self.file,
                    advice="Name the file's encoding with --encoding, or mend the rows.",
                )
            )  # fmt: skip
        return result


def _part(count: int, whole: int) -> str:
    return f"{count:,} of {plural(whole, 'row')} ({count / whole:.2%})"


def read_sheet(path: Path, encoding: str | None, delimiter: str | None, file: str = "") -> Sheet:
    """Reads all that can be read of a file.

    Raises:
        InputError: no such file, no rows, and what :class:`toxonnx.rows.RowReader` raises on opening it.
        RowError: a NUL byte, a quote that is left open.
    """
    ragged: list[int] = []
    undecodable: list[int] = []
    lines: list[int] = []
    kept: list[list[str]] = []
    blank = 0
    with RowReader(path, encoding, delimiter, lenient=True) as reader:
        header = [_sound(name) or f"(column {i})" for i, name in enumerate(reader.columns, start=1)]
        for row in reader:
            if not row.fields:
                blank += 1
                continue
            if _SURROGATE.search(row.raw):
                undecodable.append(row.line)
            if len(row.fields) == len(header):
                lines.append(row.line)
                kept.append([_sound(value) for value in row.fields])
            else:
                ragged.append(row.line)
    if not kept:
        why = f"{plural(len(ragged), 'row')}, none with as many fields as the header" if ragged else "no rows"
        raise InputError(f"{path} has {why}", "Check the delimiter (--delimiter)." if ragged else "")
    columns = {name: [row[i] for row in kept] for i, name in enumerate(header)}
    return Sheet(Table(path, columns, lines), ragged, undecodable, blank, file)


def _sound(value: str) -> str:
    # A lone surrogate can be neither tokenized nor written.
    return value if value.isascii() else _SURROGATE.sub("\ufffd", value)


def choose(
    sheet: Sheet,
    recipe: Recipe | None,
    text: Sequence[str] = (),
    label: Sequence[str] = (),
    max_length: int | None = None,
    group: Sequence[str] = (),
    seed: int | None = None,
) -> Recipe:
    """The recipe, or one made of what was asked for and what the file's columns are called.

    Args:
        sheet: the file.
        recipe: names columns, limit and shares; ``text`` and ``label`` have to be empty then.
        text: text columns.
        label: one label column, or several columns of 0 and 1.
        max_length: tokens, in place of the recipe's.
        group: columns, in place of the recipe's ``split.group``.
        seed: of the splits, in place of the recipe's.

    Raises:
        InputError: a column that is not there, none that looks like the label, a column that is text and label.
    """
    header = list(sheet.table.columns)
    if recipe is not None and (text or label):
        raise InputError("--text and --label name columns, and so does the recipe", "Leave one of them out.")
    split = recipe.split if recipe else Split()
    split = replace(split, group=tuple(group) or split.group, seed=split.seed if seed is None else seed)
    if recipe is not None:
        columns = recipe.text.columns or recipe.text.choose(header)
        spec, labels = TextSpec(columns, recipe.text.template, recipe.text.normalise), recipe.labels
    else:
        labels = _labels(sheet, label)
        taken = {labels.column, *labels.columns}
        spec = TextSpec(TextSpec().choose(header if text else [name for name in header if name not in taken], text))
    limit = max_length or (recipe.max_length if recipe else Recipe("", labels).max_length)
    for name in (*spec.columns, *(labels.columns or (labels.column,)), *labels.votes.values(), *split.group):
        sheet.table.column(name)
    both = [name for name in spec.columns if name in {labels.column, *labels.columns}]
    if both:
        raise InputError(f"column {both[0]!r} is text and label at once")
    return Recipe(recipe.name if recipe else "", labels, max_length=limit, text=spec, split=split)


def _labels(sheet: Sheet, asked: Sequence[str]) -> LabelSpec:
    header = list(sheet.table.columns)
    if len(asked) > 1:
        return LabelSpec(columns=tuple(dict.fromkeys(asked)))
    usual = [name for name in header if name.strip().lower() in USUAL_LABELS]
    if not asked and len(usual) != 1:
        names = listing([repr(name) for name in usual])
        why = f"several columns might hold the label: {names}" if usual else "no label column in the header"
        columns = ", ".join(map(repr, header))
        raise InputError(why, f"Its columns: {columns}. Name the one to read with --label COLUMN.")
    name = asked[0] if asked else usual[0]
    values = {value.strip() for value in sheet.table.column(name)}
    # Its values are shown: a column of texts must not pass for labels.
    if len(values) > 50 and len(values) > len(sheet.table) / 5:
        raise InputError(
            f"column {name!r} holds {len(values):,} different values in {len(sheet.table):,} rows, too many for labels",
            "Name the label column with --label COLUMN.",
        )
    return LabelSpec(column=name)
