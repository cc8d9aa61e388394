"""The weights of a BERT-like classifier, independent of the names of its modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from toxonnx.architectures import ARCHITECTURES
from toxonnx.errors import CheckpointError

__all__ = ["EncoderWeights", "Layer", "Linear", "Norm", "PaddingToken", "extract_weights"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Linear:
    """``y = x @ weight + bias``: float32 [inputs, outputs] and [outputs]."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Norm:
    """Layer normalisation: float32 [width] each."""

    weight: Array
    bias: Array
    epsilon: float


@dataclass(frozen=True)
class Layer:
    """One encoder layer with layer normalisation after each residual connection."""

    query: Linear
    key: Linear
    value: Linear
    out: Linear
    attention_norm: Norm
    up: Linear
    down: Linear
    norm: Norm


@dataclass(frozen=True)
class PaddingToken:
    """A token that has no position of its own: its id, and the embedding added to it, float32 [width]."""

    id: int
    position: Array


@dataclass(frozen=True)
class EncoderWeights:
    """A classifier's weights.

    Attributes:
        words: float32 [vocabulary, width].
        positions: float32 [positions, width], starting with the first token's; token type 0 is added.
        norm: of the embeddings.
        layers: in order.
        head: linear layers on the first token, each with the ONNX operator that follows it ("" for none).
        heads: number of attention heads.
        exact_gelu: whether the activation is the exact GELU; else its tanh approximation.
        padding: the padding token, for architectures that do not number padding tokens; None for the others.
    """

    words: Array
    positions: Array
    norm: Norm
    layers: tuple[Layer, ...]
    head: tuple[tuple[Linear, str], ...]
    heads: int
    exact_gelu: bool
    padding: PaddingToken | None = None

    @property
    def width(self) -> int:
        """Width of a hidden state."""
        return int(self.words.shape[1])


#: activation -> whether it is the exact GELU; the others are its tanh approximation
_GELUS = {"gelu": True, "gelu_python": True, "gelu_new": False, "gelu_fast": False, "gelu_pytorch_tanh": False}


def extract_weights(model: PreTrainedModel) -> EncoderWeights:
    """The weights of a sequence classifier.

    Raises:
        CheckpointError: its architecture, or this variant of it, is not supported.
    """
    config = model.config
    supported = {name: known for name, known in ARCHITECTURES.items() if known.weights}
    architecture = supported.get(config.model_type)
    if architecture is None or architecture.weights is None:
        raise _unsupported(f"{config.model_type} is not one of {', '.join(supported)}")
    names = architecture.weights
    if getattr(config, "position_embedding_type", "absolute") != "absolute" or getattr(config, "is_decoder", False):
        raise _unsupported("its position embeddings are not absolute, or it is a decoder")
    activation = getattr(config, "hidden_act", None) or getattr(config, "activation", None)
    if activation not in _GELUS:
        raise _unsupported(f"its activation {activation!r} is not one of {', '.join(_GELUS)}")
    base = model.get_submodule(names.encoder)
    embeddings = base.get_submodule("embeddings")
    positions, padding = _array(embeddings.position_embeddings.weight), None
    if names.token_types:
        positions = positions + _array(embeddings.token_type_embeddings.weight)[:1]
    if (number := embeddings.position_embeddings.padding_idx) is not None:
        # As in RoBERTa, positions are counted from the id of the padding on.
        padding = PaddingToken(number, positions[number])
        positions = positions[number + 1 :]
    layers = tuple(_layer(layer, names.layer) for layer in base.get_submodule(names.layers))
    width = embeddings.word_embeddings.weight.shape[1]
    attention = [linear for layer in layers for linear in (layer.query, layer.key, layer.value)]
    if any(linear.weight.shape != (width, width) for linear in attention):
        raise _unsupported("attention heads were pruned, or its embeddings and layers have different widths")
    return EncoderWeights(
        words=_array(embeddings.word_embeddings.weight),
        positions=positions,
        norm=_norm(embeddings.LayerNorm),
        layers=layers,
        head=tuple((_linear(model.get_submodule(name)), after) for name, after in names.head),
        heads=config.num_attention_heads,
        exact_gelu=_GELUS[activation],
        padding=padding,
    )


def _layer(module: Any, names: tuple[str, ...]) -> Layer:
    query, key, value, out, attention_norm, up, down, norm = (module.get_submodule(name) for name in names)
    return Layer(
        query=_linear(query), key=_linear(key), value=_linear(value), out=_linear(out),
        attention_norm=_norm(attention_norm), up=_linear(up), down=_linear(down), norm=_norm(norm),
    )  # fmt: skip


def _linear(module: Any) -> Linear:
    return Linear(_array(module.weight).T, _array(module.bias))


def _norm(module: Any) -> Norm:
    return Norm(_array(module.weight), _array(module.bias), float(module.eps))


def _array(parameter: Any) -> Array:
    array: Array = parameter.detach().float().cpu().numpy()
    return array


def _unsupported(reason: str) -> CheckpointError:
    return CheckpointError(f"no graph for GPUs can be written for this model: {reason}", "Export with --layout plain.")
