"""Onto the device that a model is made for: what it is verified on, and whether fp16 can hold its numbers."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from toxonnx.bundle import Manifest, seal
from toxonnx.convert.encoder_weights import EncoderWeights
from toxonnx.convert.fused import emulated
from toxonnx.convert.graph import to_layout
from toxonnx.errors import GateError, MachineError
from toxonnx.formats import EMULATED, LAYOUTS
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.devices import query_driver, why_unavailable
from toxonnx.inference.options import RuntimeOptions
from toxonnx.train.adapters import Trained

__all__ = ["exact_classifier", "final_classifier", "headroom"]

#: fp16 ends here; texts to come may reach higher than those that are measured
LARGEST_FP16, SHARE = 65504.0, 0.5
EMULATING = ", with the packed attention emulated"
#: texts that are measured
MEASURED = 256


def final_classifier(work: Path, manifest: Manifest, scratch: Path) -> tuple[Classifier, str]:
    """Loads what is about to be sealed where it will run, or as near to that as this machine allows.

    Args:
        work: the folder, complete but for its manifest.
        manifest: what it will say.
        scratch: a folder for the stand-in of a packed graph.

    Returns:
        The classifier, and in words what it runs on.
    """
    why = ""
    if LAYOUTS[manifest.layout].native and why_unavailable("cuda") is None:
        try:
            return Classifier(
                seal(work, manifest), RuntimeOptions(device="cuda")
            ), f"CUDAExecutionProvider, {query_driver().gpus[0].name}"
        except MachineError as error:  # its memory is full, say
            why = f" (CUDA: {error.what})"
    return _on_cpu(work, manifest, scratch), f"CPUExecutionProvider{EMULATING * LAYOUTS[manifest.layout].packed}{why}"


def exact_classifier(work: Path, manifest: Manifest, scratch: Path, encoder: EncoderWeights | None) -> Classifier:
    """The same graph with weights in fp32, on the CPU: what is wrong in it is no rounding.

    Args:
        work: a folder with the plain fp32 graph.
        manifest: what will be sealed.
        scratch: a folder to make it in.
        encoder: the weights that a layout is written from; None for plain.
    """
    folder = Path(tempfile.mkdtemp(dir=scratch)) / manifest.name
    shutil.copytree(work, folder)
    if encoder:
        to_layout(encoder, folder / "model.onnx", manifest.layout, half=False)
    return _on_cpu(folder, dataclasses.replace(manifest, precision="fp32"), scratch)


def _on_cpu(folder: Path, manifest: Manifest, scratch: Path) -> Classifier:
    if manifest.layout != "packed":
        return Classifier(seal(folder, manifest))
    twin = Path(tempfile.mkdtemp(dir=scratch)) / manifest.name
    shutil.copytree(folder, twin)
    onnx.save(emulated(onnx.load(str(folder / "model.onnx"))), str(twin / "model.onnx"))
    return Classifier(seal(twin, dataclasses.replace(manifest, layout=EMULATED)))


def headroom(exact: Path, trained: Trained, texts: Sequence[str]) -> float:
    """The largest value that a product of matrices gives in the plain fp32 model, over some texts.

    Raises:
        GateError: it comes near to what fp16 can hold, beyond which everything is infinite.
    """
    model = onnx.load(str(exact))
    names = [node.output[0] for node in model.graph.node if node.op_type in {"MatMul", "Gemm"}]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = {value.name for value in session.get_inputs()}
    largest = 0.0
    for ids in trained.tokenizer(list(texts[:MEASURED]), truncation=True, max_length=trained.max_length)["input_ids"]:
        row = np.array([ids], dtype=np.int64)
        feed = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        values = session.run(names, {name: feed[name] for name in wanted})
        largest = max(largest, *(float(np.abs(value).max()) for value in values))
    if not largest <= SHARE * LARGEST_FP16:
        raise GateError(
            f"not sealed: a product inside the model reaches {largest:,.0f}; fp16 ends at {LARGEST_FP16:,.0f}",
            "Export with --precision fp32.",
        )
    return largest
