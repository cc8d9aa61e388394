"""Chooses the text and label columns: those of the recipe or the options, else by their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from toxonnx.check.finding import format_names
from toxonnx.check.options import CheckOptions
from toxonnx.check.raw_table import RawTable, read_raw_table
from toxonnx.data.label_values import look_like_scores
from toxonnx.errors import InputError
from toxonnx.io.header import USUAL_LABEL_COLUMNS
from toxonnx.recipe import LabelSpec, Recipe, Split
from toxonnx.texts import TextSpec

__all__ = ["read_files", "resolve_recipe"]

#: a column with more distinct values is a label column only if it has five rows per value on average
MANY_VALUES = 50


def read_files(options: CheckOptions) -> tuple[RawTable, RawTable | None, Recipe]:
    """Reads the data and the validation file.

    Returns:
        The data, the validation file if there is one, and the recipe that both are checked against.

    Raises:
        InputError: a file cannot be read as a table, a column is missing, no column looks like the label, or a column
            is both text and label.
    """
    recipe = options.recipe
    if recipe is not None and (options.text_columns or options.label_columns):
        raise InputError("--text-column and --label-column cannot be combined with --recipe", "Remove one of them.")
    named: tuple[str, ...] = ()
    if options.text_columns and options.label_columns:
        named = (*options.text_columns, *options.label_columns)
    if recipe is not None:
        named = (*recipe.text.columns, recipe.labels.column, *recipe.labels.columns)
    data = read_raw_table(options.data, options.reading, named_columns=named)
    resolved = resolve_recipe(data, options)
    if options.validation is None:
        return data, None, resolved
    columns = _columns_read(resolved)
    validation = read_raw_table(options.validation, options.reading, options.validation.name, (*named, *columns))
    for name in columns:
        validation.column(name)
    return data, validation, resolved


def _columns_read(recipe: Recipe) -> tuple[str, ...]:
    return (*recipe.text.columns, *(recipe.labels.columns or (recipe.labels.column,)))


def resolve_recipe(data: RawTable, options: CheckOptions) -> Recipe:
    """The recipe with the options applied, or a recipe made from the options and the names of the file's columns.

    Raises:
        InputError: see :func:`read_files`.
    """
    header, recipe = list(data.table.columns), options.recipe
    split = recipe.split if recipe else Split()
    seed = split.seed if options.seed is None else options.seed
    split = replace(split, group=options.group or split.group, seed=seed)
    for name in (*options.text_columns, *options.label_columns, *split.group):
        data.column(name)
    if recipe is not None:
        columns = recipe.text.columns or _choose_text_columns(data, recipe.text, header)
        text, labels = replace(recipe.text, columns=columns), recipe.labels
    else:
        labels = _choose_labels(data, options.label_columns)
        others = [name for name in header if name not in {labels.column, *labels.columns}]
        text = TextSpec(options.text_columns or _choose_text_columns(data, TextSpec(), others))
    given = recipe or Recipe("", labels)
    max_length = options.max_length or given.max_length
    resolved = Recipe(
        given.name, labels, max_length=max_length, text=text, split=split,
        training=given.training, teacher=given.teacher,
    )  # fmt: skip
    named = (resolved.training.weight_column, resolved.teacher.text_column)
    for name in (*_columns_read(resolved), *labels.votes.values(), *filter(None, named)):
        data.column(name)
    both = [name for name in text.columns if name in {labels.column, *labels.columns}]
    if both:
        raise InputError(
            f"column {data.display_names[both[0]]!r} is both text and label",
            "Name different columns with --text-column and --label-column, or in the recipe.",
        )
    return resolved


def _choose_text_columns(data: RawTable, text: TextSpec, header: Sequence[str]) -> tuple[str, ...]:
    try:
        return text.choose_columns(header)
    except InputError as error:
        # The hint of the error lists the original column names, which may be texts.
        raise InputError(error.what, data.column_hint(" Name the text column with --text-column COLUMN.")) from None


def _choose_labels(data: RawTable, requested: Sequence[str]) -> LabelSpec:
    if len(requested) > 1:
        return LabelSpec(columns=tuple(dict.fromkeys(requested)))
    usual = [name for name in data.table.columns if name.strip().lower() in USUAL_LABEL_COLUMNS]
    if not requested and len(usual) != 1:
        names = format_names([repr(name) for name in usual])
        what = f"several columns might be the label: {names}" if usual else "no label column in the header"
        raise InputError(what, data.column_hint(" Name the label column with --label-column COLUMN."))
    name = requested[0] if requested else usual[0]
    values = {value.strip() for value in data.column(name)}
    # The values are shown, so a column of texts must not be taken for the label.
    if len(values) > MANY_VALUES and len(values) > len(data.table) / 5:
        hint = "Name the label column with --label-column COLUMN."
        if look_like_scores(data.column(name)):
            hint = "It looks like a score: set labels.threshold in a recipe, or name another one with --label-column."
        raise InputError(
            f"column {data.display_names[name]!r} has {len(values):,} distinct values in {len(data.table):,} rows, too "
            "many for labels",
            hint,
        )
    return LabelSpec(column=name)
