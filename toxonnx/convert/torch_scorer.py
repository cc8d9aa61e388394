"""A PyTorch model as a scorer, to compare bundles with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from toxonnx.data.examples import load_saved_rows
from toxonnx.data.fingerprints import FINGERPRINT_FILES, hashes, load_fingerprints
from toxonnx.data.label_columns import LabelColumns
from toxonnx.evaluate.models import EvaluatedModel
from toxonnx.evaluate.report import ModelDescription
from toxonnx.inference.batching import EqualLengthBatcher
from toxonnx.inference.scores import Scores
from toxonnx.labels import Labels
from toxonnx.train.adapters import Trained, load_trained
from toxonnx.train.tokenizers import encode

__all__ = ["TorchScorer", "evaluated_checkpoint"]

BATCH_TOKENS = 4096


class TorchScorer:
    """A merged classifier in PyTorch, with the model's own tokenizer and code.

    Batches contain texts of equal length, without padding: with it, logits could depend on the side of the padding.

    Args:
        trained: the classifier.
    """

    def __init__(self, trained: Trained) -> None:
        self._trained = trained

    @property
    def labels(self) -> Labels:
        """The model's labels, without temperature and thresholds."""
        return self._trained.labels

    def score(self, texts: Sequence[str]) -> Scores:
        """Scores of texts that are not normalised yet."""
        trained = self._trained
        cleaned = [trained.text.clean(text) for text in texts]
        whole = trained.tokenizer(cleaned, truncation=False, verbose=False)["input_ids"] if cleaned else []
        truncated = np.array([len(ids) > trained.max_length for ids in whole], dtype=np.bool_)
        ids, no_tokens = encode(trained.tokenizer, cleaned, trained.max_length)
        return Scores.of(trained.labels, self._run(ids), truncated=truncated, no_tokens=no_tokens)

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Logits, float32 [texts, labels], of texts that are already normalised."""
        return self._run(encode(self._trained.tokenizer, texts, self._trained.max_length)[0])

    def _run(self, ids: Sequence[list[int]]) -> NDArray[np.float32]:
        trained = self._trained
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        logits = np.empty((len(lengths), len(trained.labels)), dtype=np.float32)
        with torch.inference_mode():
            for rows in EqualLengthBatcher(BATCH_TOKENS).batches(lengths):
                batch = torch.tensor([ids[i] for i in rows], device=trained.model.device)
                output = trained.model(input_ids=batch, attention_mask=torch.ones_like(batch))
                logits[rows] = output.logits.float().cpu().numpy()
        return logits


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
        fingerprints["validation"] = hashes(load_saved_rows(validation, trained.labels)[0])
    recipe = trained.recipe
    return EvaluatedModel(
        name=f"{folder.name} in PyTorch",
        scorer=TorchScorer(trained),
        text=trained.text,
        description=ModelDescription(
            kind="PyTorch", precision="fp32", provider=str(trained.model.device), max_length=trained.max_length
        ),
        fingerprints=fingerprints,
        label_columns=LabelColumns.of(recipe.labels) if recipe else None,
    )
