"""Collects the nodes and constants of an ONNX graph that is written from a model's weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from toxonnx.convert.encoder_weights import EncoderWeights, Layer, Linear, Norm

__all__ = ["DOMAIN", "FLOAT", "OPSET", "GraphWriter"]

#: from opset 17 on, LayerNormalization is a single operator
OPSET, IR_VERSION = 18, 9
#: domain of ONNX Runtime's own operators
DOMAIN = "com.microsoft"
FLOAT = onnx.TensorProto.FLOAT


class GraphWriter(ABC):
    """Writes the parts that all graphs of an encoder share; float constants are stored in its precision.

    Args:
        encoder: the weights.
        half: use fp16 inside.
        integer: ONNX type of the inputs.
    """

    def __init__(self, encoder: EncoderWeights, *, half: bool, integer: int) -> None:
        self.encoder, self._half, self._integer = encoder, half, integer
        self.nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    @abstractmethod
    def norm(self, x: str, skip: str, norm: Norm, output: str, bias: NDArray[np.float32] | None = None) -> str:
        """Normalises ``x + bias + skip``."""

    @abstractmethod
    def gelu(self, x: str, bias: NDArray[np.float32], prefix: str) -> str:
        """The activation of ``x + bias``."""

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """Stores a value under a name."""
        if self._half and value.dtype == np.float32:
            value = value.astype(np.float16)
        self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def add(
        self, operator: str, inputs: list[str], output: str, *more: str, domain: str = "", **attributes: Any
    ) -> str:
        """Appends a node; returns the name of its first output."""
        node = helper.make_node(operator, inputs, [output, *more], name=output, domain=domain, **attributes)
        self.nodes.append(node)
        return output

    def matmul(self, x: str, weight: NDArray[np.float32], output: str) -> str:
        """The product with a weight."""
        return self.add("MatMul", [x, self.constant(f"{output}.weight", weight)], output)

    def after_attention(self, number: int, layer: Layer, context: str, x: str) -> str:
        """The part of a layer after the attention."""
        prefix = f"layer.{number}"
        mixed = self.matmul(context, layer.out.weight, f"{prefix}.attention.out")
        x = self.norm(mixed, x, layer.attention_norm, f"{prefix}.attention.norm", layer.out.bias)
        wide = self.gelu(self.matmul(x, layer.up.weight, f"{prefix}.up"), layer.up.bias, prefix)
        narrow = self.matmul(wide, layer.down.weight, f"{prefix}.down")
        return self.norm(narrow, x, layer.norm, f"{prefix}.norm", layer.down.bias)

    def classify(self, x: str) -> None:
        """The classification head: logits, float32, from the first tokens' states [rows, width]."""
        for number, (linear, after) in enumerate(self.encoder.head):
            prefix = f"head.{number}"
            x = self.add("Gemm", [x, *self._parameters(linear, prefix)], prefix)
            x = self.add(after, [x], f"{prefix}.activation") if after else x
        if self._half:
            self.add("Cast", [x], "logits", to=FLOAT)
        else:
            self.nodes[-1].output[0] = "logits"

    def finish(self, inputs: Mapping[str, list[str]]) -> onnx.ModelProto:
        """The model, with inputs of the given shapes."""
        labels = len(self.encoder.head[-1][0].bias)
        values = [helper.make_tensor_value_info(name, self._integer, shape) for name, shape in inputs.items()]
        logits = helper.make_tensor_value_info("logits", FLOAT, ["rows", labels])
        graph = helper.make_graph(self.nodes, "classifier", values, [logits], list(self._constants.values()))
        own = [helper.make_opsetid(DOMAIN, 1)] if any(node.domain == DOMAIN for node in self.nodes) else []
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET), *own], ir_version=IR_VERSION)

    def _parameters(self, linear: Linear, prefix: str) -> list[str]:
        return [self.constant(f"{prefix}.weight", linear.weight), self.constant(f"{prefix}.bias", linear.bias)]
