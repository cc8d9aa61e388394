"""The OpenAPI document of the server."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from toxonnx.manifest import Manifest
from toxonnx.serve.endpoints import Endpoint, Protocol, Schema

__all__ = ["document"]


def document(protocols: Sequence[Protocol], bundles: Sequence[Manifest]) -> Mapping[str, Any]:
    """The endpoints of some protocols, for a server of some bundles."""
    paths: dict[str, dict[str, Any]] = {}
    for protocol in protocols:
        for endpoint in protocol.endpoints:
            paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(protocol, endpoint)
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "toxonnx",
            "version": version("toxonnx"),
            "description": "Serves " + ", ".join(manifest.name for manifest in bundles) + ".",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(protocol: Protocol, endpoint: Endpoint) -> Mapping[str, Any]:
    operation: dict[str, Any] = {
        "tags": [protocol.name],
        "operationId": re.sub(r"\W+", "_", f"{endpoint.method.lower()}{endpoint.path}").strip("_"),
        "summary": endpoint.summary,
        "security": [{}] if endpoint.is_public else [{}, {"bearer": []}],
        "responses": {
            "200": _content(endpoint.response or {}, "The answer."),
            "default": {"description": "An error, in the form of the protocol."},
        },
    }
    if names := re.findall(r"{(\w+)}", endpoint.path):
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if endpoint.request is not None:
        operation["requestBody"] = {"required": True, **_content(endpoint.request, "")}
    return operation


def _content(schema: Schema, description: str) -> Mapping[str, Any]:
    content = {"content": {"application/json": {"schema": schema}}} if schema else {}
    return {"description": description, **content} if description else content
