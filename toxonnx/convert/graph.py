"""PyTorch to ONNX, and half precision."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from transformers import PreTrainedModel

from toxonnx.convert.encoder_weights import EncoderWeights
from toxonnx.convert.first_token import first_token_only
from toxonnx.convert.fused import OPSET as FUSED_OPSET
from toxonnx.convert.fused import fused, packed
from toxonnx.errors import CheckpointError
from toxonnx.formats import LAYOUTS

__all__ = ["OPSET", "describe", "reads", "to_fp16", "to_layout", "to_onnx"]

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
    path, simplified = folder / "model.onnx", folder / "simplified.onnx"
    onnx.save(_simplified(onnx.load(str(path))), str(simplified))
    same = _same(path, simplified)
    if same:
        os.replace(simplified, path)
    else:
        simplified.unlink()
    return {"opset": OPSET, "last_layer_first_token_only": short, "simplified": same}


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model without what the exporter adds and nobody needs."""
    weights = {value.name for value in model.graph.initializer}
    # Weights of equal content are stored once, and the others point at them.
    same = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Identity" and node.input[0] in weights
    }
    for node in model.graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = same.get(name, name)
    _fix_shapes(model)
    return _without_dead_nodes(model)


def _same(one: Path, other: Path) -> bool:
    """Whether two files run and give the same logits, in batches of several rows."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    logits: list[list[NDArray[np.float32]]] = [[], []]
    try:
        for path, found in zip((one, other), logits, strict=True):
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for rows, tokens in ((1, 1), (3, 5), (2, 9)):
                ids = np.arange(rows * tokens, dtype=np.int64).reshape(rows, tokens) % 7 + 3
                given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
                found += session.run(None, {value.name: given[value.name] for value in session.get_inputs()})
    except Exception:  # the runtime's exceptions share no base class of their own
        return False
    return all(np.allclose(a, b, atol=1e-5) for a, b in zip(*logits, strict=True))


def _fix_shapes(model: onnx.ModelProto) -> None:
    """Lets reshapes say "as before" instead of computing the rows and tokens of a batch anew in every layer.

    The exporter writes ``x.view(rows, -1, heads, size)`` as half a dozen small operators; on short texts, each costs as
    much as a real one.
    """
    made = {name: node for node in model.graph.node for name in node.output}
    known = {
        value.name: numpy_helper.to_array(value)
        for value in model.graph.initializer
        if value.data_type == onnx.TensorProto.INT64
    }
    known |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in model.graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }

    def size(name: str, position: int, data: str) -> int | None:
        """An entry of a shape: a number, or 0 for the same as in ``data``, the tensor that is reshaped."""
        if name in known:
            return int(known[name].reshape(-1)[0]) if known[name].size == 1 else None
        chain = [made.get(name)]
        for kind in ("Unsqueeze", "Gather", "Shape"):
            node = chain[-1]
            if node is None or node.op_type != kind:
                return None
            chain.append(made.get(node.input[0]))
        gather, shape = chain[1], chain[2]
        assert gather is not None and shape is not None
        at = known.get(gather.input[1])
        # The first dimension of whatever stands in an encoder is the rows of the batch.
        same = at is not None and int(at) == position and (position == 0 or shape.input[0] == data)
        return 0 if same else None

    for node in model.graph.node:
        concat = made.get(node.input[1]) if node.op_type == "Reshape" else None
        if concat is None or concat.op_type != "Concat" or any(a.name == "allowzero" and a.i for a in node.attribute):
            continue
        sizes = [size(name, position, node.input[0]) for position, name in enumerate(concat.input)]
        if None not in sizes:
            name = f"{node.output[0]}_shape"
            model.graph.initializer.append(numpy_helper.from_array(np.array(sizes, dtype=np.int64), name))
            node.input[1] = name


def reads(node: onnx.NodeProto) -> set[str]:
    """All values that a node reads, those that the bodies of If and Loop take from outside with them."""
    names = set(node.input)
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                names |= reads(inner)
            names |= {value.name for value in body.output}
    return names


def _without_dead_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    needed = {value.name for value in model.graph.output}
    nodes: list[onnx.NodeProto] = []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= reads(node)
    kept = [value for value in model.graph.initializer if value.name in needed]
    about = model.graph
    graph = helper.make_graph(nodes[::-1], about.name, about.input, about.output, kept)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def to_fp16(source: Path, target: Path) -> None:
    """Half precision inside, float32 logits outside."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _quiet():
        model = convert_float_to_float16(onnx.load(str(source)), keep_io_types=True)
    onnx.save(model, str(target))


def to_layout(encoder: EncoderWeights, target: Path, layout: str, *, half: bool) -> dict[str, Any]:
    """Writes a graph for a GPU (see :mod:`toxonnx.convert.fused`); returns what the manifest says of it."""
    onnx.save((packed if LAYOUTS[layout].packed else fused)(encoder, half=half), str(target))
    return {"opset": FUSED_OPSET, "last_layer_first_token_only": True, "written_by": "toxonnx.convert.fused"}


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
