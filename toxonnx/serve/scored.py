"""What a request gets from the queue: the scores of its texts, errors, and times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from toxonnx.inference.classifier import Classifier
from toxonnx.inference.scores import Scores
from toxonnx.serve.rows import PendingRequest

__all__ = ["Scored", "Timings"]


@dataclass(frozen=True)
class Timings:
    """Seconds that the texts of a request took: being tokenized, waiting for a batch, and in the model."""

    tokenization: float = 0.0
    queue: float = 0.0
    inference: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Scored:
    """The scores of a request's texts.

    Attributes:
        scores: one row per text, in order; those of a text with an error mean nothing.
        errors: position of a text -> why the model could not score it.
        lengths: int64 [texts], number of tokens that were scored.
        timings: see :class:`Timings`.
    """

    scores: Scores
    errors: Mapping[int, str]
    lengths: NDArray[np.int64]
    timings: Timings

    def without_errors(self) -> Scored:
        """The texts that the model could score."""
        if not self.errors:
            return self
        is_scored = [i not in self.errors for i in range(len(self.scores))]
        return replace(self, scores=self.scores.take(is_scored), errors={}, lengths=self.lengths[is_scored])

    @classmethod
    def of(cls, request: PendingRequest, classifier: Classifier) -> Scored:
        """What a request gets whose texts are done."""
        labels, rows = classifier.labels, request.rows
        nothing = np.zeros(len(labels), dtype=np.float32)
        logits = [nothing if row.logits is None else row.logits for row in rows]
        scores = Scores(
            labels,
            np.stack(logits) if rows else np.empty((0, len(labels)), dtype=np.float32),
            truncated=np.array([row.truncated for row in rows], dtype=np.bool_) | np.array(request.cut, dtype=np.bool_),
            no_tokens=np.array([row.no_tokens for row in rows], dtype=np.bool_),
            repaired=np.array(request.repaired, dtype=np.bool_),
            cached=np.array(request.cached, dtype=np.bool_),
            early=np.array([row.early for row in rows], dtype=np.bool_),
            review_below=classifier.review_below,
        )
        new = [row for row, cached in zip(rows, request.cached, strict=True) if not cached]
        return cls(
            scores=scores,
            errors={i: row.error for i, row in enumerate(rows) if row.error},
            lengths=np.array([row.length for row in rows], dtype=np.int64),
            timings=Timings(
                request.tokenization,
                max((row.taken - row.queued for row in new), default=0.0),
                max((row.finished - row.taken for row in new), default=0.0),
            ),
        )
