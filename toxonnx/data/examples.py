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

from toxonnx.data.label_columns import LabelColumns, check_label_cells, read_label_cells
from toxonnx.data.label_values import MISSING, class_names, look_like_scores, quote, reads_decimals, whole_number
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
        unlabelled: number of rows left out because they have no label.
        notes: how the labels were read, where that may be unexpected.
    """

    texts: list[str]
    y_true: NDArray[np.int64]
    lines: list[int]
    labels: Labels
    text: TextSpec
    votes: NDArray[np.float32] | None = None
    groups: tuple[str, ...] = ()
    dropped: int = 0
    unlabelled: int = 0
    notes: tuple[str, ...] = ()

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
        RowError: a label is missing, unless the recipe drops such rows, or unknown.
    """
    spec = recipe.labels
    with open_source(path, reading) as source:
        # Training reads the columns that the recipe names, and never others.
        try:
            columns = recipe.text.columns or recipe.text.choose_columns(source.columns)
        except InputError as error:
            raise InputError(f"{path}: {error.what}", source.columns_hint or error.hint) from None
    votes_wanted = bool(spec.votes) and labels is None
    named = [*columns, *([spec.column] if spec.column else spec.columns)]
    if labels is None:
        named += recipe.split.group
    table = read_table(path, reading, columns=[*named, *(spec.votes.values() if votes_wanted else ())])
    names = None if recipe.multi else _class_names(table, spec, labels)
    rows, notes = len(table), _notes(table, spec, names)
    table, y_true = _labelled_rows(table, spec, names)
    label_set = labels or _label_set(table, spec, names, y_true)
    values = [table.column(name) for name in columns]
    rendered = [recipe.text.render(row) for row in zip(*values, strict=True)]
    kept = [i for i, text in enumerate(rendered) if text.strip()]
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
        dropped=len(rendered) - len(kept),
        unlabelled=rows - len(table),
        notes=notes,
    )


def _class_names(table: Table, spec: LabelSpec, labels: Labels | None) -> dict[str, str]:
    """The classes of the label column: value -> label name."""
    if spec.names or labels:
        return spec.names or {name: name for name in (labels.names if labels else ())}
    values = table.column(spec.column)
    if spec.threshold is None and look_like_scores(values):
        raise InputError(
            f"{table.path}: column {spec.column!r} looks like a score, not a class: it has {len(set(values))} "
            "different numbers",
            "Set labels.threshold in the recipe, the number from which a row counts as 1, or name another column.",
        )
    return class_names(values, spec.threshold)


def _labelled_rows(table: Table, spec: LabelSpec, names: dict[str, str] | None) -> tuple[Table, NDArray[np.int64]]:
    """The rows with a label, and their labels; see :func:`toxonnx.data.label_columns.read_label_cells`."""
    columns = LabelColumns.of(spec)
    y_true = read_label_cells(table, columns, names)
    if spec.missing == "drop":
        kept = np.flatnonzero(~(np.atleast_2d(y_true.T) == MISSING).any(axis=0))
        table, y_true = table.subset(kept.tolist()), y_true[kept]
    hint = "Add it to labels.names in the recipe, or fix the row."
    check_label_cells(table, columns, y_true, names or (), hint)
    return table, y_true


def _label_set(table: Table, spec: LabelSpec, names: dict[str, str] | None, y_true: NDArray[np.int64]) -> Labels:
    """The label set of a training file; raises if it has a single class."""
    found = [np.unique(column) for column in np.atleast_2d(y_true.T)]
    order = tuple(dict.fromkeys(names.values())) if names is not None else spec.columns
    for i, values in enumerate(found):
        if len(values) < 2:
            column = spec.columns[i] if spec.columns else spec.column
            label = repr(order[values[0]]) if names is not None and len(values) else str(*values)
            what = f"only the class {label}" if len(values) else "no label"
            hint = "A classifier needs rows of at least two classes."
            if spec.threshold is not None:
                hint = "Choose a labels.threshold that some rows reach and others do not."
            raise InputError(f"{table.path}: column {column!r} contains {what}", hint)
    return Labels(order, "softmax" if names is not None else "sigmoid")


def _notes(table: Table, spec: LabelSpec, names: dict[str, str] | None) -> tuple[str, ...]:
    if spec.threshold is not None:
        return ()
    return tuple(
        f"column {name!r} contains whole numbers with decimals: 1.0 is read as 1"
        for name in LabelColumns.of(spec).columns
        if reads_decimals(table.column(name), names or ())
    )


def _groups(table: Table, columns: tuple[str, ...], kept: list[int]) -> tuple[str, ...]:
    if not columns:
        return ()
    values = list(zip(*(table.column(name) for name in columns), strict=True))
    return tuple("\0".join(map(fold, values[i])) for i in kept)


def _votes(table: Table, spec: LabelSpec, labels: Labels) -> NDArray[np.float32]:
    counts = []
    for name in labels.names:
        column = table.column(spec.votes[name])
        column = [whole_number(value.strip()) for value in column]
        wrong = next((i for i, value in enumerate(column) if not (value.isascii() and value.isdigit())), None)
        if wrong is not None:
            where = f"column {spec.votes[name]!r} must contain a number of votes, got {quote(column[wrong])}"
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
