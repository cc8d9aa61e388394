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
    """Labelled texts as the model reads them.

    Attributes:
        texts: normalised texts.
        y_true: int64 [rows] of label numbers, or int64 [rows, labels] of 0 and 1 for multi-label.
        lines: the line of each row in its file.
        labels: the label set.
        text: how the columns became texts.
        votes: float32 [rows, labels], the share of annotators that chose each label, or None.
        groups: keys of rows that stay on one side of a split (see :class:`toxonnx.recipe.Split`); empty for none.
        dropped: number of rows left out because their text is empty.
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
        """Some of the rows, by index, in the file's order."""
        indices = np.sort(rows).tolist()
        return Examples(
            [self.texts[i] for i in indices],
            self.y_true[indices],
            [self.lines[i] for i in indices],
            self.labels,
            self.text,
            None if self.votes is None else self.votes[indices],
            tuple(self.groups[i] for i in indices) if self.groups else (),
        )


def load_examples(
    path: str | Path,
    recipe: Recipe,
    *,
    reading: ReadOptions | None = None,
    labels: Labels | None = None,
) -> Examples:
    """Reads a labelled file by a recipe.

    Args:
        path: CSV or TSV.
        recipe: names the columns.
        reading: how to read it.
        labels: label set of the training file, if this is a validation file.

    Raises:
        InputError: a column is missing, or there are fewer than two classes.
        RowError: a label is empty, or not in the recipe.
    """
    spec = recipe.labels
    with open_source(path, reading) as source:
        # Training reads the columns that the recipe names, and never others.
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
        raise InputError(f"{path} has no row with text in {', '.join(map(repr, columns))}")
    votes = _votes(table, spec, label_set)[kept] if votes_wanted else None
    if labels is None:
        one_hot = y_true[kept] if recipe.multi else np.eye(len(label_set), dtype=np.int64)[y_true[kept]]
        absent = [name for name, count in zip(label_set.names, one_hot.sum(axis=0), strict=True) if not count]
        if absent:
            raise InputError(
                f"{path} has no row with text of the class {', '.join(map(repr, absent))}",
                "Add such rows, or remove the class from labels.names in the recipe.",
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
        raise RowError(table.path, table.lines[found.index("")], f"column {spec.column!r} has no label")
    names = spec.names or {value: value for value in (labels.names if labels else sorted(set(found)))}
    unknown = next((i for i, value in enumerate(found) if value not in names), None)
    if unknown is not None:
        raise RowError(
            table.path,
            table.lines[unknown],
            f"label {found[unknown]!r} in column {spec.column!r} is not one of {', '.join(names)}",
            "Add it to labels.names in the recipe, or fix the row.",
        )
    if len(set(found)) < 2 and labels is None:
        what = f"only the class {found[0]!r}" if found else "no rows"
        raise InputError(
            f"{table.path}: column {spec.column!r} contains {what}", "A classifier needs rows of at least two classes."
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
            raise RowError(
                table.path, table.lines[wrong], f"column {name!r} must contain 0 or 1, got {column[wrong]!r}"
            )
        if len(set(column)) < 2:
            raise InputError(f"{table.path}: column {name!r} contains only {column[0] if column else 'nothing'}")
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
            where = f"column {spec.votes[name]!r} must contain a number of votes, got {column[wrong]!r}"
            raise RowError(table.path, table.lines[wrong], where)
        counts.append([int(value) for value in column])
    votes = np.array(counts, dtype=np.float32).T
    total = votes.sum(axis=1)
    if (total == 0).any():
        raise RowError(table.path, table.lines[int(np.flatnonzero(total == 0)[0])], "the row has no votes")
    shares: NDArray[np.float32] = votes / total[:, None]
    return shares


def label_counts(examples: Examples) -> dict[str, int]:
    """Label -> number of rows."""
    if examples.labels.multi:
        return dict(zip(examples.labels.names, examples.y_true.sum(axis=0).tolist(), strict=True))
    counts = Counter(examples.y_true.tolist())
    return {name: counts[i] for i, name in enumerate(examples.labels.names)}


def save_examples(path: Path, examples: Examples) -> None:
    """Writes held-out rows into a run: line in the data file, text as the model reads it, and labels."""

    def names(row: Any) -> Iterable[str]:
        indices = np.flatnonzero(row) if examples.labels.multi else [row]
        return (examples.labels.names[i] for i in indices)

    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["line", "text", "labels"])
        for line, text, y_true in zip(examples.lines, examples.texts, examples.y_true, strict=True):
            writer.writerow([line, text, "\n".join(names(y_true))])


def load_saved_rows(path: Path, labels: Labels) -> tuple[list[str], NDArray[np.int64]]:
    """Texts and true labels that :func:`save_examples` wrote."""
    table = read_table(path)
    cells = [value.split("\n") if value else [] for value in table.column("labels")]
    y_true = np.zeros((len(cells), len(labels)), dtype=np.int64)
    for i, names in enumerate(cells):
        for name in names:
            y_true[i, labels.names.index(name)] = 1
    return table.column("text"), y_true if labels.multi else y_true.argmax(axis=1)
