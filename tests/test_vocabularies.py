"""Names that other services use for labels."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from helpers import SHIPPED

from toxonnx.bundle import open_bundle
from toxonnx.convert.card import model_card
from toxonnx.errors import InputError
from toxonnx.manifest import Manifest
from toxonnx.recipe_files import recipe_from_dict


@pytest.mark.parametrize(
    ("mappings", "message"),
    [
        ({"perspectiv": {}}, r"unknown service 'perspectiv'\nChoose from perspective, openai"),
        ({"openai": {"Hate": "rude"}}, r"mappings.openai: unknown name 'Hate'\nChoose from .*hate/threatening"),
        ({"perspective": {"INSULT": "impolite"}}, r"mappings.perspective.INSULT: 'impolite' is not a label"),
    ],
)
def test_an_unknown_name_is_refused(mappings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipe_from_dict({"name": "r", "labels": {"columns": ["rude", "spam"], "mappings": mappings}}, "r.toml")


def test_a_manifest_names_only_its_own_labels() -> None:
    manifest = open_bundle(SHIPPED).manifest
    name = manifest.labels.names[0]
    mapped = dataclasses.replace(manifest, mappings={"openai": {"hate": name}})
    assert Manifest.from_dict(mapped.to_dict()) == mapped
    assert f"| openai | hate | {name} |" in model_card(mapped, None).splitlines()
    for key, value in (("mappings", {"openai": {"hate": "rude"}}), ("label_descriptions", {"rude": "impolite"})):
        with pytest.raises(InputError, match=r"'rude' is not a label"):
            Manifest.from_dict({**manifest.to_dict(), key: value})
