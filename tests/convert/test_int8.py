"""Quantization of small graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from toxonnx.convert.int8 import quantize


def _run(model: Path, feed: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
    (output,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, feed)
    return output


def test_smoothing_reduces_the_error_of_outliers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(64, 32)).astype(np.float32)
    table[:, 3] *= 60  # as BERT's hidden states have them
    weights = {"table": table, "w": rng.normal(size=(32, 5)).astype(np.float32), "b": rng.normal(size=5)}
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["input_ids", "attention_mask"], ["seen"]),
            helper.make_node("Gather", ["table", "seen"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "w"], ["product"]),
            helper.make_node("Add", ["product", "b"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["r", "t"]) for n in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["r", "t", 5])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    exact = tmp_path / "exact.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), exact)
    ids = np.arange(64, dtype=np.int64)[None]
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    expected = _run(exact, feed)
    error = {}
    for smoothing in (0.0, 0.8):
        path = tmp_path / f"{smoothing}.onnx"
        assert quantize(exact, path, [feed], smoothing=smoothing, reduce_range=True) == 1
        error[smoothing] = np.abs(_run(path, feed) - expected).mean()
    assert error[0.8] < error[0.0] / 4


def test_shared_matrices_and_products_without_bias(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weights = {
        "table": rng.normal(size=(200, 16)), "w": rng.normal(size=(16, 16)) / 4, "b": rng.normal(size=(1, 16)),
        "head": rng.normal(size=(16, 3)), "c": rng.normal(size=3),
    }  # fmt: skip
    nodes = [
        ("Mul", ["input_ids", "attention_mask"], "seen"),
        ("Gather", ["table", "seen"], "hidden"),  # an embedding that a product reads directly
        ("MatMul", ["hidden", "w"], "once"),
        ("Add", ["b", "once"], "shifted"),  # not a plain bias
        ("Tanh", ["shifted"], "bounded"),
        ("MatMul", ["bounded", "w"], "twice"),
        ("Add", ["twice", "twice"], "doubled"),
        ("MatMul", ["doubled", "head"], "product"),
        ("Add", ["c", "product"], "logits"),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [out]) for kind, inputs, out in nodes], "shared",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["r", "t"]) for n in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["r", "t", 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )  # fmt: skip
    exact, small = tmp_path / "exact.onnx", tmp_path / "int8.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), exact)
    ids = np.arange(200, dtype=np.int64)[None]
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    assert quantize(exact, small, [feed], smoothing=0.8, reduce_range=True) == 3
    expected, found = (_run(path, feed) for path in (exact, small))
    assert np.abs(found - expected).mean() < 0.03 * np.abs(expected).mean()
