"""fp32 to int8, with scores that do not depend on the other rows of a batch.

**Fixed activation scales.** Dynamic quantization computes an activation's scale over the whole batch, so the other rows
change a row's scores. Here each activation has one scale, measured on calibration rows, which also saves the pass over
the data that computes it.

**Outliers moved into the weights.** A few channels of BERT's hidden states are ten times as large as the others, and a
scale that covers them leaves few steps for the others. For ``y = x W``, ``y = (x / s) (s W)`` is exact for any positive
``s`` per channel; with ``s = amax(x)^a / amax(W)^(1 - a)`` both factors are easy to quantize, since weights have one
scale per output. Source: Xiao et al., "SmoothQuant", ICML 2023. There, ``1/s`` is folded into the preceding LayerNorm;
in BERT its output also feeds the residual connection, so it stays a separate product, which is cheap compared with the
matrix product.

**One scale per embedding row.** A single scale for the whole table would be determined by the few longest of 30,000
vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from toxonnx.convert.graph import inputs_of
from toxonnx.errors import CheckpointError

__all__ = ["quantize"]

Feed = dict[str, NDArray[np.int64]]
Range = tuple[NDArray[np.float32], NDArray[np.float32]]

FLOAT = onnx.TensorProto.FLOAT
#: embedding tables with fewer rows (token types) stay in fp32
MIN_TABLE_ROWS = 128
#: domain of ONNX Runtime's own operators
DOMAIN = "com.microsoft"


def quantize(
    source: Path, target: Path, feeds: Sequence[Feed], *, smoothing: float, reduce_range: bool, margin: float = 1.0
) -> int:
    """Writes the int8 model: linear layers and embedding tables are quantized, the head, run once per row, is not.

    Args:
        source: fp32 model.
        target: int8 model.
        feeds: inputs of the model, int64 [rows, tokens] each, on which the ranges of activations are measured.
        smoothing: the exponent ``a`` above, from 0 (no smoothing) to 1.
        reduce_range: use 7-bit weights, which do not saturate on CPUs without VNNI.
        margin: factor on the measured ranges, for calibration rows that differ from the rows to be scored.

    Returns:
        Number of quantized linear layers.

    Raises:
        CheckpointError: the graph has no linear layer.
    """
    model = onnx.load(str(source))
    quantizer = _Quantizer(model, steps=63 if reduce_range else 127, margin=margin)
    for node in model.graph.node:
        if node.op_type == "Gather":
            quantizer.quantize_embedding(node)
    # Matrix products with the same input (query, key and value) share its scale.
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type == "MatMul" and quantizer.is_matrix(node.input[1]):
            readers.setdefault(node.input[0], []).append(node)
    if not readers:
        raise CheckpointError("the exported graph has no linear layer to quantize", "Export with --precision fp32.")
    ranges = _ranges(model, list(readers), feeds)
    for activation, nodes in readers.items():
        # A matrix that several layers share (ALBERT) cannot be smoothed for one of them.
        shared = any(quantizer.uses[node.input[1]] > 1 for node in nodes)
        quantizer.quantize_linear(activation, nodes, ranges[activation], 0.0 if shared else smoothing)
    onnx.save(quantizer.result(), str(target))
    return sum(map(len, readers.values()))


class _Quantizer:
    """Collects the nodes that replace those of an fp32 model; :meth:`result` builds the int8 model."""

    def __init__(self, model: onnx.ModelProto, steps: int, margin: float) -> None:
        self.model, self._steps, self._margin = model, steps, margin
        self.weights = {value.name: value for value in model.graph.initializer}
        self.uses = Counter(name for node in model.graph.node for name in inputs_of(node))
        self.uses.update(value.name for value in model.graph.output)
        self._replaced: dict[str, list[onnx.NodeProto]] = {}  # by the node's first output
        self._added: dict[str, onnx.TensorProto] = {}
        self._next_add = {name: node for node in model.graph.node if node.op_type == "Add" for name in node.input}

    def is_matrix(self, name: str) -> bool:
        """Whether a value is a weight of a linear layer, float32 [inputs, outputs]."""
        weight = self.weights.get(name)
        return weight is not None and len(weight.dims) == 2 and weight.data_type == FLOAT

    def quantize_embedding(self, node: onnx.NodeProto) -> None:
        """Quantizes a table of at least MIN_TABLE_ROWS rows, with one scale per row."""
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        if not self.is_matrix(node.input[0]) or self.weights[node.input[0]].dims[0] < MIN_TABLE_ROWS or axis != 0:
            return
        table = self.weights[node.input[0]]
        rows, (out,) = numpy_helper.to_array(table), node.output
        scale = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-8).astype(np.float32) / 127
        int8_rows = self._constant(f"{table.name}/rows_int8", np.rint(rows / scale).astype(np.int8))
        scales = self._constant(f"{table.name}/rows_scale", scale)
        gathered, cast, row_scale = (f"{out}/{name}" for name in ("rows_int8", "rows_cast", "rows_scale"))
        self._replaced[out] = [
            helper.make_node("Gather", [int8_rows, node.input[1]], [gathered], name=gathered, axis=0),
            helper.make_node("Cast", [gathered], [cast], name=cast, to=FLOAT),
            helper.make_node("Gather", [scales, node.input[1]], [row_scale], name=row_scale, axis=0),
            helper.make_node("Mul", [cast, row_scale], [out], name=f"{out}/rows"),
        ]

    def quantize_linear(self, activation: str, nodes: list[onnx.NodeProto], limits: Range, smoothing: float) -> None:
        """Quantizes all matrix products with the same input, each with the bias that is added to it."""
        matrices = [numpy_helper.to_array(self.weights[node.input[1]]) for node in nodes]
        low, high = limits
        source, inserted = activation, []
        if smoothing:
            factor = _smoothing_factor(low, high, matrices, smoothing)
            matrices = [matrix * factor[:, None] for matrix in matrices]
            low, high = low / factor, high / factor
            source = f"{activation}/smooth"
            inverse = self._constant(f"{activation}/smoothing", 1 / factor)
            inserted.append(helper.make_node("Mul", [activation, inverse], [source], name=source))
        lowest, highest = min(0.0, float(low.min()) * self._margin), max(0.0, float(high.max()) * self._margin)
        step = max(highest - lowest, 1e-8) / 255
        scale = self._constant(f"{activation}/step", np.float32(step))
        zero = self._constant(f"{activation}/zero", np.uint8(np.clip(round(-lowest / step), 0, 255)))
        quantized = f"{activation}/uint8"
        inserted.append(helper.make_node("QuantizeLinear", [source, scale, zero], [quantized], name=quantized))
        for node, matrix in zip(nodes, matrices, strict=True):
            self._replaced[node.output[0]] = [*inserted, self._matmul(node, matrix, [quantized, scale, zero])]
            inserted = []

    def _matmul(self, node: onnx.NodeProto, matrix: NDArray[np.float32], quantized_input: list[str]) -> onnx.NodeProto:
        (out,), name = node.output, node.input[1]
        scales = np.maximum(np.abs(matrix).max(axis=0), 1e-8).astype(np.float32) / self._steps
        weights = self._constant(f"{name}/int8", np.rint(matrix / scales).astype(np.int8))
        quantized, scale, zero = quantized_input
        inputs = [quantized, weights, scale, self._constant(f"{name}/scale", scales), zero]
        add = self._next_add.get(out)
        if add is not None and self.uses[out] == 1:
            biases = [name for name in add.input if name in self.weights]
            if len(biases) == 1 and list(self.weights[biases[0]].dims) == [matrix.shape[1]]:
                inputs += ["", biases[0]]
                (out,) = add.output
                self._replaced[out] = []
        return helper.make_node("MatMulIntegerToFloat", inputs, [out], name=f"{out}/int8", domain=DOMAIN)

    def result(self) -> onnx.ModelProto:
        """The int8 model."""
        nodes: list[onnx.NodeProto] = []
        for node in self.model.graph.node:
            nodes += self._replaced.get(node.output[0], [node])
        used = {name for node in nodes for name in inputs_of(node)}
        initializers = [value for name, value in (self.weights | self._added).items() if name in used]
        old = self.model.graph
        graph = helper.make_graph(nodes, old.name, old.input, old.output, initializers)
        opsets = [*self.model.opset_import, helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=self.model.ir_version)

    def _constant(self, name: str, value: Any) -> str:
        """Stores a value under its name; weights that layers share are stored once."""
        tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
        stored = self._added.setdefault(name, tensor)
        if stored.raw_data != tensor.raw_data or name in self.weights:
            raise ValueError(f"there are two different values named {name}")
        return name


def _smoothing_factor(
    low: NDArray[np.float32], high: NDArray[np.float32], matrices: list[NDArray[np.float32]], smoothing: float
) -> NDArray[np.float32]:
    """The factor by which each channel of an activation is divided and the rows of its matrices are multiplied."""
    activation = np.log(np.maximum(np.maximum(np.abs(low), np.abs(high)), 1e-5))
    weight = np.log(np.maximum(np.max([np.abs(matrix).max(axis=1) for matrix in matrices], axis=0), 1e-5))
    power = smoothing * activation - (1 - smoothing) * weight
    factor: NDArray[np.float32] = np.exp(power - power.mean()).astype(np.float32)
    return factor


def _ranges(model: onnx.ModelProto, names: list[str], feeds: Sequence[Feed]) -> dict[str, Range]:
    """Smallest and largest value of each channel, float32 [channels], of each named activation."""
    instrumented = onnx.ModelProto()
    instrumented.CopyFrom(model)
    for name in names:
        instrumented.graph.output.append(helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        instrumented.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    inputs = {value.name for value in session.get_inputs()}
    ranges: dict[str, Range] = {}
    for feed in feeds:
        if "token_type_ids" in inputs:
            feed = {**feed, "token_type_ids": np.zeros_like(feed["input_ids"])}
        for name, value in zip(names, session.run(names, feed), strict=True):
            rows = value.reshape(-1, value.shape[-1])
            low, high = rows.min(axis=0), rows.max(axis=0)
            if name in ranges:
                low, high = np.minimum(ranges[name][0], low), np.maximum(ranges[name][1], high)
            ranges[name] = low, high
    return ranges
