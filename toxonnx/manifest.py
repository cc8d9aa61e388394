"""The manifest of a bundle, ``toxonnx.json``: one record per section, whose types are its schema.

Metrics and evaluation reports are plain JSON values here; their records are in :mod:`toxonnx.evaluate`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from toxonnx.errors import InputError
from toxonnx.formats import LAYOUTS, PRECISIONS
from toxonnx.labels import Labels
from toxonnx.long_texts import LongTexts
from toxonnx.manifest_decisions import Cascade, Decisions
from toxonnx.manifest_verification import Verification
from toxonnx.records import Count, NotNegative, Rule, Share, from_plain, one_of
from toxonnx.texts import TextSpec
from toxonnx.vocabularies import check_mappings

__all__ = [
    "MODEL_FOLDER",
    "SCHEMA",
    "Adapter",
    "CalibrationData",
    "DataDict",
    "Graph",
    "LabelColumnsDict",
    "Manifest",
    "ModelSource",
    "SourceDict",
    "Training",
]

SCHEMA = 5

#: where the layout of the Hugging Face Hub has the ONNX file
MODEL_FOLDER = "onnx"


def _is_file_name(name: str) -> bool:
    name = name.removeprefix(f"{MODEL_FOLDER}/")
    return name not in {"", ".", ".."} and not set(name) & set("/\\\0")


FileName = Annotated[
    str,
    Rule(
        f"the name of a file in the folder, or in {MODEL_FOLDER}/",
        _is_file_name,
        {"pattern": rf"^(?:{MODEL_FOLDER}/)?(?!\.{{0,2}}$)[^/\\\x00]+$"},
    ),
    Rule("at most 255 bytes long", lambda name: len(name.encode("utf-8")) <= 255),
]
Sha256 = Annotated[
    str, Rule("64 hexadecimal digits", re.compile("[0-9a-f]{64}").fullmatch, {"pattern": "^[0-9a-f]{64}$"})
]
Precision = Annotated[str, one_of(*PRECISIONS)]
Layout = Annotated[str, one_of(*LAYOUTS)]
#: two special tokens and one of the text
MaxLength = Annotated[
    int,
    Rule("between 3 and 1,048,576", lambda length: 3 <= length <= 1 << 20, {"minimum": 3, "maximum": 1 << 20}),
]


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A merged adapter.

    Attributes:
        r, alpha: rank and scale, where its kind has them.
        layers: number of adapted layers.
        head: modules of the head, which was trained as a whole.
    """

    r: Count | None
    alpha: int | float | None
    layers: Count
    head: list[str]


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """The trained model.

    Attributes:
        base: name of the base model.
        revision: commit on the hub, or sha256 of the weights.
        method: ``full``, or PEFT's name of the kind of adapter in lower case: ``lora``, ``ia3``, ...
        adapter: None for ``full``.
        merge_largest_logit_difference: largest change of a logit when the adapter was merged.
    """

    base: str = ""
    revision: str = ""
    method: str = "full"
    adapter: Adapter | None = None
    merge_largest_logit_difference: NotNegative | None = None

    @property
    def training_method(self) -> str:
        """The method in words."""
        if self.adapter is None:
            return "full fine-tuning"
        name = "LoRA" if self.method == "lora" else self.method.upper()
        settings = [f"{key}={value}" for key, value in (("r", self.adapter.r), ("alpha", self.adapter.alpha)) if value]
        return f"{', '.join([name, *settings])}, on {self.adapter.layers} layers"


