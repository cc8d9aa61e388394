"""A run, an adapter or a checkpoint, to evaluate next to its bundle."""

from __future__ import annotations

import torch

from toxonnx.data.examples import load_saved_texts
from toxonnx.data.fingerprints import FINGERPRINT_FILES, hashes, load_fingerprints
from toxonnx.data.label_columns import LabelColumns
from toxonnx.evaluate.models import EvaluatedModel
from toxonnx.evaluate.report import ModelDescription
from toxonnx.train.adapters import load_trained
from toxonnx.train.torch_scorer import TorchScorer

__all__ = ["evaluated_checkpoint"]


def evaluated_checkpoint(source: str, *, on_gpu: bool = False) -> EvaluatedModel:
    """A run, an adapter or a checkpoint, in PyTorch, to evaluate next to its bundle.

    Args:
        source: folder or hub id.
        on_gpu: use a GPU, in fp32, if PyTorch sees one.
    """
    trained = load_trained(source)
    if on_gpu and torch.cuda.is_available():
        trained.model.to("cuda")
    folder = trained.path
    files = {part: folder / name for part, name in FINGERPRINT_FILES.items()}
    fingerprints = {part: load_fingerprints(path) for part, path in files.items() if path.is_file()}
    if trained.run and (validation := folder / "validation.csv").is_file():
        fingerprints["validation"] = hashes(load_saved_texts(validation))
    recipe = trained.recipe
    return EvaluatedModel(
        name=f"{folder.name} in PyTorch",
        scorer=TorchScorer(trained),
        text=trained.text,
        description=ModelDescription(
            kind="PyTorch",
            precision="fp32",
            provider=str(trained.model.device),
            max_length=trained.long_texts.tokens(trained.max_length, trained.tokenizer.num_special_tokens_to_add()),
        ),
        fingerprints=fingerprints,
        label_columns=LabelColumns.of(recipe.labels) if recipe else None,
    )
