"""Fast text classification with fine-tuned encoders: exported to ONNX, verified, and served without torch.

>>> from toxonnx import Classifier
>>> Classifier.load().predict(["What a lovely morning!"])  # doctest: +SKIP
[{'label': 'neither', 'score': 0.98}]
"""

from __future__ import annotations

import os

# ONNX Runtime reports usage unless this is set before it loads. Child processes inherit the variables; a value that the
# user has set is kept.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

TYPE_CHECKING = False  # of typing, whose import takes longer than all else before a command handles signals
if TYPE_CHECKING:
    from typing import Any

    from toxonnx.errors import (
        BundleError,
        CheckpointError,
        GateError,
        InputError,
        MachineError,
        RecipeError,
        RowError,
        ToxonnxError,
    )
    from toxonnx.inference.classifier import Classifier
    from toxonnx.inference.options import RuntimeOptions
    from toxonnx.inference.scores import LabelScore, Prediction, Scores

__all__ = [
    "BundleError",
    "CheckpointError",
    "Classifier",
    "GateError",
    "InputError",
    "LabelScore",
    "MachineError",
    "Prediction",
    "RecipeError",
    "RowError",
    "RuntimeOptions",
    "Scores",
    "ToxonnxError",
    "__version__",
]

#: module -> names that are loaded from it on first use, so that `toxonnx --help` needs no numpy, and starts quickly
_MODULES = {
    "toxonnx.errors": (
        "BundleError", "CheckpointError", "GateError", "InputError", "MachineError", "RecipeError", "RowError",
        "ToxonnxError",
    ),
    "toxonnx.inference.classifier": ("Classifier",),
    "toxonnx.inference.options": ("RuntimeOptions",),
    "toxonnx.inference.scores": ("LabelScore", "Prediction", "Scores"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("toxonnx")
    for module, names in _MODULES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(module), name)
    raise AttributeError(f"module 'toxonnx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
