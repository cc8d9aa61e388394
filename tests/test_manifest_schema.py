"""The JSON Schema of manifests, which the documentation site publishes, says what ``Manifest.from_dict`` accepts."""

from __future__ import annotations

import copy
import importlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from helpers import ROOT

from toxonnx.errors import InputError
from toxonnx.manifest import Manifest
from toxonnx.resources import DEFAULT_BUNDLE


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs" / "site"))
        table: dict[str, Any] = importlib.import_module("manifest_schema").schema()
    jsonschema.Draft202012Validator.check_schema(table)
    return table


def test_the_included_manifest_is_valid(schema: dict[str, Any]) -> None:
    jsonschema.validate(_included(), schema)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("max_length", 2),
        ("max_length", "128"),
        ("precision", "int4"),
        ("model.method", 3),
        ("graph.smoothing", 1.5),
        ("labels.names", "hate"),
        ("files", {"../model.onnx": "0" * 64}),
        ("files", {"model.onnx": "0"}),
        ("verification.limits.unknown", 1),
        ("no_such_section", {}),
        ("pad_id", None),
    ],
)
def test_the_schema_refuses_what_toxonnx_refuses(schema: dict[str, Any], path: str, value: Any) -> None:
    table = copy.deepcopy(_included())
    *sections, key = path.split(".")
    section = table
    for name in sections:
        section = section[name]
    section[key] = value
    with pytest.raises(InputError):
        Manifest.from_dict(table)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(table, schema)


def _included() -> dict[str, Any]:
    path = Path(ROOT / "export" / "bundles" / DEFAULT_BUNDLE / "toxonnx.json")
    table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return table
