"""The Trainer's checkpoints, from which a run is resumed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from toxonnx.errors import CheckpointError

__all__ = ["EPOCH_STATE", "check_checkpoint", "last_complete"]

#: what the Trainer's own files lack to continue an epoch: the order of its rows, the sum of its losses
EPOCH_STATE = "epoch_state.safetensors"


def last_complete(folder: Path) -> Path | None:
    """The last checkpoint in a folder that was written to its end; None without one.

    A process that was killed while it wrote a checkpoint leaves one without a readable ``trainer_state.json``, the last
    of its files.
    """
    steps = {int(path.name.rsplit("-", 1)[1]): path for path in folder.glob("checkpoint-*")}
    return next((steps[step] for step in sorted(steps, reverse=True) if _has_state(steps[step])), None)


def check_checkpoint(folder: Path) -> None:
    """Checks that the files of a checkpoint are there and not damaged.

    Without optimizer or schedule, the Trainer would start with new ones and not report it.

    Raises:
        CheckpointError: names the first file that is missing or damaged.
    """
    weights = "adapter_model.safetensors" if (folder / "adapter_config.json").is_file() else "model.safetensors"
    checks: dict[str, Callable[[Path], object]] = {
        weights: _read_names,
        EPOCH_STATE: _read_names,
        **dict.fromkeys(("optimizer.pt", "scheduler.pt", "rng_state.pth"), _check_archive),
    }
    for name, check in checks.items():
        try:
            check(folder / name)
        except (OSError, ValueError, zipfile.BadZipFile, SafetensorError):
            raise CheckpointError(
                f"{folder / name} is missing or damaged, so the run cannot be resumed from there",
                f"Remove the folder {folder} to resume from the checkpoint before it, or start again with --force in "
                "place of --resume.",
            ) from None


def _has_state(folder: Path) -> bool:
    try:
        return "global_step" in json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _read_names(path: Path) -> list[str]:
    with safe_open(str(path), framework="pt") as file:
        return list(file.keys())


def _check_archive(path: Path) -> None:
    """Checks the checksums of a file that torch.save wrote."""
    with zipfile.ZipFile(path) as archive:
        if (name := archive.testzip()) is not None:
            raise zipfile.BadZipFile(name)
