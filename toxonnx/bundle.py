"""The bundle: a folder with a classifier, sealed after verification.

It is all that export hands over to inference. ``toxonnx.json`` is the manifest; it lists the sha256 of every
other file and contains a hash of itself, the seal, so that a changed byte in any file is found before a text is scored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import mmap
import os
import reprlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toxonnx.disk import reports_full_disk
from toxonnx.errors import BundleError, InputError
from toxonnx.html import key_value_table
from toxonnx.labels import Labels
from toxonnx.manifest import MODEL_FOLDER, SCHEMA, Manifest
from toxonnx.records import read_json, to_json

__all__ = ["CASCADE_WEIGHTS", "MANIFEST", "Bundle", "check_output", "new_folder", "open_bundle", "seal", "sha256"]

MANIFEST = "toxonnx.json"
CASCADE_WEIGHTS = "cascade.npy"
DAMAGED = "The bundle was changed or damaged after it was sealed; copy it again, or export it again."
_REQUIRED_FILES = ("tokenizer.json", "config.json")


@dataclass(frozen=True)
class Bundle:
    """A sealed folder that was opened and checked.

    Attributes:
        path: the folder.
        manifest: its description.
        seal: sha256 of the manifest with the hashes of all files, which identifies the bundle.
        own_thresholds: whether the thresholds are those that it was exported with.
    """

    path: Path
    manifest: Manifest
    seal: str
    own_thresholds: bool = True

    def with_thresholds(self, thresholds: Mapping[str, float]) -> Bundle:
        """The bundle with other thresholds, and without its first stage, whose promise is about decisions.

        Raises:
            InputError: see :meth:`toxonnx.labels.Labels.with_thresholds`.
        """
        labels = self.manifest.labels.with_thresholds(thresholds)
        if labels == self.manifest.labels:
            return self
        manifest = dataclasses.replace(self.manifest, labels=labels, cascade=None)
        return dataclasses.replace(self, manifest=manifest, own_thresholds=False)

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.path / self.manifest.model_file

    @property
    def card(self) -> Path | None:
        """The model card; None for a bundle without one."""
        return self.path / "README.md" if "README.md" in self.manifest.files else None

    def read_card(self) -> str:
        """The text of the model card; empty for a bundle without one.

        Raises:
            BundleError: it is not UTF-8.
        """
        try:
            return self.card.read_text(encoding="utf-8") if self.card else ""
        except UnicodeDecodeError as error:
            raise BundleError(f"{self.card} is not UTF-8: {error}", "Export the bundle again.") from None

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum((self.path / name).stat().st_size for name in self.manifest.files)

    def lines(self) -> dict[str, str]:
        """Name -> value, for people."""
        manifest = self.manifest
        checked = manifest.verification.agreement if manifest.verification else None
        count = "any number" if manifest.labels.multi else "one"
        return {
            "bundle": manifest.name,
            "labels": f"{', '.join(manifest.labels.names)}: {count} per text",
            "precision": manifest.precision,
            "size": f"{self.size / 1e6:.1f} MB",
            "verification": f"{checked.rows:,} rows, compared with PyTorch: {checked.summary}" if checked else "none",
        }

    def __repr__(self) -> str:
        manifest = self.manifest
        return f"Bundle({manifest.name!r}, labels={reprlib.repr(manifest.labels.names)}, {manifest.precision})"

    def _repr_html_(self) -> str:
        """What it is, for notebooks."""
        return key_value_table(self.lines())


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal_of(table: dict[str, Any]) -> str:
    unsealed = {key: value for key, value in table.items() if key != "seal"}
    return hashlib.sha256(
        json.dumps(unsealed, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ).hexdigest()


def seal(folder: Path, manifest: Manifest) -> Bundle:
    """Writes the manifest with the hashes of all files in the folder, which makes the folder a bundle.

    Raises:
        InputError: a value is not one that a manifest can have; names its key.
    """
    paths = (path for pattern in ("*", f"{MODEL_FOLDER}/*") for path in folder.glob(pattern) if path.is_file())
    names = sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) != MANIFEST)
    sealed = dataclasses.replace(manifest, files={name: sha256(folder / name) for name in names})
    # Through JSON once, so that the seal is computed from the values that are read back.
    table = json.loads(json.dumps(sealed.to_dict(), ensure_ascii=False))
    sealed = Manifest.from_dict(table)
    table["seal"] = _seal_of(table)
    (folder / MANIFEST).write_text(to_json(table), encoding="utf-8")
    return Bundle(folder, sealed, table["seal"])


def copy_file(bundle: Bundle, name: str, target: Path) -> None:
    """Copies a file of a bundle, to be sealed again.

    Raises:
        BundleError: it was changed after the bundle was opened.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(bundle.path / name, target)
    if sha256(target) != bundle.manifest.files[name]:
        raise BundleError(f"{bundle.path}: {name} does not match its sha256 in the manifest", DAMAGED)


def check_output(output: Path, *, force: bool) -> None:
    """Checks that a bundle can be written to a folder.

    Args:
        output: the folder.
        force: whether a bundle there may be replaced.

    Raises:
        InputError: it exists, and may not be replaced; or it is a link to nothing.
    """
    if output.is_symlink() and not output.exists():
        raise InputError(f"{output} is a link to {output.readlink()}, which does not exist", "Remove the link.")
    if output.exists() and not force:
        raise InputError(f"{output} already exists", "Add --force to replace it.")
    if output.exists() and not (output / MANIFEST).is_file():
        raise InputError(f"{output} is not a bundle, so --force does not replace it", "Use another folder.")


