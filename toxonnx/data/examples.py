"""Labelled rows: texts as a model reads them, with their labels."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import InputError, RowError
from toxonnx.io.base import ReadOptions, open_source
from toxonnx.io.table import Table, read_table
from toxonnx.labels import Labels
from toxonnx.recipe import LabelSpec, Recipe
from toxonnx.texts import TextSpec, fold

__all__ = ["Examples", "label_counts", "load_examples", "load_saved_rows", "save_examples"]


@dataclass(frozen=True)
class Examples:
    """Texts as the model reads them, with their labels.

    Attributes:
        texts: normalised texts.
        y_true: int64 [rows] of label numbers, or int64 [rows, labels] of 0 and 1 for several labels a text.
        lines: line of each row in its file.
        labels: the label set.
        text: what made the texts out of the file's columns.
        votes: float32 [rows, labels], each annotator's choice as a share, or None.
        groups: what else keeps rows on one side of a split (see :class:`toxonnx.recipe.Split`); empty for nothing.
        dropped: rows left out because their text is empty.
    """

    texts: list[str]
    y_true: NDArray[np.int64]
    lines: list[int]
    labels: Labels
    text: TextSpec
    votes: NDArray[np.float32] | None = None
    groups: tuple[str, ...] = ()
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def subset(self, rows: NDArray[np.int64]) -> Examples:
        """The rows at these positions, in the file's order."""
        at = np.sort(rows).tolist()
        return Examples(
            [self.texts[i] for i in at],
            self.y_true[at],
            [self.lines[i] for i in at],
            self.labels,
            self.text,
            None if self.votes is None else self.votes[at],
            tuple(self.groups[i] for i in at) if self.groups else (),
        )


def load_examples(
    path: str | Path,
    recipe: Recipe,
    *,
    reading: ReadOptions | None = None,
    labels: Labels | None = None,
) -> Examples:
    """Reads a labelled file as a recipe says.

    Args:
        path: CSV or TSV.
        recipe: names the columns.
        reading: how to read it.
        labels: the label set to hold the file to (that of the training file, for a validation file).

    Raises:
        InputError: a column is missing, or fewer than two classes.
        RowError: a label that the recipe does not name, or one that is empty.
    """
    spec = recipe.labels
    with open_source(path, reading) as source:
        # Named columns are read, or missing: training never falls back to another.
        columns = recipe.text.columns or recipe.text.choose_columns(source.columns)
    votes_wanted = bool(spec.votes) and labels is None
    named = [*columns, *([spec.column] if spec.column else spec.columns)]
    if labels is None:
        named += recipe.split.group
    table = read_table(path, reading, columns=[*named, *(spec.votes.values() if votes_wanted else ())])
    values = [table.column(name) for name in columns]
    rendered = [recipe.text.render(row) for row in zip(*values, strict=True)]
    kept = [i for i, text in enumerate(rendered) if text.strip()]
    y_true, label_set = _multi(table, spec) if recipe.multi else _single(table, spec, labels)
    if not kept:
        raise InputError(f"{path} has no row with a text in {', '.join(map(repr, columns))}")
    votes = _votes(table, spec, label_set)[kept] if votes_wanted else None
    if labels is None:
        held = y_true[kept] if recipe.multi else np.eye(len(label_set), dtype=np.int64)[y_true[kept]]
        absent = [name for name, count in zip(label_set.names, held.sum(axis=0), strict=True) if not count]
        if absent:
            raise InputError(
                f"{path} has no row with a text of the class {', '.join(map(repr, absent))}",
                "Add rows of it, or leave it out of labels.names in the recipe.",
            )
    return Examples(
        [rendered[i] for i in kept],
        y_true[kept],
        [table.lines[i] for i in kept],
        label_set,
        TextSpec(columns, recipe.text.template, recipe.text.normalise),
        votes,
        _groups(table, recipe.split.group, kept) if labels is None else (),
        len(rendered) - len(kept),
    )


