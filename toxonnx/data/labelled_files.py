"""Reads labelled files as a recipe describes them."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toxonnx.data.examples import Examples
from toxonnx.data.label_columns import LabelColumns, check_label_cells, read_label_cells
from toxonnx.data.label_values import MISSING, class_names, look_like_scores, quote, reads_decimals
from toxonnx.data.targets import read_targets
from toxonnx.errors import InputError, RowError
from toxonnx.io.base import ReadOptions, open_source
from toxonnx.io.input_file import is_pipe
from toxonnx.io.table import Table, read_table
from toxonnx.labels import Labels
from toxonnx.recipe import DataFile, LabelSpec, Recipe, Source
from toxonnx.texts import TextSpec, fold

__all__ = ["LoadedRows", "data_files", "load_examples", "load_files"]


@dataclass(frozen=True)
class LoadedRows:
    """The rows of some files.

    Attributes:
        labelled: those with a label.
        unlabelled: those without one, which only a teacher can use.
        sources: source -> how the recipe uses its rows; empty if the recipe has no files.
    """

    labelled: Examples
    unlabelled: Examples
    sources: Mapping[str, Source]


def data_files(recipe: Recipe, data: Path | None) -> list[tuple[Path, DataFile]]:
    """The files to train on: those of the recipe, of which one may be ``data``, or only ``data``.

    Raises:
        InputError: ``data`` is missing, or the recipe names all files.
    """
    files = recipe.data or (DataFile(),)
    given = [file for file in files if not file.path]
    if given and data is None:
        raise InputError("there is no file to train on", "Name it on the command line, or in [[data]] in the recipe.")
    if data is not None and not given:
        raise InputError(
            f"the recipe names its files, so {data} is not used",
            "Leave it out, or leave out one path in [[data]] in the recipe.",
        )
    return [(Path(file.path) if file.path else Path(data or ""), file) for file in files]


def load_examples(
    path: str | Path,
    recipe: Recipe,
    *,
    reading: ReadOptions | None = None,
    labels: Labels | None = None,
) -> Examples:
    """Reads the labelled rows of one file by a recipe; see :func:`load_files`."""
    return load_files([(Path(path), DataFile())], recipe, reading=reading, labels=labels).labelled


def load_files(
    files: Sequence[tuple[Path, DataFile]],
    recipe: Recipe,
    *,
    reading: ReadOptions | None = None,
    labels: Labels | None = None,
) -> LoadedRows:
    """Reads labelled files by a recipe.

    Args:
        files: the files, and how each differs from what the recipe says.
        recipe: names the columns.
        reading: how to read them.
        labels: label set of the training files, if these are validation files.

    Raises:
        InputError: a column is missing, or there are fewer than two classes.
        RowError: a label is missing, unless the recipe drops such rows or has a teacher for them, or unknown.
    """
    spec = recipe.labels
    opened = [_File.open(path, file, recipe, reading, training=labels is None) for path, file in files]
    names = None if recipe.multi else _class_names(opened, spec, labels)
    parts = [_Part.of(file, recipe, names, index if len(files) > 1 else None) for index, file in enumerate(opened)]
    where = " and ".join(str(path) for path, _ in files)
    if not any(part.texts for part in parts):
        raise InputError(f"{where} has no row with text in {', '.join(map(repr, opened[0].text_columns))}")
    y_true = np.concatenate([part.y_true[part.labelled] for part in parts])
    label_set = labels or _label_set(spec, names, y_true, where)
    rows = Examples.concatenate([part.examples(part.labelled, label_set, recipe) for part in parts])
    others = Examples.concatenate(
        [part.examples(~part.labelled & part.taught, label_set, recipe, with_targets=False) for part in parts]
    )
    if not len(rows):
        raise InputError(f"{where} has no row with a label")
    if labels is None:
        columns_true = rows.y_true.T if recipe.multi else [rows.y_true == i for i in range(len(label_set))]
        absent = [name for name, true in zip(label_set.names, columns_true, strict=True) if not (true == 1).any()]
        if absent:
            key = "labels.columns" if spec.columns else "labels.names"
            remove = f", or remove the class from {key} in the recipe" if spec.columns or spec.names else ""
            what = f"{where} has no row with text of the class {', '.join(map(quote, absent))}"
            raise InputError(what, f"Add such rows{remove}.")
    return LoadedRows(rows, others, _settings(opened) if recipe.data and labels is None else {})


@dataclass(frozen=True)
class _File:
    """A file in memory, with the recipe's names of its columns.

    Attributes:
        spec: how it differs from what the recipe says.
        table: the columns that the recipe names. A label column that the file lacks is empty.
        text_columns: the recipe's names of the text columns.
        training: whether the file is trained on, not validated.
        sources: of each row.
        weights: float32 [rows], of each row; those with 0 are left out.
    """

    spec: DataFile
    table: Table
    text_columns: tuple[str, ...]
    training: bool
    sources: list[str]
    weights: NDArray[np.float32]

    def subset(self, rows: NDArray[np.int64]) -> _File:
        """Some of the rows, by index."""
        sources = [self.sources[i] for i in rows]
        return dataclasses.replace(
            self, table=self.table.subset(rows.tolist()), sources=sources, weights=self.weights[rows]
        )

    @classmethod
    def open(cls, path: Path, spec: DataFile, recipe: Recipe, reading: ReadOptions | None, *, training: bool) -> _File:
        if is_pipe(path):
            what = "training reads its files more than once, so none can be standard input or a pipe"
            raise InputError(what, "Name a file.")
        with open_source(path, reading) as source:
            header = list(source.columns)
            # Training reads the columns that the recipe names, and never others.
            try:
                text = recipe.text.columns or recipe.text.choose_columns(header)
            except InputError as error:
                names = ", ".join(map(repr, header))
                hint = f'Name the text column in the recipe: text.columns = ["COLUMN"]; the columns are {names}.'
                raise InputError(f"{path}: {error.what}", source.columns_hint or hint) from None
        labels = recipe.labels
        wanted = [*text, *LabelColumns.of(labels).columns]
        if training:
            wanted += [*recipe.split.group, *labels.votes.values()]
            own = (recipe.training.weight_column, spec.source_column, recipe.teacher.text_column)
            wanted += [name for name in own if name]
        # One of several files may lack labels and groups.
        may_lack = {*LabelColumns.of(labels).columns, *recipe.split.group} - set(spec.columns) if recipe.data else set()
        theirs = {name: spec.columns.get(name, name) for name in dict.fromkeys(wanted)}
        lacking = [name for name, column in theirs.items() if name in may_lack and column not in header]
        table = read_table(path, reading, columns=[column for name, column in theirs.items() if name not in lacking])
        columns = {name: table.columns[column] for name, column in theirs.items() if name not in lacking}
        columns |= {name: [""] * len(table) for name in lacking if name not in recipe.split.group}
        table = Table(path, columns, table.lines)
        return cls(spec, table, text, training, *_sources(table, spec, recipe, training=training))


@dataclass(frozen=True)
class _Part:
    """The rows of one file that are used.

    Attributes:
        file: the file, with these rows.
        y_true: see :class:`toxonnx.data.examples.Examples`; of unlabelled rows too.
        labelled: bool [rows].
        texts: normalised, all not empty.
        teacher_texts: of each row; see :class:`toxonnx.data.examples.Examples`.
        taught: bool [rows], whether a teacher reads the row.
        dropped, unlabelled, unused, notes, index: see :class:`toxonnx.data.examples.Examples`; the file's number among
            several.
    """

    file: _File
    y_true: NDArray[np.int64]
    labelled: NDArray[np.bool_]
    texts: list[str]
    teacher_texts: list[str]
    taught: NDArray[np.bool_]
    dropped: int
    unlabelled: int
    unused: int
    notes: tuple[str, ...]
    index: int | None

    @classmethod
    def of(cls, file: _File, recipe: Recipe, names: dict[str, str] | None, index: int | None) -> _Part:
        spec, table, columns = recipe.labels, file.table, LabelColumns.of(recipe.labels)
        notes = _notes(table, spec, names)
        y_true = read_label_cells(table, columns, names)
        labelled: NDArray[np.bool_] = (np.atleast_2d(y_true.T) != MISSING).any(axis=0)
        texts = [recipe.text.render(row) for row in zip(*map(table.column, file.text_columns), strict=True)]
        teacher_texts = _teacher_texts(file, recipe)
        taught = np.full(len(table), file.training and recipe.teacher.alpha > 0)
        if teacher_texts:
            taught = np.array([bool(text) for text in teacher_texts])
        checked = np.flatnonzero((labelled | (~taught & (spec.missing != "drop"))) & (file.weights > 0))
        hint = "Add it to labels.names in the recipe, or fix the row."
        check_label_cells(table.subset(checked.tolist()), columns, y_true[checked], names or (), hint)
        has_text = np.array([bool(text.strip()) for text in texts], dtype=np.bool_)
        kept = np.flatnonzero(has_text & (file.weights > 0))
        kept = _capped(kept, file.sources, file.spec, recipe.split.seed) if recipe.data and file.training else kept
        return cls(
            file.subset(kept),
            y_true[kept],
            labelled[kept],
            [texts[i] for i in kept],
            [teacher_texts[i] for i in kept] if teacher_texts else [],
            taught[kept],
            dropped=int((~has_text).sum()),
            unlabelled=int((~labelled & ~taught)[kept].sum()),
            unused=int(has_text.sum()) - len(kept),
            notes=notes,
            index=index,
        )

    def examples(
        self, rows: NDArray[np.bool_], labels: Labels, recipe: Recipe, *, with_targets: bool = True
    ) -> Examples:
        """Some of the rows; ``rows`` is bool [rows]."""
        indices = np.flatnonzero(rows).tolist()
        table = self.file.table.subset(indices)
        targets = read_targets(table, recipe.labels, labels) if with_targets and self.file.training else None
        return Examples(
            [self.texts[i] for i in indices],
            self.y_true[indices],
            table.lines,
            labels,
            TextSpec(self.file.text_columns, recipe.text.template, recipe.text.normalise),
            targets,
            _groups(table, recipe.split.group, self.index) if self.file.training else (),
            tuple(self.file.sources[i] for i in indices) if recipe.data and self.file.training else (),
            self.file.weights[indices],
            tuple(self.teacher_texts[i] for i in indices) if self.teacher_texts else (),
            dropped=self.dropped,
            unlabelled=self.unlabelled,
            unused=self.unused,
            notes=self.notes,
        )


def _sources(table: Table, spec: DataFile, recipe: Recipe, *, training: bool) -> tuple[list[str], NDArray[np.float32]]:
    """The source and the weight of each row."""
    if not training:
        return [""] * len(table), np.ones(len(table), dtype=np.float32)
    names = [spec.name or table.path.stem] * len(table)
    if spec.source_column:
        names = [value.strip() for value in table.column(spec.source_column)]
        if unknown := sorted(set(spec.sources) - set(names)):
            raise InputError(f"{table.path}: no row has the source {', '.join(map(repr, unknown))}")
    weights = np.array([spec.settings(name).weight for name in names], dtype=np.float32)
    if column := recipe.training.weight_column:
        weights *= np.array(
            [_weight(table, row, value) for row, value in enumerate(table.column(column))], dtype=np.float32
        )
    return names, weights


def _settings(files: Sequence[_File]) -> dict[str, Source]:
    """Source -> how its rows are used, which has to be the same in all files that are used."""
    found: dict[str, tuple[Source, Path]] = {}
    for file in files:
        for name in dict.fromkeys(name for name, weight in zip(file.sources, file.weights, strict=True) if weight > 0):
            one = file.spec.settings(name)
            settings = Source(one.weight, one.cap, one.licence, one.fingerprints)
            before, path = found.setdefault(name, (settings, file.table.path))
            if before != settings:
                raise InputError(
                    f"{path} and {file.table.path} both have the source {name!r}, with other settings",
                    "Give the files different names: name in [[data]], or other values in the column of the sources.",
                )
    return {name: settings for name, (settings, _) in found.items()}


def _teacher_texts(file: _File, recipe: Recipe) -> list[str]:
    """What a teacher reads in each row, "" for nothing; empty if it reads the row's own text."""
    column = recipe.teacher.text_column
    texts = map(recipe.text.clean, file.table.column(column) if column and file.training else ())
    return [text if text.strip() else "" for text in texts]


