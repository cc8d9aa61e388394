"""The bundle: a folder with a classifier, sealed after verification.

It is all that export hands over to inference. ``toxonnx.json`` is the manifest; it lists the sha256 of every
other file and contains a hash of itself, the seal, so that a changed byte in any file is found before a text is scored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toxonnx.errors import BundleError, InputError
from toxonnx.labels import Labels
from toxonnx.manifest import SCHEMA, Manifest

__all__ = ["MANIFEST", "Bundle", "open_bundle", "seal", "sha256"]

MANIFEST = "toxonnx.json"
_REQUIRED_FILES = ("model.onnx", "tokenizer.json", "config.json")


@dataclass(frozen=True)
class Bundle:
    """A sealed folder that was opened and checked."""

    path: Path
    manifest: Manifest

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.path / "model.onnx"


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _message(error: Exception) -> str:
    # str() of a KeyError is the quoted key.
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _seal_of(table: dict[str, Any]) -> str:
    unsealed = {key: value for key, value in table.items() if key != "seal"}
    return hashlib.sha256(json.dumps(unsealed, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def seal(folder: Path, manifest: Manifest) -> Bundle:
    """Writes the manifest with the hashes of all files in the folder, which makes the folder a bundle."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != MANIFEST)
    sealed = dataclasses.replace(manifest, files={name: sha256(folder / name) for name in names})
    # Through JSON once, so that the seal is computed from the values that are read back.
    table = json.loads(json.dumps(sealed.to_dict(), ensure_ascii=False))
    table["seal"] = _seal_of(table)
    (folder / MANIFEST).write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return Bundle(folder, sealed)


def open_bundle(path: str | Path) -> Bundle:
    """Opens a folder, and checks schema, seal, the hash of every file, and the labels in ``config.json``.

    Raises:
        BundleError: it is not a valid bundle; names the file that is wrong.
    """
    folder = Path(path)
    manifest = folder / MANIFEST
    if not folder.is_dir():
        raise BundleError(f"no bundle at {folder}")
    if not manifest.is_file():
        raise BundleError(
            f"{folder} is not sealed: it has no {MANIFEST}",
            "Make a bundle with toxonnx export, which verifies the model and then seals it.",
        )
    try:
        table = json.loads(manifest.read_text(encoding="utf-8"))
        if not isinstance(table, dict):
            raise TypeError("not a JSON object")
    except (ValueError, TypeError) as error:
        raise BundleError(f"{manifest} is not a manifest: {error}") from None
    if table.get("schema") != SCHEMA:
        raise BundleError(
            f"{manifest} has schema {table.get('schema')!r}, this version of toxonnx reads schema {SCHEMA}",
            "Export the bundle again, or use the version of toxonnx that wrote it.",
        )
    damaged = "The bundle was changed or damaged after it was sealed; copy it again, or export it again."
    if table.get("seal") != _seal_of(table):
        raise BundleError(f"{manifest} does not match its seal", damaged)
    try:
        content = Manifest.from_dict(table)
    except (TypeError, KeyError, InputError) as error:
        raise BundleError(f"{manifest} is not a manifest of schema {SCHEMA}: {_message(error)}") from None
    for name in (*_REQUIRED_FILES, *content.files):
        if name not in content.files or not (folder / name).is_file():
            raise BundleError(f"{folder}: {name} is missing", damaged)
    for name, digest in content.files.items():
        if sha256(folder / name) != digest:
            raise BundleError(f"{folder}: {name} does not match its sha256 in the manifest", damaged)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if Labels.from_config(config).names != content.labels.names:
        raise BundleError(f"{folder}: the labels in config.json and {MANIFEST} differ", damaged)
    return Bundle(folder, content)