@dataclass(frozen=True, kw_only=True)
class CalibrationData:
    """Texts on which the activations were measured, for their scales and for the rounding of weights in int8.

    Attributes:
        rows, source: their number, and a description of where they are from.
        margin: factor on the measured ranges.
    """

    rows: Count
    source: str
    margin: NotNegative


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The ONNX graph.

    Attributes:
        opset: ONNX operator set.
        last_layer_first_token_only: whether the last layer is computed for the first token only.
        simplified: whether the shape computations of the exporter were removed.
        written_by: the module that wrote the graph: ``optimum.exporters.onnx``, ``torch.onnx``, or one of toxonnx.
        linear_layers_int8: number of quantized linear layers.
        smoothing: see :func:`toxonnx.convert.int8.quantize`.
        reduce_range: whether int8 weights have 7 bits.
        calibration: for int8.
        largest_product: largest value of a matrix product on some rows, for fp16.
        operators: operator -> count, most frequent first.
    """

    opset: Count = 0
    last_layer_first_token_only: bool = False
    simplified: bool = False
    written_by: str = ""
    linear_layers_int8: Count | None = None
    smoothing: Share | None = None
    reduce_range: bool | None = None
    calibration: CalibrationData | None = None
    largest_product: NotNegative | None = None
    operators: dict[str, Count] = field(default_factory=dict)


class LabelColumnsDict(TypedDict):
    """Where the training file has its labels: ``column`` or ``columns``, and how values become labels; see
    :class:`toxonnx.recipe.LabelSpec`."""

    column: str
    columns: list[str]
    names: dict[str, str]
    threshold: float | None


class DataDict(TypedDict):
    """:class:`toxonnx.train.run.FileIdentity` of the training file as plain values."""

    file: str
    sha256: Sha256
    rows: Count | None


class SourceDict(TypedDict):
    """Rows of one source: their number, their weight in the loss, their licence (empty if unknown)."""

    rows: Count
    weight: NotNegative
    licence: str


@dataclass(frozen=True, kw_only=True)
class Training:
    """The run that a bundle was exported from.

    Attributes:
        recipe: its name.
        labels: the recipe's ``labels``, without columns of labels that the export left out.
        data, split, baselines: as ``run.json`` has them.
        best_epoch, epochs: the exported epoch, counted from 1, and the number of epochs.
        sources: name of each source, if the recipe has any -> its rows.
        teacher: name of each model whose probabilities were learnt -> sha256 of its weights and settings.
    """

    recipe: str
    labels: LabelColumnsDict
    data: DataDict
    split: dict[str, Count]
    best_epoch: Count
    epochs: Count
    baselines: dict[str, dict[str, dict[str, Share]]]
    sources: dict[str, SourceDict] = field(default_factory=dict)
    teacher: dict[str, Sha256] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The description of a bundle.

    Attributes:
        name: of the bundle.
        description: what the model classifies, in a sentence; empty if unknown.
        language: of the texts, in English; empty if unknown.
        labels: names in the order of the logits, activation, temperature, thresholds.
        label_descriptions: label name -> its meaning, for those labels for which it is known.
        mappings: service (see :mod:`toxonnx.vocabularies`) -> its name for a label -> the label with the same meaning.
        left_out_labels: labels that the trained model has and the export left out.
        text: columns, template and normalisation.
        max_length: maximum number of tokens, including special tokens.
        pad_id: id of the padding token.
        precision: one of :data:`toxonnx.formats.PRECISIONS`.
        layout: one of :data:`toxonnx.formats.LAYOUTS`.
        model: the trained model.
        graph: the ONNX graph.
        verification: None before verification.
        decisions: None where neither calibration nor thresholds could be fitted.
        training: None for a model that toxonnx did not train.
        cascade: None for a bundle without a first stage.
        long_texts: how texts beyond the maximum length are read; None where they are truncated.
        evaluation: an evaluation on held-out rows, as :class:`toxonnx.evaluate.report.EvaluationReport` in plain
            values, with ``part``, the kind of rows; empty without one.
        tools: package -> version.
        files: file name -> sha256; that of a file in the folder ``onnx`` has it in front.
    """

    name: str
    labels: Labels
    text: TextSpec
    max_length: MaxLength
    pad_id: Count
    precision: Precision
    layout: Layout = "plain"
    description: str = ""
    language: str = ""
    label_descriptions: dict[str, str] = field(default_factory=dict)
    mappings: dict[str, dict[str, str]] = field(default_factory=dict)
    left_out_labels: list[str] = field(default_factory=list)
    model: ModelSource = field(default_factory=ModelSource)
    graph: Graph = field(default_factory=Graph)
    verification: Verification | None = None
    decisions: Decisions | None = None
    training: Training | None = None
    cascade: Cascade | None = None
    long_texts: LongTexts | None = None
    evaluation: dict[str, Any] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    files: dict[FileName, Sha256] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.label_descriptions) - set(self.labels.names)):
            raise InputError(f"label_descriptions: {unknown[0]!r} is not a label")
        if self.cascade:
            self._check_cascade(self.cascade)
        if self.long_texts:
            self.long_texts.check(self.max_length)
        check_mappings(self.mappings, self.labels.names)

    def _check_cascade(self, cascade: Cascade) -> None:
        for name in ("scales", "biases", "sharpness", "miss_weights"):
            if len(getattr(cascade, name)) != len(self.labels):
                raise InputError(f"cascade.{name} must have {len(self.labels)} values, one per label")
        if unknown := sorted(set(cascade.recall) - set(self.labels.names)):
            raise InputError(f"cascade.recall: {unknown[0]!r} is not a label")

    @property
    def model_file(self) -> str:
        """Name of the ONNX file: ``model.onnx``, or in the layout of the Hugging Face Hub the one in ``onnx/``."""
        moved = [name for name in self.files if name.startswith(f"{MODEL_FOLDER}/") and name.endswith(".onnx")]
        return moved[0] if moved and "model.onnx" not in self.files else "model.onnx"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the schema version first."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Manifest:
        """The reverse of :meth:`to_dict`; a key ``seal`` is ignored.

        Raises:
            InputError: a key is unknown or missing, or a value has the wrong type or is out of range; names the key.
        """
        return from_plain(cls, {key: value for key, value in table.items() if key not in {"schema", "seal"}})
