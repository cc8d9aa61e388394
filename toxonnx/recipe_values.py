"""Recipes from the plain values of a TOML file; errors name the key."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from typing import Any, TypeVar

from toxonnx.errors import RecipeError

__all__ = ["build"]

R = TypeVar("R")
MAX_FLOAT = sys.float_info.max


def build(kind: type[R], table: Any, where: str, prefix: str = "") -> R:
    """Builds a dataclass, and the dataclasses inside it, by the types of its fields.

    Args:
        kind: a dataclass.
        table: a TOML table.
        where: the file, for messages.
        prefix: path of the table in the file, with a dot at its end.

    Raises:
        RecipeError: a key is unknown or missing, or a value has the wrong type; names the key.
    """
    if not isinstance(table, dict):
        raise RecipeError(f"{where}: {prefix.rstrip('.')} must be a table")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise RecipeError(
            f"{where}: unknown key {', '.join(prefix + key for key in unknown)}",
            f"The known keys are {', '.join(hints)}.",
        )
    values = {key: _value(hints[key], value, where, prefix + key) for key, value in table.items()}
    missing = [
        f.name
        for f in dataclasses.fields(kind)  # type: ignore[arg-type]  # R is a dataclass
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise RecipeError(f"{where}: {', '.join(prefix + key for key in missing)} is missing")
    return kind(**values)


def _value(hint: Any, value: Any, where: str, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where, f"{key}.")  # type: ignore[arg-type]  # it is a type, not an instance
    kind = _choose_type(hint, value)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(inner[0], item, where, f"{key}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {str(k): _value(inner[1], v, where, f"{key}.{k}") for k, v in value.items()}
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and is_number:
        if not abs(value) <= MAX_FLOAT:  # also true for NaN
            raise RecipeError(f"{where}: {key} must be a finite number, got {value!r:.20}")
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and not is_number):
        return value
    raise RecipeError(f"{where}: {key} must be {_type_name(hint)}, got {value!r}")


def _choose_type(hint: Any, value: Any) -> Any:
    """The type of a union that a value is meant for; ``hint`` itself if it is not a union."""
    if typing.get_origin(hint) is not types.UnionType:
        return hint
    options = typing.get_args(hint)
    others = [option for option in options if option is not str]
    return next((option for option in options if option is type(value)), others[0])


def _type_name(hint: Any) -> str:
    """A type in words."""
    names = {int: "an integer", float: "a number", str: "a string", bool: "true or false", dict: "a table"}
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return " or ".join(_type_name(option) for option in inner if option is not type(None))
    if origin is tuple:
        if dataclasses.is_dataclass(inner[0]):
            return "a list of tables"
        return 'a list of strings, for example ["one"]' if inner[0] is str else "a list of numbers"
    return names.get(origin or hint, str(hint))
