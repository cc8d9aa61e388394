"""PyTorch to ONNX: through Optimum where it works with the installed transformers, else without it.

Optimum's exporter requires transformers below 4.58. Without it, the graph is written from the weights
(:mod:`toxonnx.convert.plain`) or, for architectures whose weights have no names in :mod:`toxonnx.architectures`, traced
by ``torch.onnx.export``. The result has to pass the same verification.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn
from transformers import PreTrainedModel

from toxonnx.convert.encoder_weights import extract_weights
from toxonnx.convert.first_token import first_token_only
from toxonnx.convert.graph import simplify
from toxonnx.convert.plain import plain
from toxonnx.convert.quiet import silence_exporters
from toxonnx.convert.writer import OPSET
from toxonnx.errors import CheckpointError
from toxonnx.manifest import Graph

__all__ = ["OPTIMUM", "to_onnx"]

OPTIMUM = "optimum.exporters.onnx"


def to_onnx(model: PreTrainedModel, folder: Path) -> Graph:
    """Writes ``model.onnx``, fp32.

    Args:
        model: a sequence classifier in evaluation mode.
        folder: ``model.onnx`` is written there, by Optimum also ``config.json``.

    Returns:
        The graph's entry in the manifest, without operators.

    Raises:
        CheckpointError: there is no exporter for the architecture.
    """
    optimum = load_optimum()
    if optimum is None:
        try:
            encoder = extract_weights(model)
        except CheckpointError:
            return trace(model, folder / "model.onnx")
        onnx.save(plain(encoder), str(folder / "model.onnx"))
        return Graph(opset=OPSET, last_layer_first_token_only=True, simplified=True, written_by="toxonnx.convert.plain")
    model = copy.deepcopy(model)
    model.config.name_or_path = str(folder)  # else Optimum looks for a tokenizer in the base model, or on the hub
    with first_token_only(model) as shortened, silence_exporters():
        try:
            optimum(
                model, str(folder), task="text-classification", opset=OPSET, do_validation=False,
                no_post_process=True, device="cpu",
            )  # fmt: skip
        except (ValueError, KeyError, NotImplementedError) as error:
            kind = model.config.model_type
            raise CheckpointError(f"Optimum does not export {kind!r} classifiers: {error}") from None
    same = simplify(folder / "model.onnx")
    return Graph(opset=OPSET, last_layer_first_token_only=shortened, simplified=same, written_by=OPTIMUM)


def load_optimum() -> Callable[..., Any] | None:
    """Optimum's exporter; None if it is not installed, or was made for another version of transformers."""
    try:
        from optimum.exporters.onnx import onnx_export_from_model
    except ImportError:
        return None
    exporter: Callable[..., Any] = onnx_export_from_model
    return exporter


class _Logits(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A classifier with positional inputs and a single output."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


def trace(model: PreTrainedModel, path: Path) -> Graph:
    """Writes a graph through ``torch.onnx.export``.

    Raises:
        CheckpointError: the architecture cannot be traced.
    """
    model = copy.deepcopy(model)
    ids = torch.arange(3, 15).reshape(2, 6)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0  # so that padding is not traced as something that does not occur
    axes = {0: "rows", 1: "tokens"}
    with first_token_only(model) as shortened, silence_exporters():
        try:
            # Not the exporter based on torch.export: it needs another package, and fixes the number of tokens of some
            # architectures.
            torch.onnx.export(
                _Logits(model).eval(), (ids, mask), str(path), dynamo=False, opset_version=OPSET,
                input_names=["input_ids", "attention_mask"], output_names=["logits"],
                dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": {0: "rows"}},
            )  # fmt: skip
        except Exception as error:  # tracing runs the model's own code
            first = str(error).strip().partition("\n")[0]
            raise CheckpointError(
                f"torch.onnx.export does not export {model.config.model_type!r} classifiers: {first}",
                "Optimum may: install toxonnx[export], with transformers below 4.58.",
            ) from None
    return Graph(opset=OPSET, last_layer_first_token_only=shortened, simplified=simplify(path), written_by="torch.onnx")
