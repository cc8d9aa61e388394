"""Simplification of exported graphs, and the graphs written for GPUs."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from toxonnx.convert.encoder_weights import EncoderWeights
from toxonnx.convert.fused import fused, packed
from toxonnx.convert.writer import OPSET
from toxonnx.formats import LAYOUTS
from toxonnx.manifest import Graph

__all__ = ["count_operators", "inputs_of", "simplify", "write_layout"]


def simplify(path: Path) -> bool:
    """Removes an exporter's redundant nodes from a model file, if it then still gives the same logits.

    Returns:
        Whether they were removed.
    """
    simplified = path.with_name("simplified.onnx")
    onnx.save(_simplified(onnx.load(str(path))), str(simplified))
    same = _give_same_logits(path, simplified)
    if same:
        os.replace(simplified, path)
    else:
        simplified.unlink()
    return same


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model without redundant nodes of the exporter."""
    weights = {value.name for value in model.graph.initializer}
    # Weights with equal content are stored once, and the others refer to them.
    original = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Identity" and node.input[0] in weights
    }
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = original.get(name, name)
    _use_constant_shapes(model)
    return _without_dead_nodes(model)


def _give_same_logits(one: Path, other: Path) -> bool:
    """Whether two files run and give the same logits, in batches of several rows."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    logits: list[list[NDArray[np.float32]]] = [[], []]
    try:
        for path, outputs in zip((one, other), logits, strict=True):
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for rows, tokens in ((1, 1), (3, 5), (2, 9)):
                ids = np.arange(rows * tokens, dtype=np.int64).reshape(rows, tokens) % 7 + 3
                feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
                outputs += session.run(None, {value.name: feed[value.name] for value in session.get_inputs()})
    except Exception:  # ONNX Runtime's exceptions have no base class of their own
        return False
    return all(np.allclose(a, b, atol=1e-5) for a, b in zip(*logits, strict=True))


def _use_constant_shapes(model: onnx.ModelProto) -> None:
    """Makes reshapes copy dimensions instead of computing the batch size and length again in every layer.

    The exporter writes ``x.view(rows, -1, heads, size)`` as half a dozen small operators; on short texts, each takes as
    long as one that computes something.
    """
    producer = {name: node for node in model.graph.node for name in node.output}
    constants = {
        value.name: numpy_helper.to_array(value)
        for value in model.graph.initializer
        if value.data_type == onnx.TensorProto.INT64
    }
    constants |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in model.graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }

    def size(name: str, position: int, data: str) -> int | None:
        """An entry of a shape: a number, or 0 to copy it from ``data``, the reshaped tensor."""
        if name in constants:
            return int(constants[name].reshape(-1)[0]) if constants[name].size == 1 else None
        chain = [producer.get(name)]
        for kind in ("Unsqueeze", "Gather", "Shape"):
            node = chain[-1]
            if node is None or node.op_type != kind:
                return None
            chain.append(producer.get(node.input[0]))
        gather, shape = chain[1], chain[2]
        assert gather is not None and shape is not None
        index = constants.get(gather.input[1])
        # The first dimension of every tensor in an encoder is the batch.
        same = index is not None and int(index) == position and (position == 0 or shape.input[0] == data)
        return 0 if same else None

    for node in model.graph.node:
        concat = producer.get(node.input[1]) if node.op_type == "Reshape" else None
        if concat is None or concat.op_type != "Concat" or any(a.name == "allowzero" and a.i for a in node.attribute):
            continue
        sizes = [size(name, position, node.input[0]) for position, name in enumerate(concat.input)]
        if None not in sizes:
            name = f"{node.output[0]}_shape"
            model.graph.initializer.append(numpy_helper.from_array(np.array(sizes, dtype=np.int64), name))
            node.input[1] = name


def inputs_of(node: onnx.NodeProto) -> set[str]:
    """All values that a node reads, including those that the bodies of If and Loop capture."""
    names = set(node.input)
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                names |= inputs_of(inner)
            names |= {value.name for value in body.output}
    return names


def _without_dead_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    needed = {value.name for value in model.graph.output}
    nodes: list[onnx.NodeProto] = []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= inputs_of(node)
    initializers = [value for value in model.graph.initializer if value.name in needed]
    old = model.graph
    graph = helper.make_graph(nodes[::-1], old.name, old.input, old.output, initializers)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def write_layout(encoder: EncoderWeights, target: Path, layout: str, *, half: bool) -> Graph:
    """Writes a graph for GPUs (see :mod:`toxonnx.convert.fused`); returns its entry in the manifest."""
    onnx.save((packed if LAYOUTS[layout].packed else fused)(encoder, half=half), str(target))
    return Graph(opset=OPSET, last_layer_first_token_only=True, written_by="toxonnx.convert.fused")


def count_operators(path: Path) -> dict[str, int]:
    """How often each operator occurs in a model file, most frequent first."""
    nodes = onnx.load(str(path), load_external_data=False).graph.node
    return dict(Counter(node.op_type for node in nodes).most_common())
