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

**Weights rounded with their inputs in mind**, so that the errors of a product cancel: see
:mod:`toxonnx.convert.rounding`.

**One scale per embedding row.** A single scale for the whole table would be determined by the few longest of 30,000
vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from toxonnx.convert.graph import inputs_of
from toxonnx.convert.rounding import round_matrix
from toxonnx.errors import CheckpointError

__all__ = ["quantize"]

Feed = dict[str, NDArray[np.int64]]
Float = NDArray[np.float32]

FLOAT = onnx.TensorProto.FLOAT
#: embedding tables with fewer rows (token types) stay in fp32
MIN_TABLE_ROWS = 128
#: domain of ONNX Runtime's own operators
DOMAIN = "com.microsoft"
#: bytes of the sums of products that one pass over the calibration texts measures: all of BERT-base's in a pass
MAX_SQUARES = 1_000_000_000
#: tokens whose products are summed at once: much faster than text by text
MEASURED_TOGETHER = 1024


@dataclass
class _Inputs:
    """What calibration texts say about the inputs of linear layers.

    Attributes:
        low, high: smallest and largest value of each channel, [channels].
        squares: sum of the products of the channels with each other, [channels, channels].
    """

    low: Float
    high: Float
    squares: Float

    def __add__(self, other: _Inputs) -> _Inputs:
        return _Inputs(np.minimum(self.low, other.low), np.maximum(self.high, other.high), self.squares + other.squares)

    def divided_by(self, factor: Float) -> _Inputs:
        """The same, if each channel is divided by its factor, [channels]."""
        return _Inputs(self.low / factor, self.high / factor, self.squares / np.outer(factor, factor))


def quantize(
    source: Path, target: Path, feeds: Sequence[Feed], *, smoothing: float, reduce_range: bool, margin: float = 1.0
) -> int:
    """Writes the int8 model: linear layers and embedding tables are quantized, the head, run once per row, is not.

    Args:
        source: fp32 model.
        target: int8 model.
        feeds: inputs of the model, int64 [rows, tokens] each, on which the ranges of activations are measured, and how
            they move together.
        smoothing: the exponent ``a`` above, from 0 (no smoothing) to 1.
        reduce_range: use 7-bit weights, which do not saturate on CPUs without VNNI.
        margin: factor on the measured ranges, for calibration rows that differ from the rows to be scored.

    Returns:
        Number of quantized linear layers.

    Raises:
        CheckpointError: the graph has no linear layer, or its activations are too large.
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
    for names in _passes(quantizer, readers):
        for activation, measured in _measure(model, names, feeds).items():
            quantizer.quantize_linear(activation, readers[activation], measured, smoothing)
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

    def quantize_linear(
        self, activation: str, nodes: list[onnx.NodeProto], measured: _Inputs, smoothing: float
    ) -> None:
        """Quantizes all matrix products with the same input, each with the bias that is added to it."""
        matrices = [numpy_helper.to_array(self.weights[node.input[1]]) for node in nodes]
        # A matrix that several layers share (ALBERT) cannot be smoothed or rounded for one of them.
        shared = any(self.uses[node.input[1]] > 1 for node in nodes)
        source, inserted = activation, []
        if smoothing and not shared:
            factor = _smoothing_factor(measured, matrices, smoothing)
            matrices = [matrix * factor[:, None] for matrix in matrices]
            measured = measured.divided_by(factor)
            source = f"{activation}/smooth"
            inverse = self._constant(f"{activation}/smoothing", 1 / factor)
            inserted.append(helper.make_node("Mul", [activation, inverse], [source], name=source))
        lowest = min(0.0, float(measured.low.min()) * self._margin)
        highest = max(0.0, float(measured.high.max()) * self._margin)
        step = max(highest - lowest, 1e-8) / 255
        scale = self._constant(f"{activation}/step", np.float32(step))
        zero = self._constant(f"{activation}/zero", np.uint8(np.clip(round(-lowest / step), 0, 255)))
        quantized = f"{activation}/uint8"
        inserted.append(helper.make_node("QuantizeLinear", [source, scale, zero], [quantized], name=quantized))
        matrix = np.concatenate(matrices, axis=1)
        scales = np.maximum(np.abs(matrix).max(axis=0), 1e-8).astype(np.float32) / self._steps
        if not np.isfinite(measured.squares).all():
            raise CheckpointError(
                f"the values of {activation} are too large to quantize", "Export with --precision fp32."
            )
        if shared:
            weights = np.rint(matrix / scales).astype(np.int8)
        else:
            weights = round_matrix(matrix, scales, measured.squares, self._steps)
        start = 0
        for node, part in zip(nodes, matrices, strict=True):
            columns = slice(start, start := start + part.shape[1])
            name = node.input[1]
            int8_weights = self._constant(f"{name}/int8", weights[:, columns])
            inputs = [quantized, int8_weights, scale, self._constant(f"{name}/scale", scales[columns]), zero]
            self._replaced[node.output[0]] = [*inserted, self._matmul(node, inputs, part.shape[1])]
            inserted = []

    def _matmul(self, node: onnx.NodeProto, inputs: list[str], outputs: int) -> onnx.NodeProto:
        (out,) = node.output
        add = self._next_add.get(out)
        if add is not None and self.uses[out] == 1:
            biases = [name for name in add.input if name in self.weights]
            if len(biases) == 1 and list(self.weights[biases[0]].dims) == [outputs]:
                inputs = [*inputs, "", biases[0]]
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


def _smoothing_factor(measured: _Inputs, matrices: list[Float], smoothing: float) -> Float:
    """The factor by which each channel of an activation is divided and the rows of its matrices are multiplied."""
    activation = np.log(np.maximum(np.maximum(np.abs(measured.low), np.abs(measured.high)), 1e-5))
    weight = np.log(np.maximum(np.max([np.abs(matrix).max(axis=1) for matrix in matrices], axis=0), 1e-5))
    power = smoothing * activation - (1 - smoothing) * weight
    factor: Float = np.exp(power - power.mean()).astype(np.float32)
    return factor


def _passes(quantizer: _Quantizer, readers: dict[str, list[onnx.NodeProto]]) -> Iterator[list[str]]:
    """The activations, in parts whose sums of products take at most MAX_SQUARES bytes."""
    names: list[str] = []
    size = 0
    for name, nodes in readers.items():
        bytes_of_one = 4 * quantizer.weights[nodes[0].input[1]].dims[0] ** 2
        if names and size + bytes_of_one > MAX_SQUARES:
            yield names
            names, size = [], 0
        names.append(name)
        size += bytes_of_one
    yield names


def _measure(model: onnx.ModelProto, names: list[str], feeds: Sequence[Feed]) -> dict[str, _Inputs]:
    """Statistics of each named activation."""
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
    measured: dict[str, _Inputs] = {}
    outputs: list[Sequence[Float]] = []
    tokens = 0
    for number, feed in enumerate(feeds, start=1):
        types = {"token_type_ids": np.zeros_like(feed["input_ids"])} if "token_type_ids" in inputs else {}
        outputs.append(session.run(names, feed | types))
        tokens += feed["input_ids"].size
        if tokens < MEASURED_TOGETHER and number < len(feeds):
            continue
        for name, values in zip(names, zip(*outputs, strict=True), strict=True):
            rows = np.concatenate([value.reshape(-1, value.shape[-1]) for value in values])
            with np.errstate(over="ignore"):
                seen = _Inputs(rows.min(axis=0), rows.max(axis=0), rows.T @ rows)
            measured[name] = measured[name] + seen if name in measured else seen
        outputs, tokens = [], 0
    return measured
