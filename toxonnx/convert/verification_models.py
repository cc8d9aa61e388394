"""Loads the ONNX models that are compared with PyTorch."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path

import onnx

from toxonnx.bundle import seal
from toxonnx.convert.encoder_weights import EncoderWeights
from toxonnx.convert.fused import emulate_packed
from toxonnx.convert.graph import write_layout
from toxonnx.errors import MachineError
from toxonnx.formats import EMULATED, LAYOUTS
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.devices import query_driver, why_unavailable
from toxonnx.inference.options import RuntimeOptions
from toxonnx.manifest import Manifest

__all__ = ["load_final", "load_fp32"]


def load_final(folder: Path, manifest: Manifest, scratch: Path) -> tuple[Classifier, str]:
    """Loads the exported model on the device that it is made for, or on the CPU if that is not possible.

    Args:
        folder: complete except for the manifest.
        manifest: the manifest.
        scratch: a folder for the emulation of a packed graph.

    Returns:
        The classifier, and a description of what it runs on.
    """
    why = ""
    if LAYOUTS[manifest.layout].native and why_unavailable("cuda") is None:
        try:
            classifier = Classifier(seal(folder, manifest), RuntimeOptions(device="cuda"))
            return classifier, f"CUDAExecutionProvider, {query_driver().gpus[0].name}"
        except MachineError as error:  # out of memory, for example
            why = f" (CUDA: {error.what})"
    emulated = ", with the packed attention emulated" if LAYOUTS[manifest.layout].packed else ""
    return _on_cpu(folder, manifest, scratch), f"CPUExecutionProvider{emulated}{why}"


def load_fp32(folder: Path, manifest: Manifest, scratch: Path, encoder: EncoderWeights | None) -> Classifier:
    """Loads the same graph with fp32 weights on the CPU, where it may differ from PyTorch only by rounding.

    Args:
        folder: contains the plain fp32 graph.
        manifest: of the bundle to seal.
        scratch: a folder for temporary graphs.
        encoder: the weights from which a layout is written; None for the plain layout.
    """
    copy = Path(tempfile.mkdtemp(dir=scratch)) / manifest.name
    shutil.copytree(folder, copy)
    if encoder:
        write_layout(encoder, copy / "model.onnx", manifest.layout, half=False)
    return _on_cpu(copy, dataclasses.replace(manifest, precision="fp32"), scratch)


def _on_cpu(folder: Path, manifest: Manifest, scratch: Path) -> Classifier:
    if not LAYOUTS[manifest.layout].packed:
        return Classifier(seal(folder, manifest))
    emulated = Path(tempfile.mkdtemp(dir=scratch)) / manifest.name
    shutil.copytree(folder, emulated)
    onnx.save(emulate_packed(onnx.load(str(folder / "model.onnx"))), str(emulated / "model.onnx"))
    return Classifier(seal(emulated, dataclasses.replace(manifest, layout=EMULATED)))
