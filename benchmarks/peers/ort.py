"""Optimum's ORTModelForSequenceClassification in fp32, or in int8 as in its documentation (dynamic, per tensor)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from onnxruntime import SessionOptions

from ._common import BatchScorer, batch_scorer, converted, onnx_folder, run_padded


def load(
    model: Path,
    *,
    threads: int,
    batch: int,
    order: str,
    max_length: int = 128,
    cache: Path,
    precision: str = "fp32",
    **_: object,
) -> BatchScorer:
    """See ``_common.py``. ``precision`` is fp32 or int8."""
    from optimum.onnxruntime import ORTModelForSequenceClassification

    torch.set_num_threads(threads)
    options = SessionOptions()
    options.intra_op_num_threads = threads
    folder, file = onnx_folder(cache, model), "model.onnx"
    if precision == "int8":
        fp32 = folder
        folder, file = (
            converted(cache, model, "onnx-int8", lambda target: _quantize(fp32, target)),
            "model_quantized.onnx",
        )
    elif precision != "fp32":
        raise ValueError(f"precision must be fp32 or int8, got {precision!r}")
    network = ORTModelForSequenceClassification.from_pretrained(folder, file_name=file, session_options=options)

    def forward(inputs: dict[str, np.ndarray]) -> np.ndarray:
        return network(**inputs).logits  # takes and returns arrays; adds BERT's token types itself

    return batch_scorer(model, run_padded(forward), threads=threads, batch=batch, order=order, max_length=max_length)


def _quantize(fp32: Path, folder: Path) -> None:
    from optimum.onnxruntime import AutoQuantizationConfig, ORTQuantizer

    vnni = "avx512_vnni" in Path("/proc/cpuinfo").read_text()
    recipe = AutoQuantizationConfig.avx512_vnni if vnni else AutoQuantizationConfig.avx2
    quantizer = ORTQuantizer.from_pretrained(fp32, file_name="model.onnx")
    quantizer.quantize(save_dir=folder, quantization_config=recipe(is_static=False, per_channel=False))
