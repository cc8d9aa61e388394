"""The generated parts of pages, and the generated files next to them."""

from __future__ import annotations

import json
from pathlib import Path

import command_line
import findings
import http_endpoints
import manifest_schema
import python_api
import recipe_keys

__all__ = ["GENERATORS", "write_files"]

#: name in ``<!-- generated: NAME -->`` -> function that writes the Markdown
GENERATORS = {
    "command-line": command_line.page,
    "findings": findings.page,
    "http": http_endpoints.page,
    "manifest": manifest_schema.page,
    "python": python_api.page,
    "recipe": recipe_keys.page,
}


def write_files(folder: Path) -> None:
    """Writes ``manifest.schema.json`` and ``openapi.json``, which the pages of the reference link to."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in (
        ("manifest.schema.json", manifest_schema.schema()),
        ("openapi.json", http_endpoints.document()),
    ):
        (folder / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
