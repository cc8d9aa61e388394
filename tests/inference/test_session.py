"""Sessions run on the requested provider or not at all."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
from helpers import SHIPPED, SHIPPED_LABELS

from toxonnx.errors import BundleError, MachineError
from toxonnx.inference.session import Session, SessionOptions


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


def test_an_id_that_the_embedding_lacks_is_the_fault_of_the_bundle(capfd: pytest.CaptureFixture[str]) -> None:
    session = Session(SHIPPED / "model.onnx", len(SHIPPED_LABELS), SessionOptions())
    with pytest.raises(BundleError, match="an id that the model's embedding does not have"):
        session.run({"input_ids": np.full((1, 4), 10**6), "attention_mask": np.ones((1, 4), dtype=np.int64)})
    assert capfd.readouterr().err == ""
