"""Recipes: how to train a classifier and how to export it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any

from toxonnx.errors import InputError
from toxonnx.long_texts import MODES, POOLS, LongTexts, Windows
from toxonnx.records import Count, NotNegative, Rule, Share, one_of
from toxonnx.texts import TextSpec

__all__ = [
    "Adapter",
    "DataFile",
    "Export",
    "LabelSpec",
    "Model",
    "Recipe",
    "Source",
    "Split",
    "Teacher",
    "Training",
    "WrittenFor",
]

METRICS = ("macro_f1", "accuracy", "loss")
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup", "polynomial")
#: the largest seed that NumPy takes
MAX_SEED = 2**32 - 1

_POSITIVE = Rule("positive", lambda value: value > 0)
Seed = Annotated[int, Rule(f"from 0 to {MAX_SEED}", lambda value: 0 <= value <= MAX_SEED)]
Size = Annotated[int, _POSITIVE]
Positive = Annotated[float, _POSITIVE]
HeldOut = Annotated[float, Rule("above 0 and below 1", lambda value: 0 < value < 1)]
Beta = Annotated[float, Rule("from 0 to below 1", lambda value: 0 <= value < 1)]


@dataclass(frozen=True)
class LabelSpec:
    """Where the labels are.

    Attributes:
        column: column with the class of each row; either this or ``columns``.
        columns: one column of 0 and 1 (or false and true, no and yes) per label, for texts with any number of
            labels; an empty cell was not judged. Their names must not contain "|", which joins the labels of a text.
        names: value in the file -> label name, in the model's order; by default the values in the file, sorted
            (numbers by value).
        threshold: for columns of numbers, such as the share of annotators: from this value on, a row counts as 1,
            below as 0, and ``names`` can name 0 and 1. None for columns that contain labels.
        soft: train on the numbers themselves, shares from 0 to 1; only metrics use the threshold.
        missing: what to do with rows without a label: "error", or "drop" to leave them out.
        votes: label name -> column with the number of annotators who chose it. If given, the training loss uses each
            label's share of the votes in place of the majority label; metrics still use the majority label.
        descriptions: label name -> its meaning, for the people who read the scores.
        mappings: service ("perspective" or "openai") -> its name for a label -> the label with the same meaning.
    """

    column: str = ""
    columns: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    threshold: float | None = None
    soft: bool = False
    missing: Annotated[str, one_of("error", "drop")] = "error"
    votes: dict[str, str] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    mappings: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Rows of one source.

    Attributes:
        weight: of each of these rows in the loss; 0 leaves them out.
        cap: number of these rows to use at most, drawn with ``split.seed``; 0 for all.
        licence: of the rows, for the model card.
        fingerprints: whether run and bundle keep fingerprints of the texts, by which an evaluation recognises them.
            False is for texts that a program made up, on which nobody evaluates.
    """

    weight: NotNegative = 1.0
    cap: Count = 0
    licence: str = ""
    fingerprints: bool = True


@dataclass(frozen=True)
class DataFile(Source):
    """One of the files to train on. Weight, cap and licence are those of the rows whose source has none of its own.

    Attributes:
        path: relative to the recipe; empty for the file that is given on the command line.
        name: of the source; by default the file's name without its suffix.
        columns: column as the recipe names it -> as this file names it, where they differ.
        source_column: column with the source of each row, if the file has several.
        sources: value of ``source_column`` -> how to use these rows.
    """

    path: str = ""
    name: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    source_column: str = ""
    sources: dict[str, Source] = field(default_factory=dict)

    def settings(self, source: str) -> Source:
        """How to use the rows of a source."""
        return self.sources.get(source, self)


@dataclass(frozen=True)
class Teacher:
    """Models whose probabilities are mixed into the loss (Hinton et al., "Distilling the Knowledge in a Neural
    Network", 2015).

    Attributes:
        models: runs, checkpoints or bundles with the same labels, relative to the recipe, or files of logits from the
            cache; their logits are averaged.
        alpha: share of the loss that compares with the teacher; the rest compares with the labels. 0 for no teacher.
        temperature: by which the logits of teacher and student are divided in the teacher's share.
        text_column: column with the text that the teacher reads in place of the row's own, such as the original of a
            misspelled one. Where it is empty, only the labels count.
    """

    models: tuple[str, ...] = ()
    alpha: Share = 0.0
    temperature: Positive = 1.0
    text_column: str = ""


