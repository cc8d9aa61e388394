"""PyTorch to ONNX, quantized: the three files that an export makes on its way."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from transformers import PreTrainedModel

from toxonnx.convert.first_token import first_token_only
from toxonnx.errors import CheckpointError

__all__ = ["OPSET", "describe", "quantize", "to_fp16", "to_onnx"]

#: LayerNormalization is one operator from 17 on
OPSET = 18


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


def quantize(source: Path, target: Path, *, reduce_range: bool, keep: Sequence[str] = ()) -> None:
    """Dynamic int8: signed weights with a scale a channel, activations as the rows come.

    Args:
        source: fp32 model.
        target: int8 model.
        reduce_range: 7-bit weights, which no CPU without VNNI can saturate.
        keep: names of nodes to leave in fp32.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            str(source),
            str(target),
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gather", "Gemm"],
            nodes_to_exclude=list(keep),
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )


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
