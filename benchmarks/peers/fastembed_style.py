"""ONNX Runtime as fastembed calls it: an fp32 session, rows in file order, padded by the tokenizer to the longest row.

fastembed itself has no sequence classifier; this is its loop around the ONNX file of ``ort.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from toxonnx.inference.scores import Scores
from toxonnx.labels import Labels

from ._common import PAD, check_order, load_labels, onnx_folder, open_tokenizer


@dataclass(frozen=True)
class FastembedScorer:
    """A session and a tokenizer that pads."""

    labels: Labels
    session: onnxruntime.InferenceSession
    tokenizer: Tokenizer
    batch: int

    def score(self, texts: Sequence[str]) -> Scores:
        """See :class:`toxonnx.inference.scores.Scorer`."""
        batches = (texts[i : i + self.batch] for i in range(0, len(texts), self.batch))
        return Scores.of(self.labels, np.concatenate([self._forward(batch) for batch in batches]))

    def _forward(self, texts: Sequence[str]) -> np.ndarray:
        encodings = self.tokenizer.encode_batch(texts)
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        names = [value.name for value in self.session.get_inputs()]
        return self.session.run(None, {name: inputs[name] for name in names})[0]


def load(
    model: Path, *, threads: int, batch: int, order: str, max_length: int = 128, cache: Path, **_: object
) -> FastembedScorer:
    """See ``_common.py``."""
    check_order(order, "file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads  # as fastembed's argument ``threads`` does
    session = onnxruntime.InferenceSession(
        onnx_folder(cache, model) / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    tokenizer = open_tokenizer(model, threads, max_length)
    tokenizer.enable_padding(pad_id=PAD)
    return FastembedScorer(load_labels(model), session, tokenizer, batch)