@dataclass(frozen=True)
class Split:
    """Shares of the rows that are held out, stratified by label, with identical texts on one side."""

    #: share of the rows to validate on
    validation: HeldOut = 0.2
    #: share of the rows that are kept for testing only
    test: Share = 0.0
    #: of the split
    seed: Seed = 42
    #: columns; rows with equal values in all of them stay on one side, too
    group: tuple[str, ...] = ()
    #: "grouped" keeps identical texts together; "random" does not, to show how much it leaks
    method: Annotated[str, one_of("grouped", "random")] = "grouped"


@dataclass(frozen=True)
class Adapter:
    """LoRA."""

    #: rank
    r: Size = 16
    #: scale: the update is multiplied by ``alpha / r``
    alpha: int = 16
    #: share of the adapter's inputs that are set to 0 in training
    dropout: Share = 0.1
    #: "all-linear" (every linear layer of the encoder), "attention" (query and value), or names of modules
    targets: str | tuple[str, ...] = "all-linear"


@dataclass(frozen=True)
class Model:
    """The pretrained model, and how it is trained."""

    #: a folder, a hub id, or ``package:NAME/FOLDER`` for weights inside an installed package; required here or as
    #: ``--base``
    base: str = ""
    #: "lora" trains an adapter, "full" all weights
    method: Annotated[str, one_of("lora", "full")] = "lora"
    #: number of layers, from the first one on, that keep their weights, like the embeddings: training is faster and
    #: learns less
    frozen_layers: Count = 0
    lora: Adapter = field(default_factory=Adapter)


@dataclass(frozen=True)
class Training:
    """How to train. Names follow transformers' TrainingArguments where possible."""

    #: epochs at most; None: 3, and more where these are fewer than 350 steps, up to 20
    epochs: Size | None = None
    #: rows per step and device
    batch_size: Size = 16
    #: rows per validation step
    eval_batch_size: Size = 64
    #: peak learning rate; None: 1e-3 with LoRA, 1e-4 for full fine-tuning
    learning_rate: Positive | None = None
    #: of AdamW
    weight_decay: NotNegative = 0.0
    #: of AdamW
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    #: of AdamW
    epsilon: Positive = 1e-8
    #: course of the learning rate after the warm-up
    schedule: Annotated[str, one_of(*SCHEDULES)] = "linear"
    #: steps in which the learning rate rises to its peak
    warmup_steps: Count = 0
    #: the same as a share of all steps, if ``warmup_steps`` is 0
    warmup_ratio: Share = 0.1
    #: larger gradients are scaled down to this norm
    max_grad_norm: NotNegative = 1.0
    #: class weights are inverse frequencies to this power: 0 for equal weights, 0.5 for the square root, 1 for balanced
    class_weights: Share = 0.0
    #: multi-label: label -> its weight in the loss, 1 by default
    label_weights: dict[str, Positive] = field(default_factory=dict)
    #: multi-label: label -> weight of the rows that have it compared with those that do not, in place of
    #: ``class_weights``
    pos_weight: dict[str, Positive] = field(default_factory=dict)
    #: column with the weight of each row in the loss; rows with 0 are left out
    weight_column: str = ""
    #: share of each label that is spread over all labels (multi-label: moved towards one half)
    label_smoothing: Share = 0.0
    #: chooses the best epoch
    metric: Annotated[str, one_of(*METRICS)] = "macro_f1"
    #: epochs without a better metric after which training stops; 0 for no early stopping
    patience: Count = 0
    #: share of the trained weights in the result, the rest are the base's; below 1, a model that is trained further
    #: keeps more of what it knew (Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models", CVPR 2022). Needs a base
    #: that has these labels, and ``model.method = "full"``
    interpolation: Annotated[float, Rule("above 0 and at most 1", lambda value: 0 < value <= 1)] = 1.0
    #: of training
    seed: Seed = 42
    #: of the computation: "auto" is fp32 on a CPU, on a GPU bf16 where it has it and fp16 elsewhere; "bf16" also works
    #: on a CPU with AVX512-BF16 or AMX
    precision: Annotated[str, one_of("auto", "fp32", "fp16", "bf16")] = "auto"
    #: batches of texts of similar length
    group_by_length: bool = True
    #: minutes between checkpoints within an epoch, besides the one at its end
    checkpoint_minutes: Positive = 15.0


