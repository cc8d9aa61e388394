"""Properties of each encoder architecture, by transformers' ``model_type``.

Training, merging and the plain export work for other architectures too, as far as transformers, PEFT and Optimum (or
``torch.onnx``) support them; this table adds the LoRA targets named "attention", the last layer computed for the first
token only, and the graphs written from the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ARCHITECTURES", "Architecture", "WeightNames"]


@dataclass(frozen=True, kw_only=True)
class WeightNames:
    """Names of the modules that hold the weights of an architecture.

    Attributes:
        encoder: the encoder inside the classifier.
        layers: its list of layers.
        layer: the modules of a layer: query, key, value, attention output, attention norm, feed-forward up, down, norm.
        head: linear layers of the classification head in order, each with the ONNX operator that follows it ("" for
            none).
        token_types: whether token-type embeddings are added.
    """

    encoder: str
    layers: str
    layer: tuple[str, ...]
    head: tuple[tuple[str, str], ...]
    token_types: bool = True


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One encoder architecture.

    Attributes:
        query_and_value: names of the query and value projections, the LoRA targets called "attention".
        first_token_layer: which replacement of the last layer computes it for the first token only: ``bert``,
            ``distilbert``, or "" if the head is not known to read the first token only.
        weights: module names for graphs written from the weights; None if that is not supported.
    """

    query_and_value: tuple[str, ...]
    first_token_layer: str = ""
    weights: WeightNames | None = None


_BERT_LAYER = (
    "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
    "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
)  # fmt: skip
_ROBERTA = Architecture(
    query_and_value=("query", "value"),
    first_token_layer="bert",
    weights=WeightNames(
        encoder="roberta", layers="encoder.layer", layer=_BERT_LAYER,
        head=(("classifier.dense", "Tanh"), ("classifier.out_proj", "")),
    ),
)  # fmt: skip

ARCHITECTURES = {
    "distilbert": Architecture(
        query_and_value=("q_lin", "v_lin"),
        first_token_layer="distilbert",
        weights=WeightNames(
            encoder="distilbert", layers="transformer.layer",
            layer=(
                "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm",
                "ffn.lin1", "ffn.lin2", "output_layer_norm",
            ),
            head=(("pre_classifier", "Relu"), ("classifier", "")), token_types=False,
        ),
    ),
    "bert": Architecture(
        query_and_value=("query", "value"),
        first_token_layer="bert",
        weights=WeightNames(
            encoder="bert", layers="encoder.layer", layer=_BERT_LAYER,
            head=(("bert.pooler.dense", "Tanh"), ("classifier", "")),
        ),
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": Architecture(query_and_value=("query", "value"), first_token_layer="bert"),
    "mpnet": Architecture(query_and_value=("q", "v")),
    "deberta-v2": Architecture(query_and_value=("query_proj", "value_proj")),
}  # fmt: skip
