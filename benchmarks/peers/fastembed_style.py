"""ONNX Runtime as fastembed calls it: a plain fp32 session, file order, the tokenizer pads to the longest of the batch.

fastembed itself has no classifier; this is its loop over the ONNX file of ``ort.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from ._common import PAD, Scorer, only, onnx_folder, open_tokenizer, softmax


def load(
    model: Path, *, threads: int, batch: int, order: str, max_length: int = 128, cache: Path, **_: object
) -> Scorer:
    """See the package."""
    only(order, "file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads  # as its ``threads`` does
    session = onnxruntime.InferenceSession(
        onnx_folder(cache, model) / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    wanted = {each.name for each in session.get_inputs()}
    tokenizer = open_tokenizer(model, threads, max_length)
    tokenizer.enable_padding(pad_id=PAD)

    def forward(texts: list[str]) -> np.ndarray:
        encodings = tokenizer.encode_batch(texts)
        ids = np.array([each.ids for each in encodings], np.int64)
        mask = np.array([each.attention_mask for each in encodings], np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return session.run(None, {name: array for name, array in inputs.items() if name in wanted})[0]

    def score(texts: list[str]) -> np.ndarray:
        return softmax(np.concatenate([forward(texts[i : i + batch]) for i in range(0, len(texts), batch)]))

    return score