@dataclass(frozen=True)
class Export:
    """How to export, and the limits above which no bundle is sealed."""

    #: of the graph: "int8", "fp32" or "fp16"
    precision: str = "int8"
    #: how the graph takes a batch: "plain", in standard operators; "fused" or "packed", written for GPUs
    layout: str = "plain"
    #: use 7-bit weights: 8-bit ones saturate on CPUs without VNNI, which lose more than a CPU with it shows
    reduce_range: bool = True
    #: share of the activations' outliers that is moved into the weights before int8 (SmoothQuant); 0 for none
    smoothing: Share = 0.8
    #: largest difference of a logit between PyTorch and ONNX, both in fp32
    max_logit_difference: float = 1e-4
    #: macro F1 that the final model may lose compared with PyTorch (0.005: half a point)
    max_f1_loss: float = 0.005
    #: share of rows for which the final model must predict the same label as PyTorch
    min_agreement: float = 0.97
    #: calibrate the probabilities on the held-out rows: one temperature, or a scale and a shift per label
    calibrate: bool = True
    #: fit thresholds that reach a precision on the held-out rows: label -> share, "*" for every label
    target_precision: dict[str, float] = field(default_factory=dict)
    #: the same for recall; at most one of these three keys
    target_recall: dict[str, float] = field(default_factory=dict)
    #: fit the thresholds with the best macro F1
    best_f1: bool = False
    #: fit a first stage: "*" -> share of the rows that keep every decision, label -> share of its rows that keep it,
    #: by default the same share for every label; empty for none
    cascade: dict[str, float] = field(default_factory=dict)
    #: labels of a multi-label model that are not exported
    leave_out: tuple[str, ...] = ()
    #: how texts of more than ``max_length`` tokens are read
    long_texts: Annotated[str, one_of(*MODES)] = "truncate"
    #: tokens that a window shares with the one before it; None: a quarter of ``max_length``
    stride: Count | None = None
    #: of a label's logits over the windows; None: "max" for several labels per text, else "mean"
    pool: Annotated[str, one_of(*POOLS)] | None = None
    #: windows of a text that are read; None: 32
    max_windows: Windows | None = None

    def reading(self, *, max_length: int, multi: bool) -> LongTexts | None:
        """How long texts are read; None where they are truncated.

        Args:
            max_length: of the model.
            multi: whether a text can have several labels.

        Raises:
            InputError: the stride is too large, or it, ``pool`` or ``max_windows`` is set without windows.
        """
        settings = {name: getattr(self, name) for name in ("stride", "pool", "max_windows")}
        if self.long_texts == "windows":
            return LongTexts.with_defaults(max_length=max_length, multi=multi, **settings)
        for name, value in settings.items():
            if value is not None:
                raise InputError(f"{name} is set, but long_texts is truncate", "Set long_texts to windows.")
        return None


@dataclass(frozen=True)
class WrittenFor:
    """What the prose of a recipe is about: description, language, card, meanings and mappings of the labels. It is
    left out of any other model's bundle.

    Attributes:
        data: sha256 of the labelled file; empty for any.
        validation: sha256 of the file of ``train --validation``; empty for none.
        settings: the recipe's :func:`toxonnx.recipe_prose.settings_fingerprint`, which changes with every key that
            decides what is trained; empty for any.
    """

    data: str = ""
    validation: str = ""
    settings: str = ""


@dataclass(frozen=True)
class Recipe:
    """A recipe. The TOML file has one table per attribute that is a record or a dictionary."""

    #: by default the file's name
    name: str
    labels: LabelSpec
    #: one sentence about the model, for its card and for ``toxonnx info``
    description: str = ""
    #: the language of the texts, in English
    language: str = ""
    #: tokens that the model reads, special tokens included; ``export.long_texts`` says what happens to longer texts
    max_length: Annotated[int, Rule("greater than 2", lambda value: value > 2)] = 128
    #: files to train on; empty for the one that is given on the command line
    data: tuple[DataFile, ...] = ()
    text: TextSpec = field(default_factory=TextSpec)
    split: Split = field(default_factory=Split)
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    teacher: Teacher = field(default_factory=Teacher)
    export: Export = field(default_factory=Export)
    #: title -> paragraph for the model card: data, licence, bias, limits of use
    card: dict[str, str] = field(default_factory=dict)
    written_for: WrittenFor = field(default_factory=WrittenFor)

    @property
    def multi(self) -> bool:
        """Whether a text can have several labels."""
        return bool(self.labels.columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; ``toxonnx.recipe_files.recipe_from_dict`` is the reverse."""
        return dataclasses.asdict(self)
