"""Fast text classification with fine-tuned encoders: exported to ONNX, verified, and served without torch.

>>> from toxonnx import Classifier
>>> Classifier.load().predict(["What a lovely morning!"])  # doctest: +SKIP
[{'label': 'neither', 'score': 0.98}]
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

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

# ONNX Runtime reports usage unless this is set before it loads. Child processes inherit the variables; a value that the
# user has set is kept.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

if TYPE_CHECKING:
    from toxonnx.inference.classifier import Classifier, LabelScore
    from toxonnx.inference.options import RuntimeOptions
    from toxonnx.inference.scores import Prediction, Scores

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

#: names that are loaded on first use, so that `toxonnx --help` needs no numpy
_MODULES = {
    "Classifier": "toxonnx.inference.classifier",
    "LabelScore": "toxonnx.inference.classifier",
    "Prediction": "toxonnx.inference.scores",
    "RuntimeOptions": "toxonnx.inference.options",
    "Scores": "toxonnx.inference.scores",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("toxonnx")
    raise AttributeError(f"module 'toxonnx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
