"""Graphs written for GPUs: few large operators, int32 inputs, and little or no work on padding.

Two layouts of one model, both with ONNX Runtime's fused operators:

``fused``
    ``input_ids`` and ``attention_mask``, int32 [rows, tokens], the usual inputs. The mask is converted to one length
    per row: with lengths, attention can use kernels that do not support a two-dimensional mask.

``packed``
    The tokens of all rows are concatenated, [tokens], without padding. ``cu_seqlens`` marks where rows begin. All
    operators except attention work on single tokens, and ``PackedMultiHeadAttention`` keeps the rows apart. It has only
    a CUDA kernel; :func:`emulate_packed` rewrites it with standard operators, to verify a graph without a GPU.

RoBERTa does not count padding tokens when it numbers positions; here a literal padding token inside a text is counted.

In both layouts, the last layer is computed for the first token of each row only, where possible: the head reads no
other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from toxonnx.convert.encoder_weights import EncoderWeights, Layer, Linear, Norm
from toxonnx.convert.writer import DOMAIN, FLOAT, GraphWriter

__all__ = ["PACKED_INPUTS", "emulate_packed", "fused", "packed"]

#: inputs of the packed layout and their shapes; see :class:`toxonnx.inference.batching.PackedBatcher`
PACKED_INPUTS: Mapping[str, list[str]] = {
    "input_ids": ["tokens"],
    "position_ids": ["tokens"],
    "first_tokens": ["rows"],
    "cu_seqlens": ["rows_and_end"],
    "token_offset": ["rows", "longest"],
}


class _FusedWriter(GraphWriter):
    """Uses ONNX Runtime's fused operators, with int32 inputs."""

    def __init__(self, encoder: EncoderWeights, half: bool) -> None:
        super().__init__(encoder, half=half, integer=onnx.TensorProto.INT32)

    def norm(self, x: str, skip: str, norm: Norm, output: str, bias: NDArray[np.float32] | None = None) -> str:
        inputs = [x, skip, self.constant(f"{output}.weight", norm.weight), self.constant(f"{output}.bias", norm.bias)]
        if bias is not None:
            inputs.append(self.constant(f"{x}.bias", bias))
        return self.add("SkipLayerNormalization", inputs, output, domain=DOMAIN, epsilon=norm.epsilon)

    def gelu(self, x: str, bias: NDArray[np.float32], prefix: str) -> str:
        operator = "BiasGelu" if self.encoder.exact_gelu else "FastGelu"
        return self.add(operator, [x, self.constant(f"{x}.bias", bias)], f"{prefix}.gelu", domain=DOMAIN)


def fused(encoder: EncoderWeights, *, half: bool) -> onnx.ModelProto:
    """A graph for padded batches.

    Inputs: ``input_ids`` and ``attention_mask``, int32 [rows, tokens], padded on the right, with at least one token per
    row. Output: ``logits``, float32 [rows, labels].

    Args:
        encoder: the weights.
        half: use fp16 inside.
    """
    writer = _FusedWriter(encoder, half)
    tables = [writer.constant("words", encoder.words), writer.constant("positions", encoder.positions)]
    norm = [writer.constant("norm.weight", encoder.norm.weight), writer.constant("norm.bias", encoder.norm.bias)]
    x = writer.add(
        "EmbedLayerNormalization", ["input_ids", "", *tables, "", *norm, "attention_mask"], "embedded", "lengths",
        domain=DOMAIN, epsilon=encoder.norm.epsilon,
    )  # fmt: skip
    first = writer.constant("first", np.zeros(1, dtype=np.int32))
    for number, layer in enumerate(encoder.layers):
        prefix = f"layer.{number}"
        weight, bias = _stacked(layer)
        if number < len(encoder.layers) - 1:
            inputs = [x, writer.constant(f"{prefix}.qkv.weight", weight), writer.constant(f"{prefix}.qkv.bias", bias)]
            context = writer.add(
                "Attention", [*inputs, "lengths"], f"{prefix}.attention", domain=DOMAIN, num_heads=encoder.heads
            )
        else:
            key, value = (
                writer.matmul(x, linear.weight, f"{prefix}.{name}")
                for name, linear in (("key", layer.key), ("value", layer.value))
            )
            x = writer.add("Gather", [x, first], f"{prefix}.first", axis=1)
            query = writer.matmul(x, layer.query.weight, f"{prefix}.query")
            context = writer.add(
                "MultiHeadAttention",
                [query, key, value, writer.constant(f"{prefix}.qkv.bias", bias), "lengths"],
                f"{prefix}.attention",
                domain=DOMAIN,
                num_heads=encoder.heads,
            )
        x = writer.after_attention(number, layer, context, x)
    flat = writer.constant("flat", np.array([-1, encoder.width], dtype=np.int64))
    writer.classify(writer.add("Reshape", [x, flat], "first_states"))
    return writer.finish({"input_ids": ["rows", "tokens"], "attention_mask": ["rows", "tokens"]})


