"""Bundles: the seal, damaged files, and the manifest."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from helpers import SHIPPED, toxonnx

from toxonnx.bundle import MANIFEST, open_bundle, seal
from toxonnx.errors import BundleError
from toxonnx.manifest import Manifest


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the shipped bundle."""
    shutil.copytree(SHIPPED, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_changed_byte_in_any_file_is_detected(bundle: Path) -> None:
    for path in sorted(bundle.iterdir()):
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        done = toxonnx("info", bundle)
        assert done.returncode == 2, path.name
        assert path.name in done.stderr and "Traceback" not in done.stderr, done.stderr
        path.write_bytes(content)
    assert toxonnx("info", bundle).returncode == 0


def test_folders_that_are_not_sealed_bundles(bundle: Path) -> None:
    manifest = bundle / MANIFEST
    table = json.loads(manifest.read_text())
    manifest.unlink()
    done = toxonnx("info", bundle)
    assert done.returncode == 2 and "is not sealed" in done.stderr
    manifest.write_text(json.dumps({**table, "schema": 99}))
    done = toxonnx("info", bundle)
    assert done.returncode == 2 and "has schema 99, this version of toxonnx reads schema 5" in done.stderr
    manifest.write_text(json.dumps({**table, "max_length": 4}))
    done = toxonnx("info", bundle)
    assert done.returncode == 2 and "does not match its seal" in done.stderr
    manifest.write_text(json.dumps(table))
    (bundle / "model.onnx").unlink()
    done = toxonnx("info", bundle)
    assert done.returncode == 2 and "model.onnx is missing" in done.stderr


def test_a_manifest_survives_json() -> None:
    manifest = open_bundle(SHIPPED).manifest
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest


def test_unknown_keys_of_a_manifest_are_named(bundle: Path) -> None:
    opened = open_bundle(bundle)

    class Extended(Manifest):
        def to_dict(self) -> dict[str, object]:
            table = super().to_dict()
            table["verification"]["agreement"]["surprise"] = 1
            return table

    fields = {field.name: getattr(opened.manifest, field.name) for field in dataclasses.fields(Manifest)}
    seal(bundle, Extended(**fields))
    with pytest.raises(BundleError, match=r"unknown key verification\.agreement\.surprise"):
        open_bundle(bundle)


def test_a_fractional_lora_alpha_can_be_read_again(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    assert manifest.model.adapter is not None and isinstance(manifest.model.adapter.alpha, int)
    adapter = dataclasses.replace(manifest.model.adapter, alpha=0.5)
    seal(bundle, dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, adapter=adapter)))
    reopened = open_bundle(bundle).manifest.model.adapter
    assert reopened is not None and reopened.alpha == 0.5
