"""Which of a file's columns are what: by the recipe, by the options, or by what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toxonnx.check.finding import listing
from toxonnx.check.raw_table import USUAL_LABELS, Sheet, read_sheet
from toxonnx.errors import InputError
from toxonnx.io.base import ReadOptions
from toxonnx.recipe import LabelSpec, Recipe, Split
from toxonnx.texts import TextSpec

__all__ = ["Wanted", "choose", "read"]

#: different values of a label column, beyond which it is one if each stands in five rows on average
MANY_VALUES = 50


@dataclass(frozen=True)
class Wanted:
    """What is to be checked, and how.

    Attributes:
        data: the file.
        recipe: names columns, limit, group and shares; None to go by the options.
        text: text columns; empty with a recipe.
        label: one label column, or several columns of 0 and 1; empty with a recipe.
        group: columns, in place of the recipe's ``split.group``.
        max_length: tokens, in place of the recipe's.
        seed: of the splits, in place of the recipe's.
        validation: a second labelled file.
        reading: how to read both files.
        with_baseline: whether to train what needs no transformer.
    """

    data: Path
    recipe: Recipe | None = None
    text: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    max_length: int | None = None
    seed: int | None = None
    validation: Path | None = None
    reading: ReadOptions | None = None
    with_baseline: bool = True


def read(wanted: Wanted) -> tuple[Sheet, Sheet | None, Recipe]:
    """Both files, and the plan they are to be read by.

    Raises:
        InputError: a file cannot be read as a table, a column is not there, none looks like the label, or a column is
            text and label at once.
    """
    recipe = wanted.recipe
    if recipe is not None and (wanted.text or wanted.label):
        raise InputError(
            "--text-column and --label-column name columns, and so does the recipe", "Leave one of them out."
        )
    known: tuple[str, ...] = (*wanted.text, *wanted.label) if wanted.text and wanted.label else ()
    if recipe is not None:
        known = (*recipe.text.columns, recipe.labels.column, *recipe.labels.columns)
    sheet = read_sheet(wanted.data, wanted.reading, known=known)
    plan = choose(sheet, wanted)
    held = None
    if wanted.validation:
        held = read_sheet(
            wanted.validation, wanted.reading, wanted.validation.name, (*known, *_read(plan))
        )  # fmt: skip
        for name in _read(plan):
            held.column(name)
    return sheet, held, plan


def _read(plan: Recipe) -> tuple[str, ...]:
    return (*plan.text.columns, *(plan.labels.columns or (plan.labels.column,)))


def choose(sheet: Sheet, wanted: Wanted) -> Recipe:
    """The recipe, or one made of what was asked for and what the file's columns are called.

    Raises:
        InputError: see :func:`read`.
    """
    header, recipe = list(sheet.table.columns), wanted.recipe
    split = recipe.split if recipe else Split()
    seed = split.seed if wanted.seed is None else wanted.seed
    split = replace(split, group=wanted.group or split.group, seed=seed)
    for name in (*wanted.text, *wanted.label, *split.group):
        sheet.column(name)
    if recipe is not None:
        columns = recipe.text.columns or _text(sheet, recipe.text, header)
        spec, labels = replace(recipe.text, columns=columns), recipe.labels
    else:
        labels = _labels(sheet, wanted.label)
        taken = {labels.column, *labels.columns}
        spec = TextSpec(wanted.text or _text(sheet, TextSpec(), [name for name in header if name not in taken]))
    limit = wanted.max_length or (recipe.max_length if recipe else Recipe("", labels).max_length)
    plan = Recipe(recipe.name if recipe else "", labels, max_length=limit, text=spec, split=split)
    for name in (*_read(plan), *labels.votes.values()):
        sheet.column(name)
    both = [name for name in spec.columns if name in {labels.column, *labels.columns}]
    if both:
        raise InputError(f"column {sheet.names[both[0]]!r} is text and label at once")
    return plan


def _text(sheet: Sheet, spec: TextSpec, header: Sequence[str]) -> tuple[str, ...]:
    try:
        return spec.choose_columns(header)
    except InputError as error:
        # Its own hint lists the header as it stands.
        raise InputError(error.what, sheet.hint(" Name the one to read with --text-column COLUMN.")) from None


def _labels(sheet: Sheet, asked: Sequence[str]) -> LabelSpec:
    if len(asked) > 1:
        return LabelSpec(columns=tuple(dict.fromkeys(asked)))
    usual = [name for name in sheet.table.columns if name.strip().lower() in USUAL_LABELS]
    if not asked and len(usual) != 1:
        names = listing([repr(name) for name in usual])
        why = f"several columns might hold the label: {names}" if usual else "no label column in the header"
        raise InputError(why, sheet.hint(" Name the one to read with --label-column COLUMN."))
    name = asked[0] if asked else usual[0]
    values = {value.strip() for value in sheet.column(name)}
    # Its values are shown: a column of texts must not pass for labels.
    if len(values) > MANY_VALUES and len(values) > len(sheet.table) / 5:
        raise InputError(
            f"column {sheet.names[name]!r} holds {len(values):,} different values in {len(sheet.table):,} rows, too "
            "many for labels",
            "Name the label column with --label-column COLUMN.",
        )
    return LabelSpec(column=name)
