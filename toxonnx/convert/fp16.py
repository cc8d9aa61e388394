"""fp32 to fp16, and a check that the values stay within the range of fp16."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from toxonnx.convert.quiet import silence_exporters
from toxonnx.errors import GateError
from toxonnx.train.adapters import Trained
from toxonnx.train.tokenizers import encode

__all__ = ["check_range", "to_fp16"]

#: the largest fp16 value, and the share of it that measured values may reach: other texts may reach higher
LARGEST_FP16, MAX_SHARE = 65504.0, 0.5
#: texts that are measured
MEASURED_TEXTS = 256


def to_fp16(source: Path, target: Path) -> None:
    """Converts the weights and activations of a graph to fp16; logits stay float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with silence_exporters():
        model = convert_float_to_float16(onnx.load(str(source)), keep_io_types=True)
    onnx.save(model, str(target))


def check_range(model: Path, trained: Trained, texts: Sequence[str]) -> float:
    """The largest absolute value of a matrix product in a plain fp32 graph, on the first texts.

    Raises:
        GateError: it is too close to the largest fp16 value, beyond which values become infinite.
    """
    graph = onnx.load(str(model))
    names = [node.output[0] for node in graph.graph.node if node.op_type in {"MatMul", "Gemm"}]
    graph.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {value.name for value in session.get_inputs()}
    largest = 0.0
    encoded, _ = encode(trained.tokenizer, texts[:MEASURED_TEXTS], trained.max_length)
    for ids in encoded:
        row = np.array([ids], dtype=np.int64)
        feed = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        values = session.run(names, {name: feed[name] for name in inputs})
        largest = max(largest, *(float(np.abs(value).max()) for value in values))
    if not largest <= MAX_SHARE * LARGEST_FP16:
        raise GateError(
            f"not sealed: a matrix product in the model reaches {largest:,.0f}; the largest fp16 value is "
            f"{LARGEST_FP16:,.0f}",
            "Export with --precision fp32.",
        )
    return largest
