"""Quantization of small graphs, and the rounding of their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from toxonnx.convert.int8 import quantize
from toxonnx.convert.rounding import round_matrix
from toxonnx.errors import CheckpointError

Nodes = list[tuple[str, list[str], str]]


def _save(path: Path, weights: dict[str, NDArray[Any]], nodes: Nodes) -> Path:
    """Writes a model that reads input_ids and attention_mask; the last node computes its logits."""
    logits = nodes[-1][2]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["input_ids", "attention_mask"], ["seen"])]
        + [helper.make_node(kind, inputs, [out]) for kind, inputs, out in nodes],
        "small",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["r", "t"]) for n in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info(logits, TensorProto.FLOAT, ["r", "t", None])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def _feed(ids: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    return {"input_ids": ids[None], "attention_mask": np.ones_like(ids)[None]}


def _run(model: Path, feed: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
    (output,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, feed)
    return output


def test_smoothing_reduces_the_error_of_outliers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(64, 32))
    table[:, 3] *= 60  # as BERT's hidden states have them
    weights = {"table": table, "w": rng.normal(size=(32, 5)), "b": rng.normal(size=5)}
    nodes: Nodes = [
        ("Gather", ["table", "seen"], "hidden"),
        ("MatMul", ["hidden", "w"], "product"),
        ("Add", ["product", "b"], "logits"),
    ]
    exact, feed = _save(tmp_path / "exact.onnx", weights, nodes), _feed(np.arange(64))
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
    nodes: Nodes = [
        ("Gather", ["table", "seen"], "hidden"),  # an embedding that a product reads directly
        ("MatMul", ["hidden", "w"], "once"),
        ("Add", ["b", "once"], "shifted"),  # not a plain bias
        ("Tanh", ["shifted"], "bounded"),
        ("MatMul", ["bounded", "w"], "twice"),
        ("Add", ["twice", "twice"], "doubled"),
        ("MatMul", ["doubled", "head"], "product"),
        ("Add", ["c", "product"], "logits"),
    ]
    exact, small, feed = _save(tmp_path / "exact.onnx", weights, nodes), tmp_path / "int8.onnx", _feed(np.arange(200))
    assert quantize(exact, small, [feed], smoothing=0.8, reduce_range=True) == 3
    expected, found = (_run(path, feed) for path in (exact, small))
    assert np.abs(found - expected).mean() < 0.03 * np.abs(expected).mean()


TWO_LAYERS: Nodes = [
    ("Gather", ["table", "seen"], "hidden"),
    ("MatMul", ["hidden", "v"], "first"),
    ("Tanh", ["first"], "bounded"),
    ("MatMul", ["bounded", "w"], "logits"),
]


def test_statistics_measured_in_several_passes_give_the_same_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    weights = {"table": rng.normal(size=(200, 16)), "v": rng.normal(size=(16, 8)), "w": rng.normal(size=(8, 4))}
    exact = _save(tmp_path / "exact.onnx", weights, TWO_LAYERS)
    feeds = [_feed(ids) for ids in np.split(np.arange(200), 5)]
    quantize(exact, tmp_path / "one.onnx", feeds, smoothing=0.8, reduce_range=True)
    monkeypatch.setattr("toxonnx.convert.int8.MAX_SQUARES", 1)
    quantize(exact, tmp_path / "many.onnx", feeds, smoothing=0.8, reduce_range=True)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "many.onnx").read_bytes()


def test_values_whose_squares_overflow_are_an_error(tmp_path: Path) -> None:
    weights = {"table": np.full((200, 16), 1e25), "v": np.ones((16, 8)), "w": np.ones((8, 4))}
    exact = _save(tmp_path / "exact.onnx", weights, TWO_LAYERS)
    with pytest.raises(CheckpointError, match="the values of hidden are too large to quantize"):
        quantize(exact, tmp_path / "int8.onnx", [_feed(np.arange(200))], smoothing=0.8, reduce_range=True)
    assert not (tmp_path / "int8.onnx").exists()


def _correlated(rng: np.random.Generator, rows: int, mix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inputs of a layer, [rows, inputs], that move together as those of trained models do."""
    return rng.normal(size=(rows, len(mix))) @ mix


def test_rounding_reduces_the_error_of_products_on_other_inputs_of_the_same_kind() -> None:
    rng = np.random.default_rng(2)
    mix = rng.normal(size=(40, 300)) * np.linspace(2, 0.1, 300)  # 300 channels, as more than a block has
    matrix = rng.normal(size=(300, 20))
    scales = np.abs(matrix).max(axis=0) / 63
    measured, others = _correlated(rng, 2_000, mix), _correlated(rng, 500, mix)
    nearest = np.rint(matrix / scales)
    rounded = round_matrix(matrix, scales, measured.T @ measured, 63)

    def error(weights: NDArray[np.float64]) -> float:
        return float(np.square(others @ (weights * scales - matrix)).mean())

    assert error(rounded.astype(np.float64)) < error(nearest) / 4


@given(inputs=st.integers(1, 12), rows=st.integers(0, 4), steps=st.sampled_from([63, 127]), seed=st.integers(0, 99))
def test_rounded_weights_stay_within_their_steps_for_any_number_of_texts(
    inputs: int, rows: int, steps: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(inputs, 3))
    scales = np.abs(matrix).max(axis=0) / steps
    measured = rng.normal(size=(rows, inputs)) * rng.choice([0, 1], size=inputs)  # some channels are never used
    rounded = round_matrix(matrix, scales, measured.T @ measured, steps)
    assert rounded.dtype == np.int8
    assert rounded.shape == matrix.shape
    assert np.abs(rounded.astype(int)).max() <= steps
    unused = ~measured.any(axis=0)
    assert np.array_equal(rounded[unused], np.rint(matrix / scales)[unused])


def test_inputs_that_are_independent_leave_nothing_to_correct() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(200, 7))
    scales = np.abs(matrix).max(axis=0) / 63
    squares = np.diag(rng.uniform(0.1, 10, size=200))
    assert np.array_equal(round_matrix(matrix, scales, squares, 63), np.rint(matrix / scales))
