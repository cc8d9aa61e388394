"""Labels by score, as transformers pipelines and text-embeddings-inference give them."""

from __future__ import annotations

from toxonnx.inference.classifier import LabelScore
from toxonnx.inference.scores import Scores

__all__ = ["ranked_labels"]


def ranked_labels(scores: Scores, *, raw: bool = False) -> list[list[LabelScore]]:
    """All labels of each text with their probabilities, or logits if ``raw``, highest first."""
    values = scores.logits if raw else scores.probabilities
    names = scores.labels.names
    return [
        [{"label": label, "score": score} for label, score in sorted(zip(names, row, strict=True), key=lambda x: -x[1])]
        for row in values.tolist()
    ]
