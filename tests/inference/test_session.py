"""Sessions run on the requested provider or not at all."""

from __future__ import annotations

import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers import SHIPPED, SHIPPED_LABELS
from onnx import helper

from toxonnx.errors import BundleError, MachineError
from toxonnx.inference.session import Session, SessionOptions

FLOAT, INT64, STRING = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.STRING


def test_a_silent_fallback_of_onnxruntime_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime itself continues on the CPU without an error."""
    monkeypatch.setattr("toxonnx.inference.session.why_unavailable", lambda _: None)
    with pytest.warns(UserWarning, match="not in available provider names"), pytest.raises(MachineError) as caught:
        Session(SHIPPED / "model.onnx", len(SHIPPED_LABELS), SessionOptions(device="cuda"))
    assert "CUDAExecutionProvider" in str(caught.value)


def test_operators_left_to_the_cpu_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    left = ["Shape", "MatMul"]

    def runtime(*_: Any, **__: Any) -> Any:
        nodes = [types.SimpleNamespace(op_type=name) for name in left]
        part = types.SimpleNamespace(ep_name="CPUExecutionProvider", get_nodes=lambda: nodes)
        return types.SimpleNamespace(
            get_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
            get_provider_graph_assignment_info=lambda: [part],
        )

    monkeypatch.setattr("toxonnx.inference.session.why_unavailable", lambda _: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", runtime)
    with pytest.raises(MachineError, match="leaves MatMul to the CPU"):
        Session(SHIPPED / "model.onnx", len(SHIPPED_LABELS), SessionOptions(device="cuda"))
    with pytest.raises(MachineError, match="leaves MatMul, Shape to the CPU"):
        Session(SHIPPED / "model.onnx", len(SHIPPED_LABELS), SessionOptions(device="cuda", layout="packed"))


def _graph(
    folder: Path, *steps: onnx.NodeProto, kind: onnx.TypeProto, inputs: Sequence[int | str] = ("b", "t")
) -> Path:
    """A graph whose inputs are [b, t] and whose output is what the steps make of them."""
    values = [helper.make_tensor_value_info(name, INT64, inputs) for name in ("input_ids", "attention_mask")]
    constant = helper.make_tensor("one_row", FLOAT, [1, 5], [0.0] * 5)
    output = [helper.make_value_info("logits", kind)]
    graph = helper.make_graph(list(steps), "classifier", values, output, [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    return folder / "model.onnx"


def _cast(to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", ["input_ids"], ["logits"], to=to)


def _tensor(of: int, shape: Sequence[int | str] | None) -> onnx.TypeProto:
    return helper.make_tensor_type_proto(of, shape)


@pytest.mark.parametrize(
    ("step", "kind", "inputs", "message"),
    [
        (_cast(INT64), _tensor(INT64, ["b", 5]), ("b", "t"), r"must return float32 logits .*not tensor\(int64\)"),
        (_cast(STRING), _tensor(STRING, ["b", 5]), ("b", "t"), r"must return float32 logits .*not tensor\(string\)"),
        (
            helper.make_node("SequenceConstruct", ["one_row"], ["logits"]),
            helper.make_sequence_type_proto(_tensor(FLOAT, None)),
            ("b", "t"),
            r"must return float32 logits .*not seq",
        ),
        (_cast(FLOAT), _tensor(FLOAT, ["b", "t"]), ("b", 5), "the input input_ids must be integers in 2 dimensions of"),
        (
            _cast(FLOAT),
            _tensor(FLOAT, None),
            ("b", "t", "u"),
            "the input input_ids must be integers in 2 dimensions of",
        ),
        (_cast(FLOAT), _tensor(FLOAT, ["b", "n"]), ("b", "t"), r"returns logits \(2, 3\) for 2 rows and 5 labels"),
        (
            helper.make_node("Identity", ["one_row"], ["logits"]),
            _tensor(FLOAT, [1, 5]),
            ("b", "t"),
            r"returns logits \(1, 5\) for 2 rows and 5 labels",
        ),
    ],
)
def test_a_graph_that_is_not_a_classifier_is_the_fault_of_the_bundle(
    tmp_path: Path, step: onnx.NodeProto, kind: onnx.TypeProto, inputs: Sequence[int | str], message: str
) -> None:
    model = _graph(tmp_path, step, kind=kind, inputs=inputs)
    with pytest.raises(BundleError, match=message):
        Session(model, 5).run({"input_ids": np.ones((2, 3), np.int32), "attention_mask": np.ones((2, 3), np.int32)})


def test_an_id_that_the_embedding_lacks_is_the_fault_of_the_bundle(capfd: pytest.CaptureFixture[str]) -> None:
    session = Session(SHIPPED / "model.onnx", len(SHIPPED_LABELS), SessionOptions())
    with pytest.raises(BundleError, match="an id that the model's embedding does not have"):
        session.run({"input_ids": np.full((1, 4), 10**6), "attention_mask": np.ones((1, 4), dtype=np.int64)})
    assert capfd.readouterr().err == ""
