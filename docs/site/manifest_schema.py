"""The reference of manifests: JSON Schema and tables, from the dataclasses of toxonnx.manifest."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any, NotRequired

from docstrings import cell, field_docs, summary

from toxonnx.manifest import SCHEMA, Manifest

__all__ = ["page", "schema"]

_TYPES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema() -> dict[str, Any]:
    """The JSON Schema of ``toxonnx.json``. Rules that compare values with each other are not part of it."""
    definitions: dict[str, Any] = {}
    _add(Manifest, definitions)
    manifest = definitions.pop("Manifest")
    manifest["properties"] = {
        "schema": {"const": SCHEMA, "description": "version of the manifest"},
        "seal": {"type": "string", "description": "sha256 of the manifest itself"},
        **manifest["properties"],
    }
    manifest["required"] = ["schema", "seal", *manifest["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "toxonnx.json",
        **manifest,
        "$defs": dict(sorted(definitions.items())),
    }


def page() -> str:
    """A table for each section."""
    table = schema()
    parts = [_section("Manifest", table)]
    parts += [_section(name, definition) for name, definition in table["$defs"].items()]
    return "\n".join(parts)


def _add(kind: type, definitions: dict[str, Any]) -> None:
    """Adds the definition of a record, and those of the records in it."""
    if kind.__name__ in definitions:
        return
    definitions[kind.__name__] = {}  # a name in use, in case that a record contains its own kind
    hints = typing.get_type_hints(kind, include_extras=True)
    docs = field_docs(kind) if dataclasses.is_dataclass(kind) else {}
    optional = {name for name, hint in hints.items() if typing.get_origin(hint) is NotRequired}
    if dataclasses.is_dataclass(kind):
        required = (dataclasses.MISSING, dataclasses.MISSING)
        optional = {one.name for one in dataclasses.fields(kind) if (one.default, one.default_factory) != required}
    properties = {}
    for name, hint in hints.items():
        properties[name] = _schema(hint, definitions)
        if name in docs:
            properties[name]["description"] = docs[name].replace("None", "null")
    definitions[kind.__name__] = {
        "description": summary(kind),
        "type": "object",
        "properties": properties,
        "required": [name for name in hints if name not in optional],
        "additionalProperties": False,
    }


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is NotRequired:
        return _schema(inner[0], definitions)
    if origin is Annotated:
        rules = {key: value for rule in inner[1:] for key, value in rule.json_schema.items()}
        return {**_schema(inner[0], definitions), **rules}
    if origin in {types.UnionType, typing.Union}:
        return {"anyOf": [_schema(part, definitions) for part in inner]}
    if origin is list or (origin is tuple and Ellipsis in inner):
        return {"type": "array", "items": _schema(inner[0], definitions)}
    if origin is tuple:
        items = [_schema(part, definitions) for part in inner]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if origin is dict:
        names = _schema(inner[0], definitions)
        limits = {"propertyNames": names} if len(names) > 1 else {}
        return {"type": "object", "additionalProperties": _schema(inner[1], definitions), **limits}
    if hint is type(None):
        return {"type": "null"}
    if hint is Any:
        return {}
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    _add(hint, definitions)
    return {"$ref": f"#/$defs/{hint.__name__}"}


def _section(name: str, definition: dict[str, Any]) -> str:
    lines = [f"## {name}\n", definition["description"], "", "| key | type | meaning |", "| --- | --- | --- |"]
    for key, value in definition["properties"].items():
        required = "" if key in definition["required"] else ", optional"
        row = (f"`{key}`", _words(value) + required, value.get("description", ""))
        lines.append(f"| {' | '.join(map(cell, row))} |")
    return "\n".join([*lines, ""])


def _words(value: dict[str, Any]) -> str:
    """A schema in words, with links to the tables of records."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(map(_words, value["anyOf"]))
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    if "items" in value:
        return f"array of {_words(value['items'])}"
    if "prefixItems" in value:
        return f"array of {len(value['prefixItems'])} x {_words(value['prefixItems'][0])}"
    if isinstance(value.get("additionalProperties"), dict):
        return f"object of {_words(value['additionalProperties'])}"
    return ", ".join([str(value.get("type", "any value")), *_limits(value)])


def _limits(value: dict[str, Any]) -> Iterable[str]:
    for keyword, words in (("minimum", "at least"), ("exclusiveMinimum", "above"), ("maximum", "at most")):
        if keyword in value:
            yield f"{words} {value[keyword]:,}"
    if "pattern" in value:
        yield f"`{value['pattern']}`"
