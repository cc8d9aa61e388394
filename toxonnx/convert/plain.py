"""The plain graph written from the weights: standard operators, int64 inputs, no computation of shapes.

It has the operators that an export through PyTorch has after :func:`toxonnx.convert.graph.simplify`, so that
quantization and ONNX Runtime's own fusions find the same patterns. The last layer is computed for the first token of
each row only: the head reads no other.
"""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import onnx
from numpy.typing import NDArray

from toxonnx.convert.encoder_weights import EncoderWeights, Layer, Linear, Norm
from toxonnx.convert.writer import GraphWriter

__all__ = ["plain"]

INT64 = onnx.TensorProto.INT64


def plain(encoder: EncoderWeights) -> onnx.ModelProto:
    """An fp32 graph for padded batches.

    Inputs: ``input_ids`` and ``attention_mask``, int64 [rows, tokens]. Output: ``logits``, float32 [rows, labels].
    """
    writer = _PlainWriter(encoder)
    x, mask = writer.embed(), writer.mask()
    for number, layer in enumerate(encoder.layers):
        query_of = x
        if number == len(encoder.layers) - 1:
            first = writer.constant("first", np.zeros(1, dtype=np.int64))
            query_of = writer.add("Gather", [x, first], f"layer.{number}.first", axis=1)
        context = writer.attention(number, layer, query_of, x, mask)
        x = writer.after_attention(number, layer, context, query_of)
    flat = writer.constant("flat", np.array([-1, encoder.width], dtype=np.int64))
    writer.classify(writer.add("Reshape", [x, flat], "first_states"))
    return writer.finish({"input_ids": ["rows", "tokens"], "attention_mask": ["rows", "tokens"]})


class _PlainWriter(GraphWriter):
    def __init__(self, encoder: EncoderWeights) -> None:
        super().__init__(encoder, half=False, integer=INT64)

    def embed(self) -> str:
        """The normalised embeddings, float32 [rows, tokens, width]."""
        encoder = self.encoder
        words = self.add("Gather", [self.constant("words", encoder.words), "input_ids"], "word")
        table = encoder.positions
        if encoder.padding:  # row 0 of the table
            table = np.concatenate([encoder.padding.position[None], table])
        positions = self.add("Gather", [self.constant("positions", table), self._position_ids()], "position")
        return self.norm(words, positions, encoder.norm, "embedded")

    def _position_ids(self) -> str:
        """Rows of the table of positions, int64 [tokens], or [rows, tokens] where padding tokens are not numbered."""
        if padding := self.encoder.padding:
            padding_id = self.constant("padding_id", np.int64(padding.id))
            other = self.add("Not", [self.add("Equal", ["input_ids", padding_id], "is_padding")], "is_token")
            counted = self.add("Cast", [other], "counted", to=INT64)
            numbers = self.add("CumSum", [counted, self.constant("tokens_axis", np.int64(1))], "numbers")
            return self.add("Mul", [numbers, counted], "position_ids")
        zero, one = self.constant("zero", np.int64(0)), self.constant("one", np.int64(1))
        shape = self.add("Shape", ["input_ids"], "shape", start=1, end=2)
        return self.add("Range", [zero, self.add("Squeeze", [shape], "tokens"), one], "position_ids")

    def mask(self) -> str:
        """What is added to the scores, float32 [rows, 1, 1, tokens]: 0, or the lowest float for padding."""
        attended = self.add("Cast", ["attention_mask"], "attended", to=onnx.TensorProto.BOOL)
        zero = self.constant("no_penalty", np.float32(0))
        lowest = self.constant("penalty", np.finfo(np.float32).min)
        axes = self.constant("mask_axes", np.array([1, 2], dtype=np.int64))
        return self.add("Unsqueeze", [self.add("Where", [attended, zero, lowest], "penalties"), axes], "mask")

    def attention(self, number: int, layer: Layer, query_of: str, x: str, mask: str) -> str:
        """The context, float32 [rows, queries, width]: the queries of ``query_of`` attend to ``x``."""
        prefix, heads = f"layer.{number}", self.encoder.heads
        size = self.encoder.width // heads
        query = self._heads(query_of, layer.query, f"{prefix}.query", [0, 2, 1, 3])
        key = self._heads(x, layer.key, f"{prefix}.key", [0, 2, 3, 1])
        value = self._heads(x, layer.value, f"{prefix}.value", [0, 2, 1, 3])
        scores = self.add("MatMul", [query, key], f"{prefix}.products")
        scores = self.add("Mul", [scores, self.constant("scale", np.float32(size**-0.5))], f"{prefix}.scores")
        scores = self.add("Add", [scores, mask], f"{prefix}.masked")
        shares = self.add("Softmax", [scores], f"{prefix}.shares", axis=-1)
        context = self.add("MatMul", [shares, value], f"{prefix}.contexts")
        context = self.add("Transpose", [context], f"{prefix}.context_by_token", perm=[0, 2, 1, 3])
        together = self.constant("together", np.array([0, 0, self.encoder.width], dtype=np.int64))
        return self.add("Reshape", [context, together], f"{prefix}.context")

    def _heads(self, x: str, linear: Linear, output: str, order: list[int]) -> str:
        """A projection of each token, split by heads and transposed."""
        encoder = self.encoder
        x = self._biased(self.matmul(x, linear.weight, output), linear.bias)
        shape = np.array([0, 0, encoder.heads, encoder.width // encoder.heads], dtype=np.int64)
        x = self.add("Reshape", [x, self.constant("apart", shape)], f"{output}.apart")
        return self.add("Transpose", [x], f"{output}.by_head", perm=order)

    def _biased(self, x: str, bias: NDArray[np.float32]) -> str:
        return self.add("Add", [x, self.constant(f"{x}.bias", bias)], f"{x}.biased")

    def norm(self, x: str, skip: str, norm: Norm, output: str, bias: NDArray[np.float32] | None = None) -> str:
        if bias is not None:
            x = self._biased(x, bias)
        x = self.add("Add", [x, skip], f"{output}.sum")
        parameters = [self.constant(f"{output}.weight", norm.weight), self.constant(f"{output}.bias", norm.bias)]
        return self.add("LayerNormalization", [x, *parameters], output, axis=-1, epsilon=norm.epsilon)

    def gelu(self, x: str, bias: NDArray[np.float32], prefix: str) -> str:
        x = self._biased(x, bias)
        half, one = self._number("half", 0.5), self._number("float_one", 1.0)
        if self.encoder.exact_gelu:  # x (1 + erf(x / sqrt 2)) / 2
            scaled = self.add("Div", [x, self._number("sqrt_2", sqrt(2))], f"{prefix}.gelu.scaled")
            bent = self.add("Erf", [scaled], f"{prefix}.gelu.erf")
        else:  # x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
            cube = self.add("Pow", [x, self._number("three", 3.0)], f"{prefix}.gelu.cube")
            part = self.add("Mul", [cube, self._number("cubic_share", 0.044715)], f"{prefix}.gelu.cubic")
            inner = self.add("Add", [x, part], f"{prefix}.gelu.inner")
            scaled = self.add("Mul", [inner, self._number("sqrt_2_over_pi", sqrt(2 / pi))], f"{prefix}.gelu.scaled")
            bent = self.add("Tanh", [scaled], f"{prefix}.gelu.tanh")
        product = self.add("Mul", [x, self.add("Add", [bent, one], f"{prefix}.gelu.up")], f"{prefix}.gelu.product")
        return self.add("Mul", [product, half], f"{prefix}.gelu")

    def _number(self, name: str, value: float) -> str:
        return self.constant(name, np.float32(value))
