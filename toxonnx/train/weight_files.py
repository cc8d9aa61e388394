"""The weights of a checkpoint or an adapter, read without executing anything: safetensors, or restricted pickles."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from toxonnx.errors import CheckpointError, first_line
from toxonnx.manifest import FileName
from toxonnx.records import from_plain, read_json

__all__ = ["ADAPTER_FILES", "MODEL_FILES", "Weights", "check_downloaded", "digest_files", "read_weights"]

#: names of weight files in the order in which they are preferred; an index lists several
MODEL_FILES = (
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
)  # fmt: skip
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
#: how the file of a Git repository begins that was cloned without Git LFS
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class _Index:
    """The index of several files of weights."""

    weight_map: dict[str, FileName]
    metadata: Any = None


@dataclass(frozen=True)
class Weights:
    """Weights by name.

    Attributes:
        tensors: on the CPU; floating-point ones in fp32.
        files: the files that they were read from.
        removed: parts that DataParallel or torch.compile put into every name, and that were removed.
    """

    tensors: dict[str, torch.Tensor]
    files: tuple[Path, ...]
    removed: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was changed in reading."""
        return tuple(f"removed {part} from the names of weights in {self.files[0].name}" for part in self.removed)

    def check_finite(self) -> None:
        """Checks every value.

        Raises:
            CheckpointError: one is NaN or infinite; names the tensor.
        """
        for name, tensor in self.tensors.items():
            if tensor.is_floating_point() and not (finite := torch.isfinite(tensor)).all():
                count = tensor.numel() - int(finite.sum())
                raise CheckpointError(
                    f"{self.files[0].parent}: the weight {name} has {count:,} NaN or infinite values of "
                    f"{tensor.numel():,}",
                    "Use another checkpoint: the training that made this one has failed.",
                )


def read_weights(source: str | Path, names: tuple[str, ...] = MODEL_FILES) -> Weights:
    """The weights in a folder or a repository on the hub.

    Args:
        source: the folder or hub id.
        names: file names to look for; the first that exists is read.

    Raises:
        CheckpointError: there is no such file, or it is damaged, or reading it would execute code.
    """
    first = next((path for name in names if (path := _find(source, name))), None)
    if first is None:
        raise CheckpointError(f"{source} has no weights", f"Their file is named {' or '.join(names[::2])}.")
    files = _shards(source, first) if first.suffix == ".json" else (first,)
    tensors: dict[str, torch.Tensor] = {}
    for path in files:
        tensors |= _read(path)
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    return Weights(*_without_wrappers(tensors, files))


def digest_files(files: tuple[Path, ...]) -> str:
    """The sha256 of a file, or of the digests of several."""
    digests = []
    for path in files:
        with open(path, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def check_downloaded(path: Path) -> None:
    """Checks that a file is not a pointer of Git LFS.

    Raises:
        CheckpointError: it is one.
    """
    with open(path, "rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise CheckpointError(
                f"{path} is a Git LFS pointer, not the file itself", f"Run git lfs pull in {path.parent}."
            )


def _find(source: str | Path, name: str) -> Path | None:
    """A file of a checkpoint; from the hub it is downloaded."""
    if Path(source).is_dir():
        path = Path(source) / name
        return path if path.is_file() else None
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(huggingface_hub.hf_hub_download(str(source), name))
    except EntryNotFoundError:
        return None


def _shards(source: str | Path, index: Path) -> tuple[Path, ...]:
    check_downloaded(index)
    paths = []
    for name in sorted(set(from_plain(_Index, read_json(index), index.name).weight_map.values())):
        path = _find(source, name)
        if path is None:
            raise CheckpointError(f"{source} lacks {name}, which {index.name} lists", "Download it again.")
        paths.append(path)
    return tuple(paths)


def _read(path: Path) -> dict[str, torch.Tensor]:
    check_downloaded(path)
    if path.suffix == ".safetensors":
        try:
            tensors: dict[str, torch.Tensor] = safetensors.torch.load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged: {error}", "Download it again.") from None
        return tensors
    try:
        # Builds tensors and containers and calls nothing else. (Before torch 2.6 this could be circumvented.)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        found = re.search(r"(?:GLOBAL|Unsupported global:|class) ([\w.]+)", str(error))
        what = f"it calls {found[1]}" if found else "it contains more than tensors"
        raise CheckpointError(
            f"{path} is not read: {what}, and nothing in a checkpoint is executed",
            "If you trust its author, save its weights as model.safetensors.",
        ) from None
    except Exception as error:  # damaged files end in exceptions of many kinds
        raise CheckpointError(f"{path} is damaged: {first_line(error)}", "Download it again.") from None
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(
            f"{path} is not a mapping of names to tensors", "Save the model with save_pretrained, or its state_dict()."
        )
    return {str(name): tensor for name, tensor in content.items()}


def _without_wrappers(
    tensors: dict[str, torch.Tensor], files: tuple[Path, ...]
) -> tuple[dict[str, torch.Tensor], tuple[Path, ...], tuple[str, ...]]:
    removed = []
    if any("_orig_mod." in name for name in tensors):  # of torch.compile
        tensors = {name.replace("_orig_mod.", ""): tensor for name, tensor in tensors.items()}
        removed.append("_orig_mod.")
    while tensors and all(name.startswith("module.") for name in tensors):  # of DataParallel
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
        removed.append("module.")
    return tensors, files, tuple(removed)
