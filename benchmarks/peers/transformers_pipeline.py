"""transformers.pipeline("text-classification"), PyTorch fp32, as its documentation writes it; in file order only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ._common import Scorer, only


def load(model: Path, *, threads: int, batch: int, order: str, max_length: int = 128, **_: object) -> Scorer:
    """See the package."""
    from transformers import pipeline

    only(order, "file")
    torch.set_num_threads(threads)
    classify = pipeline("text-classification", model=str(model), device="cpu", top_k=None)
    places = classify.model.config.label2id

    def score(texts: list[str]) -> np.ndarray:
        scores = np.empty((len(texts), len(places)), np.float32)
        answers = classify(texts, batch_size=batch, truncation=True, max_length=max_length, function_to_apply="softmax")
        for row, answer in zip(scores, answers, strict=True):
            for label in answer:
                row[places[label["label"]]] = label["score"]
        return scores

    return score
