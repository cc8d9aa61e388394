"""Moves the outliers of activations into the weights before int8, which has one scale for all of an activation.

A few channels of a BERT's hidden states are ten times as large as the rest, and a scale that holds them leaves the rest
few steps. For ``y = x W``, ``y = (x / s) (s W)`` holds exactly for any positive ``s`` a channel; with
``s = amax(x)^a / amax(W)^(1 - a)`` both factors are easy to quantize, as weights have a scale for each output. Source:
Xiao et al., "SmoothQuant", ICML 2023. There ``1/s`` is folded into the LayerNorm before; in a BERT that output also
feeds the residual, so it stays a product of its own, which costs little beside the matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["smooth"]

Feed = dict[str, NDArray[np.int64]]


def smooth(source: Path, target: Path, feeds: Sequence[Feed], alpha: float) -> int:
    """Writes an equivalent fp32 model whose linear layers lose less in int8.

    Args:
        source: fp32 model.
        target: where the result goes.
        feeds: inputs of the model, to see how large each channel gets.
        alpha: how much of the outliers goes to the weights, 0 to 1.

    Returns:
        How many products were changed.
    """
    model = onnx.load(str(source))
    weights = {value.name: value for value in model.graph.initializer}
    uses: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    # The products that read one activation share its scale: query, key and value.
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights and uses[node.input[1]] == 1:
            readers.setdefault(node.input[0], []).append(node)
    largest = _largest(model, list(readers), feeds)
    for index, (activation, nodes) in enumerate(readers.items()):
        matrices = [numpy_helper.to_array(weights[node.input[1]]) for node in nodes]
        high = np.max([np.abs(matrix).max(axis=1) for matrix in matrices], axis=0)
        log = alpha * np.log(np.maximum(largest[activation], 1e-5)) - (1 - alpha) * np.log(np.maximum(high, 1e-5))
        scale = np.exp(log - log.mean()).astype(np.float32)
        smoothed, factor = f"smoothed_{index}", f"smoothing_{index}"
        model.graph.initializer.append(numpy_helper.from_array(1 / scale, factor))
        for node, matrix in zip(nodes, matrices, strict=True):
            name = node.input[1]
            weights[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(matrix * scale[:, None]), name))
            node.input[0] = smoothed
        at = next(i for i, node in enumerate(model.graph.node) if node.input and smoothed in node.input)
        product = helper.make_node("Mul", [activation, factor], [smoothed], name=smoothed)
        model.graph.node.insert(at, product)
    onnx.save(model, str(target))
    return sum(map(len, readers.values()))


def _largest(model: onnx.ModelProto, names: list[str], feeds: Sequence[Feed]) -> dict[str, NDArray[np.float32]]:
    """Largest magnitude of each channel, float32 [channels], of each named activation."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    for name in names:
        watched.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = {value.name for value in session.get_inputs()}
    largest: dict[str, NDArray[np.float32]] = {}
    for feed in feeds:
        if "token_type_ids" in wanted:
            feed = {**feed, "token_type_ids": np.zeros_like(feed["input_ids"])}
        for name, value in zip(names, session.run(names, feed), strict=True):
            high = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest[name], high) if name in largest else high
    return largest