def packed(encoder: EncoderWeights, *, half: bool) -> onnx.ModelProto:
    """A graph for concatenated rows.

    Inputs: those of PACKED_INPUTS, int32. Output: ``logits``, float32 [rows, labels].

    Args:
        encoder: the weights.
        half: use fp16 inside.
    """
    writer = _FusedWriter(encoder, half)
    words = writer.add("Gather", [writer.constant("words", encoder.words), "input_ids"], "word")
    positions = writer.add("Gather", [writer.constant("positions", encoder.positions), "position_ids"], "position")
    x = writer.norm(words, positions, encoder.norm, "embedded")
    size = encoder.width // encoder.heads
    by_head = writer.constant("apart", np.array([-1, encoder.heads, 3, size], dtype=np.int64))
    for number, layer in enumerate(encoder.layers):
        prefix = f"layer.{number}"
        weight, bias = _stacked(layer)
        # The operator expects each head's query, key and value next to each other, but in its bias all queries first.
        columns = np.arange(3 * encoder.width).reshape(3, encoder.heads, size).transpose(1, 0, 2).reshape(-1)
        qkv = writer.matmul(x, weight[:, columns], f"{prefix}.qkv")
        qkv = writer.add("Reshape", [qkv, by_head], f"{prefix}.qkv_apart")
        context = writer.add(
            "PackedMultiHeadAttention",
            [qkv, "", "", writer.constant(f"{prefix}.qkv.bias", bias), "token_offset", "cu_seqlens"],
            f"{prefix}.attention",
            domain=DOMAIN,
            num_heads=encoder.heads,
        )
        if number == len(encoder.layers) - 1:
            context = writer.add("Gather", [context, "first_tokens"], f"{prefix}.attention_first")
            x = writer.add("Gather", [x, "first_tokens"], f"{prefix}.first")
        x = writer.after_attention(number, layer, context, x)
    writer.classify(x)
    return writer.finish(PACKED_INPUTS)


