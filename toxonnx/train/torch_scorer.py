"""A PyTorch model as a scorer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from toxonnx.inference.batching import EqualLengthBatcher
from toxonnx.inference.scores import Scores
from toxonnx.inference.tokenizer import TokenizedTexts
from toxonnx.inference.windows import pool_windows
from toxonnx.labels import Labels
from toxonnx.train.adapters import Trained
from toxonnx.train.tokenizers import encode_windows

__all__ = ["TorchScorer"]

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
        tokenized = self._tokenize([self._trained.text.clean(text) for text in texts])
        return Scores.of(
            self.labels, self._run(tokenized), truncated=tokenized.truncated, no_tokens=tokenized.no_tokens
        )

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Logits, float32 [texts, labels], of texts that are already normalised."""
        return self._run(self._tokenize(texts))

    def _tokenize(self, texts: Sequence[str]) -> TokenizedTexts:
        trained = self._trained
        return encode_windows(trained.tokenizer, texts, trained.max_length, trained.long_texts)

    def _run(self, tokenized: TokenizedTexts) -> NDArray[np.float32]:
        trained, tokens = self._trained, tokenized.tokens
        logits = np.empty((len(tokens.lengths), len(self.labels)), dtype=np.float32)
        batcher = EqualLengthBatcher(BATCH_TOKENS)
        with torch.inference_mode():
            for rows in batcher.batches(tokens.lengths):
                ids = batcher.feed(tokens, rows)["input_ids"]
                batch = torch.from_numpy(ids).to(trained.model.device, torch.int64)
                output = trained.model(input_ids=batch, attention_mask=torch.ones_like(batch))
                logits[rows] = output.logits.float().cpu().numpy()
        return pool_windows(logits, tokenized.windows, self.labels, trained.long_texts.pool)
