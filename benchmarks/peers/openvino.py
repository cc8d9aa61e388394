"""OpenVINO with its own conversion from PyTorch: fp32, bf16, or int8 by NNCF's static quantization.

Batches go through an asynchronous queue with the throughput hint: the next batch is tokenized while the previous ones
run, and OpenVINO chooses how many run at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch

from ._common import BatchScorer, TokenIds, batch_scorer, converted, open_tokenizer, pad


def load(
    model: Path,
    *,
    threads: int,
    batch: int,
    order: str,
    max_length: int = 128,
    cache: Path,
    precision: str = "fp32",
    calibration: Iterable[str] = (),
    **_: object,
) -> BatchScorer:
    """See ``_common.py``. ``precision`` is fp32, bf16 or int8; ``calibration`` are texts for int8."""
    if precision not in ("fp32", "bf16", "int8"):
        raise ValueError(f"precision must be fp32, bf16 or int8, got {precision!r}")
    torch.set_num_threads(threads)
    folder = converted(cache, model, "openvino", lambda target: _convert(model, target))
    if precision == "int8":
        fp32, texts = folder, list(calibration)
        rows = [encoding.ids for encoding in open_tokenizer(model, threads, max_length).encode_batch_fast(texts)]
        folder = converted(cache, model, "openvino-int8", lambda target: _quantize(fp32, rows, target), texts)
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",  # f32 leaves int8 layers in int8
    }
    compiled = ov.Core().compile_model(folder / "model.xml", "CPU", settings)
    queue = ov.AsyncInferQueue(compiled)

    def run(batches: Iterable[TokenIds]) -> list[np.ndarray]:
        logits: dict[int, np.ndarray] = {}
        queue.set_callback(lambda request, i: logits.update({i: request.get_output_tensor().data.copy()}))
        for i, rows in enumerate(batches):
            queue.start_async(pad(rows), i)
        queue.wait_all()
        return [logits[i] for i in range(len(logits))]

    return batch_scorer(model, run, threads=threads, batch=batch, order=order, max_length=max_length)


def _convert(model: Path, folder: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    network = AutoModelForSequenceClassification.from_pretrained(model, return_dict=False).eval()
    example = {name: torch.from_numpy(array) for name, array in pad([[101, 2023, 102], [101, 102]]).items()}
    ov.save_model(ov.convert_model(network, example_input=example), folder / "model.xml", compress_to_fp16=False)


def _quantize(fp32: Path, rows: TokenIds, folder: Path) -> None:
    import nncf

    network = ov.Core().read_model(fp32 / "model.xml")
    samples = nncf.Dataset([pad([row]) for row in rows])
    network = nncf.quantize(network, samples, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(rows))
    ov.save_model(network, folder / "model.xml", compress_to_fp16=False)
