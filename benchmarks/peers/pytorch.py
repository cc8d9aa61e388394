"""PyTorch with padded batches: compiled, in bf16, or in int8 by dynamic quantization (per channel, all Linear layers).

Attention is the default of transformers, scaled_dot_product_attention.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

from ._common import BatchScorer, batch_scorer, run_padded


def load(
    model: Path,
    *,
    threads: int,
    batch: int,
    order: str,
    max_length: int = 128,
    cache: Path,
    mode: str,
    **_: object,
) -> BatchScorer:
    """See ``_common.py``. ``mode`` is compile, bf16 or int8."""
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(threads)
    network = AutoModelForSequenceClassification.from_pretrained(model).eval()
    if mode == "bf16":
        network = network.to(torch.bfloat16)
    elif mode == "int8":
        network = quantize_dynamic(network, {torch.nn.Linear: per_channel_dynamic_qconfig})
    elif mode == "compile":
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache / "inductor")
        network = torch.compile(network, dynamic=True)
    else:
        raise ValueError(f"mode must be compile, bf16 or int8, got {mode!r}")

    @torch.inference_mode()
    def forward(inputs: dict[str, np.ndarray]) -> np.ndarray:
        logits = network(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits
        return logits.float().numpy()

    scorer = batch_scorer(model, run_padded(forward), threads=threads, batch=batch, order=order, max_length=max_length)
    if mode == "compile":  # compiles now, not in the first call: a full batch, another shape, and a single text
        for texts in (["a"] * batch, ["a b c"] * batch + ["a"]):
            scorer.score(texts)
    return scorer
