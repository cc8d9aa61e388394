"""The prose of a recipe, and the settings that it was written for."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from toxonnx.recipe import Recipe

__all__ = ["settings_fingerprint", "with_prose_of"]


def with_prose_of(recipe: Recipe, other: Recipe) -> Recipe:
    """A recipe with the prose of another one; see :class:`toxonnx.recipe.WrittenFor`."""
    return dataclasses.replace(
        recipe,
        description=other.description,
        language=other.language,
        labels=dataclasses.replace(
            recipe.labels, descriptions=other.labels.descriptions, mappings=other.labels.mappings
        ),
        card=other.card,
        written_for=other.written_for,
    )


def settings_fingerprint(recipe: Recipe) -> str:
    """Identifies everything in a recipe that decides what is trained, 16 hexadecimal digits.

    Values that are the default are left out, so that a new key changes no fingerprint.
    """
    parts = {name: getattr(recipe, name) for name in ("max_length", "text", "labels", "split", "model", "training")}
    parts["labels"] = dataclasses.replace(recipe.labels, descriptions={}, mappings={})  # prose
    if recipe.data:  # folders differ from machine to machine
        parts["data"] = [_changed(dataclasses.replace(file, path=Path(file.path).name)) for file in recipe.data]
    if recipe.teacher.models:
        models = tuple(Path(model).name for model in recipe.teacher.models)
        parts["teacher"] = dataclasses.replace(recipe.teacher, models=models)
    text = json.dumps({name: _changed(value) for name, value in parts.items()})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _changed(value: Any) -> Any:
    """The fields of a record that are not the default."""
    if isinstance(value, dict):
        return {key: _changed(item) for key, item in value.items()}
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    default = type(value)()
    names = [each.name for each in dataclasses.fields(value)]
    return {
        name: _changed(getattr(value, name)) for name in names if getattr(value, name) != getattr(default, name)
    }  # fmt: skip