@contextmanager
def new_folder(output: Path, *, force: bool) -> Iterator[Path]:
    """A hidden folder that takes the place of ``output`` at the end of the ``with`` block; on an error it is removed,
    and ``output`` is as it was.

    Args:
        output: the folder, or a link to it, which stays.
        force: see :func:`check_output`, which is called again at the end: the folder may have appeared meanwhile.

    Raises:
        InputError: see :func:`check_output`.
        MachineError: the disk is full.
    """
    output = output.resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    with reports_full_disk(output, "nothing was left under that name."):
        work = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".part", dir=output.parent))
        try:
            yield work
            work.chmod(0o777 & ~_umask())
            check_output(output, force=force)
            _take_place(work, output)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _take_place(work: Path, output: Path) -> None:
    """Renames a folder to ``output``, and removes the one that was there."""
    previous = work.with_suffix(".old")
    try:
        if output.exists():
            os.replace(output, previous)
        os.replace(work, output)
    except BaseException:
        if previous.exists() and not output.exists():
            os.replace(previous, output)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def open_bundle(path: str | Path) -> Bundle:
    """Opens a folder, and checks schema, seal, the hash of every file, and the labels in ``config.json``. A model that
    reads anything but its own file is refused.

    Raises:
        BundleError: it is not a valid bundle; names the file that is wrong.
    """
    folder = Path(path)
    path = folder / MANIFEST
    if not folder.is_dir():
        raise BundleError(f"no bundle at {folder}")
    if not path.is_file():
        if not any(folder.iterdir()):
            hint = "If it is mounted, and the bundle was replaced since: mount the folder that contains the bundle."
            raise BundleError(f"{folder} is empty", hint)
        raise BundleError(
            f"{folder} is not sealed: it has no {MANIFEST}",
            "Make a bundle with toxonnx export, which verifies the model and then seals it.",
        )
    try:
        manifest, seal_value = _read_manifest(path)
        for name in (
            manifest.model_file,
            *_REQUIRED_FILES,
            *[CASCADE_WEIGHTS] * (manifest.cascade is not None),
            *manifest.files,
        ):
            if name not in manifest.files or not (folder / name).is_file():
                raise BundleError(f"{folder}: {name} is missing", DAMAGED)
            _check_inside(folder, name)
        for name, digest in manifest.files.items():
            if sha256(folder / name) != digest:
                raise BundleError(f"{folder}: {name} does not match its sha256 in the manifest", DAMAGED)
        _check_self_contained(folder / manifest.model_file)
        _check_config(read_json(folder / "config.json"), folder, manifest)
    except BundleError:
        raise
    except InputError as error:
        raise BundleError(error.what, error.hint or DAMAGED) from None
    return Bundle(folder, manifest, seal_value)


def _read_manifest(path: Path) -> tuple[Manifest, str]:
    """The manifest and its seal."""
    _check_inside(path.parent, path.name)
    table = read_json(path)
    schema = table.get("schema")
    if schema != SCHEMA:
        shown = str(schema)[:20] if isinstance(schema, int) else "unknown"
        raise BundleError(
            f"{path} has schema {shown}, this version of toxonnx reads schema {SCHEMA}",
            "Export the bundle again, or use the version of toxonnx that wrote it.",
        )
    try:
        manifest = Manifest.from_dict(table)
    except InputError as error:
        raise BundleError(f"{path} is not a manifest of schema {SCHEMA}: {error.what}", DAMAGED) from None
    if table.get("seal") != _seal_of(table):
        raise BundleError(f"{path} does not match its seal", DAMAGED)
    return manifest, table["seal"]


def _check_inside(folder: Path, name: str) -> None:
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{folder}: {name} is a link to a file outside the folder", "Copy the bundle with cp -rL.")


def _check_self_contained(model: Path) -> None:
    """Refuses a graph whose tensors or compiled parts are elsewhere, which ``toxonnx export`` never writes.

    They have no hash in the manifest, and ONNX Runtime before 1.24 reads any file that a graph names. The key of such a
    name follows its length, which protobuf writes in one byte, or in several of which the last one is 0.
    """
    if not model.stat().st_size:  # an empty file cannot be mapped; ONNX Runtime refuses it
        return
    with open(model, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(b"location", 1)
        while start > 0 and content[start - 1] not in {0, len(b"location")}:
            start = content.find(b"location", start + 1)
        compiled = content.find(b"EPContext") >= 0
    if start > 0 or compiled:
        what = "compiled parts" if compiled else "data outside of the file"
        raise BundleError(f"{model} has {what}, which toxonnx does not load", "Export the bundle again.")


def _check_config(config: dict[str, Any], folder: Path, manifest: Manifest) -> None:
    """Checks what has to be the same in ``config.json`` and the manifest."""
    if Labels.from_config(config).names != manifest.labels.names:
        raise BundleError(f"{folder}: the labels in config.json and {MANIFEST} differ", DAMAGED)
    for key, value, limit in (
        ("max_length", manifest.max_length, "max_position_embeddings"), ("pad_id", manifest.pad_id + 1, "vocab_size"),
    ):  # fmt: skip
        largest = config.get(limit)
        if isinstance(largest, int) and value > largest:
            raise BundleError(
                f"{folder}: {key} in {MANIFEST} is {getattr(manifest, key)}, but {limit} in config.json is {largest}",
                DAMAGED,
            )
