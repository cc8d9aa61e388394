"""The bundle: one folder that holds a classifier, sealed after it was verified.

The right side of the house meets the left side here and nowhere else. ``toxonnx.json`` is the manifest; it lists the
sha256 of every other file and carries a seal over itself, so that a changed byte anywhere is found before the first
score.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toxonnx.errors import BundleError, InputError
from toxonnx.formats import LAYOUTS
from toxonnx.labels import Labels
from toxonnx.texts import TextSpec

__all__ = ["MANIFEST", "SCHEMA", "Bundle", "Manifest", "open_bundle", "seal", "sha256"]

MANIFEST = "toxonnx.json"
SCHEMA = 5
_NEEDED = ("model.onnx", "tokenizer.json", "config.json")


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        name: the bundle's name.
        labels: names in the order of the logits, activation, thresholds.
        text: columns, template and normalisation.
        max_length: tokens, special ones included; longer texts are cut there.
        pad_id: token id that fills a batch up.
        precision: fp32, int8 or fp16.
        layout: how the graph takes a batch, one of :data:`toxonnx.formats.LAYOUTS`.
        model: base, its revision, method, adapter.
        graph: opset, operator counts, whether the last layer runs for the first token only.
        verification: what was measured, against what, on which rows.
        decisions: how temperature and thresholds were fitted, and what they do on other rows.
        evaluation: what the model gets right: on held-out rows, on a functional suite.
        training: the run's metrics and its split.
        tools: versions.
        files: file name -> sha256.
    """

    name: str
    labels: Labels
    text: TextSpec
    max_length: int
    pad_id: int
    precision: str
    layout: str = "plain"
    model: dict[str, Any] = field(default_factory=dict)
    graph: dict[str, Any] = field(default_factory=dict)
    verification: dict[str, Any] = field(default_factory=dict)
    decisions: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, schema first."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> Manifest:
        """The manifest from plain values; raises TypeError or KeyError when they do not fit."""
        values = {key: value for key, value in table.items() if key not in {"schema", "seal"}}
        values["labels"] = Labels(**{k: _tuple(v) for k, v in values["labels"].items()})
        values["text"] = TextSpec(**{k: _tuple(v) for k, v in values["text"].items()})
        if values.get("layout", "plain") not in LAYOUTS:
            raise InputError(f"layout must be one of {', '.join(LAYOUTS)}, got {values['layout']!r}")
        return cls(**values)


@dataclass(frozen=True)
class Bundle:
    """A sealed folder that was opened and found sound."""

    path: Path
    manifest: Manifest

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.path / "model.onnx"


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal_of(table: dict[str, Any]) -> str:
    bare = {key: value for key, value in table.items() if key != "seal"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def seal(folder: Path, manifest: Manifest) -> Bundle:
    """Writes the manifest with the hashes of all files in the folder, which makes it a bundle."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != MANIFEST)
    sealed = dataclasses.replace(manifest, files={name: sha256(folder / name) for name in names})
    # Through JSON once, so that the seal is over what a reader will read.
    table = json.loads(json.dumps(sealed.to_dict(), ensure_ascii=False))
    table["seal"] = _seal_of(table)
    (folder / MANIFEST).write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return Bundle(folder, sealed)


def open_bundle(path: str | Path) -> Bundle:
    """Opens a folder and checks it: sealed, known schema, every hash, labels that agree with ``config.json``.

    Raises:
        BundleError: it is not a sound bundle; says which file is wrong.
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
            f"{manifest}: schema {table.get('schema')!r} is not known here (this version reads {SCHEMA})",
            "Export it again, or use the toxonnx version that wrote it.",
        )
    damaged = "The bundle was changed or damaged after it was sealed; copy or export it again."
    if table.get("seal") != _seal_of(table):
        raise BundleError(f"{manifest} does not match its seal", damaged)
    try:
        content = Manifest.from_dict(table)
    except (TypeError, KeyError, InputError) as error:
        raise BundleError(f"{manifest} is not a manifest of schema {SCHEMA}: {error}") from None
    for name in (*_NEEDED, *content.files):
        if name not in content.files or not (folder / name).is_file():
            raise BundleError(f"{folder}: {name} is missing", damaged)
    for name, digest in content.files.items():
        if sha256(folder / name) != digest:
            raise BundleError(f"{folder}: {name} does not match its sha256 in the manifest", damaged)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if Labels.from_config(config).names != content.labels.names:
        raise BundleError(f"{folder}: the labels in config.json and {MANIFEST} differ", damaged)
    return Bundle(folder, content)
