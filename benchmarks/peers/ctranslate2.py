"""CTranslate2's Encoder in float32 or int8, one batch per core; the classification head runs in NumPy."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ctranslate2
import numpy as np
from safetensors.numpy import load_file

from ._common import BatchScorer, TokenIds, batch_scorer, converted


def load(
    model: Path,
    *,
    threads: int,
    batch: int,
    order: str,
    max_length: int = 128,
    cache: Path,
    precision: str = "float32",
    **_: object,
) -> BatchScorer:
    """See ``_common.py``. ``precision`` is a compute type of CTranslate2: float32 or int8."""
    folder = converted(cache, model, "ctranslate2", lambda target: _convert(model, target))
    encoder = ctranslate2.Encoder(str(folder), "cpu", compute_type=precision, inter_threads=threads, intra_threads=1)
    weights = {name: array for name, array in load_file(model / "model.safetensors").items() if "classifier" in name}

    def dense(states: np.ndarray, name: str) -> np.ndarray:
        return states @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def forward(rows: TokenIds) -> np.ndarray:
        output = encoder.forward_batch(rows)
        if "pre_classifier.weight" in weights:  # DistilBERT
            first = np.asarray(output.last_hidden_state)[:, 0]
            return dense(np.maximum(dense(first, "pre_classifier"), 0), "classifier")
        return dense(np.asarray(output.pooler_output), "classifier")  # BERT: the encoder includes its pooler

    workers = ThreadPoolExecutor(threads)

    def run(batches: Iterable[TokenIds]) -> Iterable[np.ndarray]:
        return workers.map(forward, batches)

    return batch_scorer(model, run, threads=threads, batch=batch, order=order, max_length=max_length)


def _convert(model: Path, folder: Path) -> None:
    ctranslate2.converters.TransformersConverter(str(model)).convert(str(folder))
