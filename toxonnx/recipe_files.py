"""Recipes from TOML files and plain values, checked."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from toxonnx.errors import InputError, RecipeError
from toxonnx.formats import check_precision_and_layout
from toxonnx.labels import Labels
from toxonnx.recipe import Recipe
from toxonnx.records import from_plain, read_toml
from toxonnx.resources import find_recipe
from toxonnx.vocabularies import check_mappings

__all__ = ["load_recipe", "recipe_from_dict"]


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Reads a recipe: a TOML file, or the name of one that ships with toxonnx.

    Raises:
        RecipeError: it does not exist, is not TOML, has an unknown key, or a value of the wrong type or range.
    """
    path = find_recipe(name_or_path)
    try:
        table = read_toml(path)
    except InputError as error:
        raise RecipeError(error.what) from None
    return _with_paths(recipe_from_dict({"name": path.stem, **table}, str(path)), path.parent)


def _with_paths(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with absolute paths of its files."""

    def absolute(path: str) -> str:
        return str((folder / path).resolve())

    data = tuple(dataclasses.replace(file, path=absolute(file.path)) if file.path else file for file in recipe.data)
    models = tuple(absolute(model) if (folder / model).exists() else model for model in recipe.teacher.models)
    return dataclasses.replace(recipe, data=data, teacher=dataclasses.replace(recipe.teacher, models=models))


def recipe_from_dict(table: dict[str, Any], where: str) -> Recipe:
    """A recipe from plain values; errors name ``where``."""
    try:
        recipe = from_plain(Recipe, table)
        _check(recipe)
    except InputError as error:
        raise RecipeError(f"{where}: {error.what}", error.hint) from None
    return recipe


def _check(recipe: Recipe) -> None:
    labels, split, training, export = recipe.labels, recipe.split, recipe.training, recipe.export
    if bool(labels.column) == bool(labels.columns):
        raise InputError("labels must have either column or columns")
    if labels.columns and (labels.names or labels.votes):
        raise InputError("labels.names and labels.votes need labels.column, not labels.columns")
    if labels.threshold is not None and labels.names and set(labels.names) != {"0", "1"}:
        raise InputError("with labels.threshold, labels.names must name 0 (below it) and 1")
    if labels.names and len(set(labels.names.values())) < 2:
        raise InputError("labels.names must name at least two labels")
    if labels.names:
        Labels(tuple(dict.fromkeys(labels.names.values())))
    if labels.columns:
        Labels(labels.columns, "sigmoid").without(export.leave_out)
    elif export.leave_out:
        raise InputError("export.leave_out needs labels.columns, a multi-label model")
    if labels.votes and set(labels.votes) != set(labels.names.values()):
        raise InputError("labels.votes must have a column for each label in labels.names")
    label_names = set(labels.names.values() or labels.columns)
    if label_names and (unknown := sorted(set(labels.descriptions) - label_names)):
        raise InputError(f"labels.descriptions: {', '.join(unknown)} is not a label")
    check_mappings(labels.mappings, label_names)
    if split.validation + split.test >= 1:
        raise InputError("split.validation and split.test leave no rows for training")
    check_precision_and_layout(export.precision, export.layout)
    export.reading(max_length=recipe.max_length, multi=recipe.multi)
    if sum(map(bool, (export.target_precision, export.target_recall, export.best_f1))) > 1:
        raise InputError("export can have only one of target_precision, target_recall and best_f1")
    _check_data(recipe)
    for key in ("label_weights", "pos_weight"):
        table = getattr(training, key)
        if unknown := sorted(set(table) - set(labels.columns)):
            raise InputError(f"training.{key}: {', '.join(unknown)} is not one of labels.columns")
    if training.interpolation < 1 and recipe.model.method != "full":
        raise InputError('training.interpolation needs model.method = "full"')
    if training.pos_weight and training.class_weights:
        raise InputError("training can have only one of class_weights and pos_weight")


def _check_data(recipe: Recipe) -> None:
    labels, teacher = recipe.labels, recipe.teacher
    if labels.soft and (labels.threshold is None or labels.votes):
        raise InputError("labels.soft needs labels.threshold, by which its metrics are measured, and no labels.votes")
    if bool(teacher.models) != (teacher.alpha > 0):
        raise InputError("teacher needs both models and alpha")
    if teacher.text_column and not teacher.models:
        raise InputError("teacher.text_column needs teacher.models")
    if sum(not file.path for file in recipe.data) > 1:
        raise InputError("only one [[data]] can be the file of the command line, and so have no path")
    for file in recipe.data:
        if file.sources and not file.source_column:
            raise InputError("data.sources needs data.source_column")