def _stacked(layer: Layer) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Query, key and value concatenated: float32 [width, 3 * width] and [3 * width]."""
    linears: list[Linear] = [layer.query, layer.key, layer.value]
    return np.concatenate([x.weight for x in linears], axis=1), np.concatenate([x.bias for x in linears])


def emulate_packed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A packed graph with its attention in standard operators, which run on any provider.

    A mask over all pairs of tokens keeps the rows apart, so that time grows with the square of the batch: for
    verification only. Weights keep their precision; the rounding inside a GPU's kernels is not emulated.
    """
    emulated = onnx.ModelProto()
    emulated.CopyFrom(model)
    weights = {weight.name: weight for weight in model.graph.initializer}
    half = weights["words"].data_type == onnx.TensorProto.FLOAT16
    nodes = _mask()
    for node in model.graph.node:
        nodes += _attention(node, half) if node.op_type == "PackedMultiHeadAttention" else [node]
    (heads,) = {node.attribute[0].i for node in model.graph.node if node.op_type == "PackedMultiHeadAttention"}
    width = weights["words"].dims[1]
    constants: dict[str, Any] = {
        "emulated.zero": np.int64(0), "emulated.one": np.int64(1), "emulated.axis": np.array([1], dtype=np.int64),
        "emulated.end": np.array([np.iinfo(np.int32).max], dtype=np.int64),
        "emulated.rows": np.array([-1, 1], dtype=np.int64), "emulated.columns": np.array([1, -1], dtype=np.int64),
        "emulated.kept": np.float32(0), "emulated.masked": np.float32(-1e30),
        "emulated.scale": np.float32((width // heads) ** -0.5),
        "emulated.bias_shape": np.array([1, 3, heads, width // heads], dtype=np.int64),
        "emulated.flat": np.array([-1, width], dtype=np.int64),
        **{f"emulated.{index}": np.int64(index) for index in range(3)},
    }  # fmt: skip
    emulated.graph.ClearField("node")
    emulated.graph.node.extend(nodes)
    emulated.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    return emulated


def _mask() -> list[onnx.NodeProto]:
    """``emulated.mask``, float32 [tokens, tokens]: 0 within a row, a large negative number between rows."""
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Shape", ["input_ids"], "shape", {}),
        ("Squeeze", ["emulated.shape"], "tokens", {}),
        ("Range", ["emulated.zero", "emulated.tokens", "emulated.one"], "places", {}),
        ("Reshape", ["emulated.places", "emulated.rows"], "places_down", {}),
        ("Slice", ["cu_seqlens", "emulated.axis", "emulated.end"], "ends32", {}),
        ("Cast", ["emulated.ends32"], "ends", {"to": onnx.TensorProto.INT64}),
        ("Reshape", ["emulated.ends", "emulated.columns"], "ends_across", {}),
        ("GreaterOrEqual", ["emulated.places_down", "emulated.ends_across"], "after", {}),
        ("Cast", ["emulated.after"], "after_number", {"to": onnx.TensorProto.INT64}),
        ("ReduceSum", ["emulated.after_number", "emulated.axis"], "row", {"keepdims": 0}),
        ("Reshape", ["emulated.row", "emulated.rows"], "row_down", {}),
        ("Reshape", ["emulated.row", "emulated.columns"], "row_across", {}),
        ("Equal", ["emulated.row_down", "emulated.row_across"], "same", {}),
        ("Where", ["emulated.same", "emulated.kept", "emulated.masked"], "mask", {}),
    ]
    return [
        helper.make_node(operator, inputs, [f"emulated.{out}"], name=f"emulated.{out}", **attributes)
        for operator, inputs, out, attributes in steps
    ]


def _attention(node: onnx.NodeProto, half: bool) -> list[onnx.NodeProto]:
    """Standard operators, in float32, for one PackedMultiHeadAttention with packed queries, keys and values."""
    qkv, bias, out = node.input[0], node.input[3], node.output[0]
    nodes: list[onnx.NodeProto] = []

    def add(operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [f"{out}/{name}"], name=f"{out}/{name}", **attributes))
        return f"{out}/{name}"

    qkv32 = add("Cast", [qkv], "qkv", to=FLOAT)
    bias32 = add("Cast", [bias], "bias", to=FLOAT)
    bias32 = add("Reshape", [bias32, "emulated.bias_shape"], "bias_apart")
    bias32 = add("Transpose", [bias32], "bias_by_head", perm=[0, 2, 1, 3])
    qkv32 = add("Add", [qkv32, bias32], "qkv_biased")
    orders = {0: [1, 0, 2], 1: [1, 2, 0], 2: [1, 0, 2]}
    query, key, value = (
        add("Transpose", [add("Gather", [qkv32, f"emulated.{i}"], f"{i}", axis=2)], f"{i}_by_head", perm=order)
        for i, order in orders.items()
    )
    scores = add("Mul", [add("MatMul", [query, key], "scores"), "emulated.scale"], "scaled")
    shares = add("Softmax", [add("Add", [scores, "emulated.mask"], "masked")], "shares", axis=-1)
    context = add("Transpose", [add("MatMul", [shares, value], "context")], "by_token", perm=[1, 0, 2])
    context = add("Reshape", [context, "emulated.flat"], "flat")
    nodes.append(
        helper.make_node("Cast", [context], [out], name=f"{out}/cast", to=onnx.TensorProto.FLOAT16 if half else FLOAT)
    )
    return nodes