def _single(table: Table, spec: LabelSpec, labels: Labels | None) -> tuple[NDArray[np.int64], Labels]:
    found = [value.strip() for value in table.column(spec.column)]
    if "" in found:
        raise RowError(table.path, table.lines[found.index("")], f"no label in column {spec.column!r}")
    names = spec.names or {value: value for value in (labels.names if labels else sorted(set(found)))}
    unknown = next((i for i, value in enumerate(found) if value not in names), None)
    if unknown is not None:
        raise RowError(
            table.path,
            table.lines[unknown],
            f"label {found[unknown]!r} in column {spec.column!r} is not one of {', '.join(names)}",
            "Add it to labels.names in the recipe, or mend the row.",
        )
    if len(set(found)) < 2 and labels is None:
        what = f"only the class {found[0]!r}" if found else "no row"
        raise InputError(
            f"{table.path}: column {spec.column!r} holds {what}", "A classifier needs rows of two classes at least."
        )
    label_set = labels or Labels(tuple(dict.fromkeys(names.values())))
    number = {name: i for i, name in enumerate(label_set.names)}
    return np.array([number[names[value]] for value in found], dtype=np.int64), label_set


def _multi(table: Table, spec: LabelSpec) -> tuple[NDArray[np.int64], Labels]:
    cells = []
    for name in spec.columns:
        column = [value.strip() for value in table.column(name)]
        wrong = next((i for i, value in enumerate(column) if value not in {"0", "1"}), None)
        if wrong is not None:
            raise RowError(table.path, table.lines[wrong], f"column {name!r} holds {column[wrong]!r}, not 0 or 1")
        if len(set(column)) < 2:
            raise InputError(f"{table.path}: column {name!r} holds only {column[0] if column else 'nothing'}")
        cells.append([int(value) for value in column])
    return np.array(cells, dtype=np.int64).T, Labels(spec.columns, "sigmoid")


def _groups(table: Table, columns: tuple[str, ...], kept: list[int]) -> tuple[str, ...]:
    if not columns:
        return ()
    values = list(zip(*(table.column(name) for name in columns), strict=True))
    return tuple("\0".join(map(fold, values[i])) for i in kept)


def _votes(table: Table, spec: LabelSpec, labels: Labels) -> NDArray[np.float32]:
    counts = []
    for name in labels.names:
        column = table.column(spec.votes[name])
        wrong = next((i for i, value in enumerate(column) if not value.strip().isdigit()), None)
        if wrong is not None:
            where = f"column {spec.votes[name]!r} holds {column[wrong]!r}, not a number of votes"
            raise RowError(table.path, table.lines[wrong], where)
        counts.append([int(value) for value in column])
    votes = np.array(counts, dtype=np.float32).T
    total = votes.sum(axis=1)
    if (total == 0).any():
        raise RowError(table.path, table.lines[int(np.flatnonzero(total == 0)[0])], "nobody voted")
    shares: NDArray[np.float32] = votes / total[:, None]
    return shares


def label_counts(examples: Examples) -> dict[str, int]:
    """Rows of each label."""
    if examples.labels.multi:
        return dict(zip(examples.labels.names, examples.y_true.sum(axis=0).tolist(), strict=True))
    counts = Counter(examples.y_true.tolist())
    return {name: counts[i] for i, name in enumerate(examples.labels.names)}


def save_examples(path: Path, examples: Examples) -> None:
    """Keeps a held-out part beside the run: line in the data file, text as the model reads it, and labels."""

    def names(row: Any) -> Iterable[str]:
        at = np.flatnonzero(row) if examples.labels.multi else [row]
        return (examples.labels.names[i] for i in at)

    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["line", "text", "labels"])
        for line, text, y_true in zip(examples.lines, examples.texts, examples.y_true, strict=True):
            writer.writerow([line, text, "\n".join(names(y_true))])


def load_saved_rows(path: Path, labels: Labels) -> tuple[list[str], NDArray[np.int64]]:
    """Texts and y_true of what :func:`save_examples` kept."""
    table = read_table(path)
    cells = [value.split("\n") if value else [] for value in table.column("labels")]
    y_true = np.zeros((len(cells), len(labels)), dtype=np.int64)
    for i, held in enumerate(cells):
        for name in held:
            y_true[i, labels.names.index(name)] = 1
    return table.column("text"), y_true if labels.multi else y_true.argmax(axis=1)
