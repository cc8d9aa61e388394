"""The reference of the HTTP endpoints, from the OpenAPI document that ``toxonnx serve`` gives."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from docstrings import cell

from toxonnx.serve import openapi
from toxonnx.serve.app import PROTOCOLS

__all__ = ["document", "page"]

_TITLES = {
    "classify": "toxonnx",
    "perspective": "Perspective",
    "openai": "OpenAI moderation",
    "tei": "text-embeddings-inference",
    "kserve": "KServe v2",
    "huggingface": "Hugging Face",
}


def document() -> dict[str, Any]:
    """The OpenAPI document of a server, which names no bundle."""
    described = dict(openapi.document(PROTOCOLS, []))
    return {**described, "info": {**described["info"], "description": "What toxonnx serve answers."}}


def page() -> str:
    """The endpoints of each protocol with the fields of their requests and responses."""
    operations = [
        (one["tags"][0], f"{method.upper()} {path}", one)
        for path, methods in document()["paths"].items()
        for method, one in methods.items()
    ]
    parts = []
    for protocol, endpoints in groupby(operations, key=lambda operation: operation[0]):
        parts.append(f"## {_TITLES[protocol]}\n")
        parts += [_endpoint(title, operation) for _, title, operation in endpoints]
    return "\n".join(parts)


def _endpoint(title: str, operation: dict[str, Any]) -> str:
    key = "" if operation["security"] == [{}] else " Needs an API key if the server requires one."
    lines = [f"### `{title}`\n", operation["summary"] + key, ""]
    body = operation.get("requestBody", {}).get("content", {})
    lines += _table("field of the request", body)
    lines += _table("field of the response", operation["responses"]["200"].get("content", {}))
    return "\n".join(lines)


def _table(header: str, content: dict[str, Any]) -> list[str]:
    if not content:
        return []
    rows = list(_fields(content["application/json"]["schema"], ""))
    lines = [f"| {header} | type | meaning |", "| --- | --- | --- |"]
    return [*lines, *(f"| {' | '.join(map(cell, row))} |" for row in rows), ""] if rows else []


def _fields(schema: dict[str, Any], path: str, required: bool = True) -> Iterator[tuple[str, str, str]]:
    """The fields of a JSON schema, one after the other: ``results[].label``."""
    items = schema.get("items", {})
    if path and path != "[]" and not path.endswith("[]"):
        if "description" not in schema:
            raise LookupError(f"the OpenAPI document has no description of {path}")
        yield f"`{path}`", _type(schema) + ("" if required else ", optional"), schema["description"]
    for name, inner in schema.get("properties", {}).items():
        yield from _fields(inner, f"{path}.{name}".lstrip("."), name in schema.get("required", ()))
    if items.get("properties") or items.get("items"):
        yield from _fields(items, f"{path}[]")


def _type(schema: dict[str, Any]) -> str:
    """The type of a value in words."""
    alternatives = (*schema.get("anyOf", ()), *schema.get("oneOf", ()))
    if alternatives:
        return " or ".join(dict.fromkeys(map(_type, alternatives)))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    declared = schema.get("type", "any value")
    return declared if isinstance(declared, str) else " or ".join(declared)
