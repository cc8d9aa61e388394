"""Labelled rows: texts as a model reads them, with their labels."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toxonnx.data.label_values import MISSING
from toxonnx.io.table import read_table
from toxonnx.labels import Labels
from toxonnx.texts import TextSpec

__all__ = ["Examples", "known_counts", "label_counts", "load_saved_rows", "load_saved_texts", "save_examples"]


@dataclass(frozen=True)
class Examples:
    """Labelled texts as the model reads them.

    Attributes:
        texts: normalised texts.
        y_true: int64 [rows] of label numbers, or for multi-label int64 [rows, labels] of 0, 1 and
            :data:`toxonnx.data.label_values.MISSING`.
        lines: the line of each row in its file.
        labels: the label set.
        text: how the columns became texts.
        targets: float32 [rows, labels], what the loss compares with in place of ``y_true``, such as the share of
            annotators that chose a label; NaN for a label that nobody judged. None to compare with ``y_true``.
        groups: keys of rows that stay on one side of a split (see :class:`toxonnx.recipe.Split`); empty for none.
        sources: the source of each row, if the recipe has any; see :class:`toxonnx.recipe.DataFile`.
        weights: float32 [rows], the weight of each row in the loss; empty if they are equal.
        teacher_texts: normalised, what a teacher reads in place of ``texts``, "" where it reads nothing; empty for
            ``texts``.
        dropped: number of rows left out because their text is empty.
        unlabelled: number of rows left out because they have no label.
        unused: number of rows left out by the weights and caps of their sources.
        notes: how the labels were read, where that may be unexpected.
    """

    texts: list[str]
    y_true: NDArray[np.int64]
    lines: list[int]
    labels: Labels
    text: TextSpec
    targets: NDArray[np.float32] | None = None
    groups: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    weights: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    teacher_texts: tuple[str, ...] = ()
    dropped: int = 0
    unlabelled: int = 0
    unused: int = 0
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
            None if self.targets is None else self.targets[indices],
            tuple(self.groups[i] for i in indices) if self.groups else (),
            tuple(self.sources[i] for i in indices) if self.sources else (),
            self.weights[indices] if len(self.weights) else self.weights,
            tuple(self.teacher_texts[i] for i in indices) if self.teacher_texts else (),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Examples]) -> Examples:
        """The rows of several files with the same labels, in order."""
        first = parts[0]
        targets = None
        if any(part.targets is not None for part in parts):
            missing = [np.full((len(part), len(first.labels)), np.nan, dtype=np.float32) for part in parts]
            filled = zip((part.targets for part in parts), missing, strict=True)
            targets = np.concatenate([nothing if known is None else known for known, nothing in filled])
        return cls(
            [text for part in parts for text in part.texts],
            np.concatenate([part.y_true for part in parts]),
            [line for part in parts for line in part.lines],
            first.labels,
            first.text,
            targets,
            tuple(key for part in parts for key in part.groups),
            tuple(source for part in parts for source in part.sources),
            np.concatenate([part.weights for part in parts]),
            tuple(text for part in parts for text in part.teacher_texts),
            dropped=sum(part.dropped for part in parts),
            unlabelled=sum(part.unlabelled for part in parts),
            unused=sum(part.unused for part in parts),
            notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        )


def label_counts(examples: Examples) -> dict[str, int]:
    """Label -> number of rows."""
    if examples.labels.multi:
        return dict(zip(examples.labels.names, (examples.y_true == 1).sum(axis=0).tolist(), strict=True))
    counts = Counter(examples.y_true.tolist())
    return {name: counts[i] for i, name in enumerate(examples.labels.names)}


def known_counts(examples: Examples) -> dict[str, int]:
    """Label of a multi-label file -> number of rows in which it was judged."""
    return dict(zip(examples.labels.names, (examples.y_true >= 0).sum(axis=0).tolist(), strict=True))


def save_examples(path: Path, examples: Examples) -> None:
    """Writes held-out rows into a run: line in the data file, text as the model reads it, labels, unknown labels.

    Of the characters that a CSV file cannot contain, NUL is left; it becomes U+FFFD.
    """
    numbers = np.arange(len(examples.labels))
    y_true = examples.y_true if examples.labels.multi else (examples.y_true[:, None] == numbers).astype(np.int64)

    def names(cells: NDArray[np.int64], value: int) -> str:
        return "\n".join(examples.labels.names[i] for i in np.flatnonzero(cells == value))

    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["line", "text", "labels", "unknown"])
        for line, text, cells in zip(examples.lines, examples.texts, y_true, strict=True):
            writer.writerow([line, text.replace("\0", "\ufffd"), names(cells, 1), names(cells, MISSING)])


def load_saved_rows(path: Path, labels: Labels) -> tuple[list[str], NDArray[np.int64]]:
    """Texts and true labels that :func:`save_examples` wrote."""
    table = read_table(path)
    y_true = np.zeros((len(table), len(labels)), dtype=np.int64)
    for column, value in (("labels", 1), ("unknown", MISSING)):
        for i, cell in enumerate(table.column(column)):
            for name in cell.split("\n") if cell else ():
                y_true[i, labels.names.index(name)] = value
    return table.column("text"), y_true if labels.multi else y_true.argmax(axis=1)


def load_saved_texts(path: Path) -> list[str]:
    """Texts that :func:`save_examples` wrote."""
    return read_table(path).column("text")
