"""Loads the models of an evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from toxonnx.bundle import MANIFEST, open_bundle
from toxonnx.errors import BundleError
from toxonnx.evaluate.models import EvaluatedModel, evaluated_bundle
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.options import RuntimeOptions
from toxonnx.resources import find_bundle

__all__ = ["load_models", "with_unique_names"]


def load_models(
    sources: Sequence[str],
    options: RuntimeOptions,
    load_checkpoint: Callable[[str, bool], EvaluatedModel],
    on_bundle: Callable[[Classifier], None],
) -> list[EvaluatedModel]:
    """Loads models and gives them unique names.

    Args:
        sources: of each model, the folder or name of a bundle, or the folder or hub id of a run, adapter or checkpoint.
        options: how to run the first model.
        load_checkpoint: loads anything but a bundle, in PyTorch; called with the source and whether to use a GPU. This
            package does not import torch itself.
        on_bundle: called with the classifier of each bundle, to report what it runs on.

    Raises:
        BundleError: there is no such bundle, or it is damaged.
    """
    # The other models run where they can: an int8 bundle stays on the CPU when a bundle for the GPU is evaluated.
    others = dataclasses.replace(options, device="cpu" if options.device == "cpu" else "auto")
    models = []
    for i, source in enumerate(sources):
        chosen = others if i else options
        path = _bundle_path(source)
        if path is None:
            models.append(load_checkpoint(source, chosen.device != "cpu"))
        else:
            classifier = Classifier(open_bundle(path), chosen)
            on_bundle(classifier)
            models.append(evaluated_bundle(classifier))
    return with_unique_names(models)


def _bundle_path(source: str) -> Path | None:
    """The folder of a bundle; None for a run, adapter or checkpoint."""
    folder = Path(source)
    if folder.is_dir() and not (folder / MANIFEST).is_file():
        return None
    try:
        return find_bundle(source)
    except BundleError:
        if "/" in source and not folder.exists():
            return None  # a hub id
        raise


def with_unique_names(models: Sequence[EvaluatedModel]) -> list[EvaluatedModel]:
    """The same models; names that occur several times are numbered."""
    unique: dict[str, EvaluatedModel] = {}
    taken = {model.name for model in models}
    for model in models:
        name, number = model.name, 2
        while name in unique or (number > 2 and name in taken):
            name, number = f"{model.name} ({number})", number + 1
        unique[name] = dataclasses.replace(model, name=name)
    return list(unique.values())
