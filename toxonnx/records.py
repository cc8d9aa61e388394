"""Dataclasses from plain values, as they come out of JSON: the reverse of :func:`dataclasses.asdict`."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["from_plain"]

R = TypeVar("R")


def from_plain(kind: type[R], table: Any, where: str = "") -> R:
    """Builds a dataclass, and the dataclasses inside it, by the types of its fields.

    Args:
        kind: a dataclass.
        table: a mapping of its fields; fields with a default may be missing.
        where: path of ``table`` in the document, for errors.

    Raises:
        TypeError: ``table`` is not a mapping, or a value has another type than its field.
        KeyError: a key is unknown or missing.
    """
    if not isinstance(table, Mapping):
        raise TypeError(f"{where or 'the document'} must be an object, got {type(table).__name__}")
    hints = typing.get_type_hints(kind)
    prefix = f"{where}." if where else ""
    for key in table:
        if key not in hints:
            raise KeyError(f"unknown key {prefix}{key}")
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # R is a dataclass
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in table:
            raise KeyError(f"missing key {prefix}{field.name}")
    return kind(**{key: _value(hints[key], value, prefix + key) for key, value in table.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        if value is None and type(None) in inner:
            return None
        options = [option for option in inner if option is not type(None)]
        hint = next((option for option in options if option is type(value)), options[0])
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return from_plain(hint, value, where)  # type: ignore[arg-type]  # it is a type, not an instance
    if origin in {list, tuple} and isinstance(value, list | tuple):
        if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
            if len(value) != len(inner):
                raise TypeError(f"{where} must have {len(inner)} values, got {len(value)}")
            return tuple(_value(kind, item, where) for kind, item in zip(inner, value, strict=True))
        return origin(_value(inner[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _value(inner[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    wanted = getattr(origin or hint, "__name__", str(hint))
    raise TypeError(f"{where} must be {wanted}, got {type(value).__name__}")
