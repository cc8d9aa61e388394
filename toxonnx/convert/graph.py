"""PyTorch to ONNX, quantized: the three files that an export makes on its way."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from transformers import PreTrainedModel

from toxonnx.convert.first_token import first_token_only
from toxonnx.errors import CheckpointError

__all__ = ["OPSET", "describe", "quantize", "to_fp16", "to_onnx"]

#: LayerNormalization is one operator from 17 on
OPSET = 18
#: rows; embedding tables under this (token types) stay in fp32
SMALL_TABLE = 128
FLOAT = onnx.TensorProto.FLOAT


def to_onnx(model: PreTrainedModel, folder: Path) -> dict[str, Any]:
    """Writes ``model.onnx`` (fp32) through Optimum's exporter.

    Args:
        model: a sequence classifier in evaluation mode.
        folder: gets ``model.onnx`` and ``config.json``.

    Returns:
        What the manifest says of the graph.

    Raises:
        CheckpointError: Optimum has no exporter for the architecture.
    """
    from optimum.exporters.onnx import onnx_export_from_model

    model = copy.deepcopy(model)
    with first_token_only(model) as short, _quiet():
        try:
            onnx_export_from_model(
                model, str(folder), task="text-classification", opset=OPSET, do_validation=False,
                no_post_process=True, device="cpu",
            )  # fmt: skip
        except (ValueError, KeyError, NotImplementedError) as error:
            kind = model.config.model_type
            raise CheckpointError(f"Optimum does not export {kind!r} classifiers: {error}") from None
    return {"opset": OPSET, "last_layer_first_token_only": short}


def quantize(source: Path, target: Path, *, reduce_range: bool) -> None:
    """Dynamic int8: signed weights with a scale an output, embeddings with a scale a token, activations as they come.

    Args:
        source: fp32 model.
        target: int8 model.
        reduce_range: 7-bit weights, which no CPU without VNNI can saturate.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(source))
    _embeddings_by_row(model)
    with _quiet():
        quantize_dynamic(
            model,
            str(target),
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm"],
            extra_options={"DefaultTensorType": FLOAT},
        )


def _embeddings_by_row(model: onnx.ModelProto) -> None:
    """Stores embedding tables as int8 with a scale for each row.

    ONNX Runtime's quantizer has one scale for a whole table, which the few longest of 30,000 vectors decide.
    """
    tables = {value.name: value for value in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        table = tables.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or len(table.dims) != 2 or table.dims[0] < SMALL_TABLE or table.data_type != FLOAT:
            nodes.append(node)
            continue
        rows = numpy_helper.to_array(table)
        scale = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-8).astype(np.float32) / 127
        names = {part: f"{table.name}_{part}" for part in ("int8", "scale")}
        if names["int8"] not in {value.name for value in model.graph.initializer}:
            quantized = np.rint(rows / scale).astype(np.int8)
            model.graph.initializer.append(numpy_helper.from_array(quantized, names["int8"]))
            model.graph.initializer.append(numpy_helper.from_array(scale, names["scale"]))
        (out,) = node.output
        nodes += [
            helper.make_node("Gather", [names["int8"], node.input[1]], [f"{out}_int8"], name=f"{out}_int8", axis=0),
            helper.make_node("Cast", [f"{out}_int8"], [f"{out}_cast"], name=f"{out}_cast", to=FLOAT),
            helper.make_node("Gather", [names["scale"], node.input[1]], [f"{out}_scale"], name=f"{out}_scale", axis=0),
            helper.make_node("Mul", [f"{out}_cast", f"{out}_scale"], [out], name=f"{out}_scaled"),
        ]
    used = {name for node in nodes for name in node.input}
    kept = [value for value in model.graph.initializer if value.name in used]
    for field, values in ((model.graph.node, nodes), (model.graph.initializer, kept)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)


def to_fp16(source: Path, target: Path) -> None:
    """Half precision inside, float32 logits outside."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _quiet():
        model = convert_float_to_float16(onnx.load(str(source)), keep_io_types=True)
    onnx.save(model, str(target))


def describe(path: Path) -> dict[str, Any]:
    """Operator counts of a model file, most frequent first."""
    nodes = onnx.load(str(path), load_external_data=False).graph.node
    return {"operators": dict(Counter(node.op_type for node in nodes).most_common())}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporters' chatter (tracer warnings, advice of the quantizer) off the screen."""
    root = logging.getLogger()
    level = root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)