def _weight(table: Table, row: int, value: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        what = f"the weight of a row must be a number of at least 0, got {quote(value.strip())}"
        raise RowError(table.path, table.lines[row], what)
    return weight


def _capped(rows: NDArray[np.int64], sources: Sequence[str], spec: DataFile, seed: int) -> NDArray[np.int64]:
    """The rows, but of each source at most as many as its cap allows, drawn at random."""
    of_source: dict[str, list[int]] = {}
    for row in rows.tolist():
        of_source.setdefault(sources[row], []).append(row)
    kept = []
    for name, members in of_source.items():
        cap = spec.settings(name).cap
        if cap and len(members) > cap:
            # The draw of a source does not depend on other sources.
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            members = rng.permutation(members)[:cap].tolist()
        kept += members
    return np.sort(np.array(kept, dtype=np.int64))


def _class_names(files: Sequence[_File], spec: LabelSpec, labels: Labels | None) -> dict[str, str]:
    """The classes of the label column: value -> label name."""
    if spec.names or labels:
        return spec.names or {name: name for name in (labels.names if labels else ())}
    values = [
        value
        for file in files
        for value, weight in zip(file.table.column(spec.column), file.weights, strict=True)
        if weight > 0
    ]
    if spec.threshold is None and look_like_scores(values):
        raise InputError(
            f"{files[0].table.path}: column {spec.column!r} looks like a score, not a class: it has "
            f"{len(set(values))} different numbers",
            "Set labels.threshold in the recipe, the number from which a row counts as 1, or name another column.",
        )
    return class_names(values, spec.threshold)


def _label_set(spec: LabelSpec, names: dict[str, str] | None, y_true: NDArray[np.int64], where: str) -> Labels:
    """The label set of training files; raises if it has a single class."""
    found = [np.unique(column[column >= 0]) for column in np.atleast_2d(y_true.T)]
    order = tuple(dict.fromkeys(names.values())) if names is not None else spec.columns
    for i, values in enumerate(found):
        if len(values) < 2:
            column = spec.columns[i] if spec.columns else spec.column
            label = quote(order[values[0]]) if names is not None and len(values) else str(*values)
            what = f"only the class {label}" if len(values) else "no label"
            hint = "A classifier needs rows of at least two classes."
            if spec.threshold is not None:
                hint = "Choose a labels.threshold that some rows reach and others do not."
            raise InputError(f"{where}: column {column!r} contains {what}", hint)
    # A run keeps the labels of its rows on a line each.
    if broken := [name for name in order if "\n" in name or "\r" in name]:
        raise InputError(f"{where}: the name of a label contains a line break: {quote(broken[0])}", "Rename the label.")
    return Labels(order, "softmax" if names is not None else "sigmoid")


def _notes(table: Table, spec: LabelSpec, names: dict[str, str] | None) -> tuple[str, ...]:
    if spec.threshold is not None:
        return ()
    return tuple(
        f"column {name!r} contains whole numbers with decimals: 1.0 is read as 1"
        for name in LabelColumns.of(spec).columns
        if reads_decimals(table.column(name), names or ())
    )


def _groups(table: Table, columns: tuple[str, ...], index: int | None) -> tuple[str, ...]:
    """The group of each row; groups of different files differ, and so do the rows of a file without such columns."""
    if not columns:
        return ()
    file = "" if index is None else f"{index}\0"
    if not all(name in table.columns for name in columns):
        return tuple(f"{file}line {line}" for line in table.lines)
    values = zip(*(table.column(name) for name in columns), strict=True)
    return tuple(file + "\0".join(map(fold, row)) for row in values)
