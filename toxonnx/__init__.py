"""Fast text classification with fine-tuned encoders: exported to ONNX, verified, and served without torch.

>>> from toxonnx import Classifier
>>> Classifier.load().predict(["What a lovely morning!"])  # doctest: +SKIP
[{'label': 'neither', 'score': 0.98}]
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toxonnx.classifier import Classifier, Prediction

__all__ = ["Classifier", "Prediction", "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded when used, so that `toxonnx --help` and the errors need no numpy.
    if name in {"Classifier", "Prediction"}:
        from toxonnx import classifier

        return getattr(classifier, name)
    if name == "__version__":
        return version("toxonnx")
    raise AttributeError(f"module 'toxonnx' has no attribute {name!r}")
