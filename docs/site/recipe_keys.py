"""The reference of recipes: every key with its type, default and meaning, from the dataclasses of toxonnx.recipe."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from typing import Annotated, Any

from docstrings import cell, field_docs, summary

from toxonnx.recipe import DataFile, Recipe, Source

__all__ = ["page"]

_TYPES = {str: "string", int: "integer", float: "number", bool: "true or false"}


def page() -> str:
    """The tables of all keys."""
    return "\n".join(
        [
            *_tables(Recipe, ""),
            *_tables(DataFile, "data", "[[data]]"),
            *_tables(Source, "data.sources.NAME"),
        ]
    )


def _tables(kind: type, name: str, title: str = "") -> list[str]:
    """A table of a dataclass, and one for each dataclass in it."""
    docs, hints = field_docs(kind), typing.get_type_hints(kind, include_extras=True)
    rows, inner = [], []
    for field in dataclasses.fields(kind):
        path, hint = f"{name}.{field.name}".lstrip("."), hints[field.name]
        if dataclasses.is_dataclass(hint):
            inner += _tables(typing.cast(type, hint), path)
        else:
            meaning = docs[field.name].replace("None", "none")  # TOML has no null
            rows.append((f"`{path}`", _type_name(hint), _default(field), meaning))
    heading = title or (f"[{name}]" if name else "Top level")
    about = summary(kind) if name else "Keys before the first table."
    lines = [f"## {heading}\n", about, ""]
    lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(map(cell, row))} |" for row in rows]
    return [*lines, "", *inner]


def _type_name(hint: Any) -> str:
    """A type and its rules in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        rules = [rule.description for rule in inner[1:]]
        return rules[0] if "enum" in inner[1].json_schema else ", ".join([_type_name(inner[0]), *rules])
    if origin in {types.UnionType, typing.Union}:
        return " or ".join(_type_name(part) for part in inner if part is not type(None))
    if origin is dict:
        return f"table of {_plural(inner[1])}"
    if origin is tuple:
        return f"list of {_plural(inner[0])}"
    return _TYPES.get(hint, "table")


def _plural(hint: Any) -> str:
    """The type of several values in words: "numbers, 0 or more", "tables of strings"."""
    kind, _, rest = _type_name(hint).partition(" ")
    return f"{kind.rstrip(',')}s{',' if kind.endswith(',') else ''} {rest}".rstrip()


def _default(field: dataclasses.Field[Any]) -> str:
    """A default as TOML writes it."""
    if field.default_factory is not dataclasses.MISSING:
        return f"`{json.dumps(field.default_factory())}`"
    if field.default is dataclasses.MISSING:
        return ""  # only the name, whose meaning says it
    return "none" if field.default is None else f"`{json.dumps(field.default)}`"
