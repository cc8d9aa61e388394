"""Recipes: what to train and how to export it, read from TOML and validated once."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toxonnx.errors import InputError, RecipeError
from toxonnx.formats import check_precision_and_layout
from toxonnx.labels import Labels
from toxonnx.resources import find_recipe
from toxonnx.texts import TextSpec

__all__ = ["Adapter", "Export", "LabelSpec", "Model", "Recipe", "Split", "Training", "load_recipe"]

METRICS = ("macro_f1", "accuracy", "loss")
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup", "polynomial")


@dataclass(frozen=True)
class LabelSpec:
    """Where the labels stand.

    Attributes:
        column: one column that names the class of a row, or ...
        columns: ... several columns of 0 and 1, for texts with any number of labels.
        names: value in the file -> label name, in the model's order. Empty: the values found, sorted.
        votes: label name -> column with the number of annotators who chose it. When given, training weighs each
            label by its share of the votes instead of 1 for the winner; everything measured still uses the winner.
    """

    column: str = ""
    columns: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    votes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """Shares of the rows held out, by label, with identical texts on one side."""

    validation: float = 0.2
    test: float = 0.0
    seed: int = 42
    #: columns; rows that agree in them all stay on one side too (one query shown with several images)
    group: tuple[str, ...] = ()
    #: "grouped" keeps identical texts together; "random" is the leaky split, to show what it hides
    method: str = "grouped"


@dataclass(frozen=True)
class Adapter:
    """LoRA. ``targets``: "attention" (query and value), "all-linear" (every linear layer of the encoder), or names."""

    r: int = 8
    alpha: int = 16
    dropout: float = 0.1
    targets: str | tuple[str, ...] = "attention"


@dataclass(frozen=True)
class Model:
    """What to start from: a folder, a hub id, or ``package:NAME/FOLDER`` for weights inside an installed package."""

    base: str = ""
    method: str = "lora"
    lora: Adapter = field(default_factory=Adapter)


@dataclass(frozen=True)
class Training:
    """How to train. Names follow transformers' TrainingArguments where it has one."""

    epochs: int = 3
    batch_size: int = 32
    eval_batch_size: int = 64
    learning_rate: float = 2e-5
    weight_decay: float = 0.0
    betas: tuple[float, ...] = (0.9, 0.999)
    epsilon: float = 1e-8
    schedule: str = "linear"
    warmup_steps: int = 0
    warmup_ratio: float = 0.0
    max_grad_norm: float = 1.0
    #: each class weighs its inverse frequency to this power: 0 all alike, 0.5 the square root, 1 balanced
    class_weights: float = 0.0
    metric: str = "macro_f1"
    #: epochs without a better metric before training stops; 0 never stops early
    patience: int = 0
    seed: int = 42
    precision: str = "auto"
    group_by_length: bool = True


@dataclass(frozen=True)
class Export:
    """How to export, and the limits over which nothing is sealed."""

    precision: str = "int8"
    #: how the graph takes a batch: plain, as Optimum exports it; fused or packed, written for a GPU (convert.fused)
    layout: str = "plain"
    #: 7-bit weights: a CPU without VNNI saturates on 8-bit ones, and would lose more than was verified on one with it
    reduce_range: bool = True
    #: share of the activations' outliers that goes to the weights before int8; 0 leaves them (see convert.int8)
    smoothing: float = 0.8
    #: largest difference of a logit between PyTorch and ONNX, both in fp32
    max_logit_difference: float = 1e-4
    #: macro F1 that the final model may lose against PyTorch (0.005: half a point)
    max_f1_loss: float = 0.005
    #: share of rows on which the final model has to choose PyTorch's label
    min_agreement: float = 0.97
    #: fit a temperature on the held-out rows, so that probabilities mean what they say
    calibrate: bool = True
    #: thresholds that reach a precision or a recall on the held-out rows: label -> share, "*" for every label; or the
    #: ones with the best macro F1. At most one of the three.
    target_precision: dict[str, float] = field(default_factory=dict)
    target_recall: dict[str, float] = field(default_factory=dict)
    best_f1: bool = False


@dataclass(frozen=True)
class Recipe:
    """One recipe. The TOML file has a table for each attribute."""

    name: str
    labels: LabelSpec
    description: str = ""
    max_length: int = 128
    text: TextSpec = field(default_factory=TextSpec)
    split: Split = field(default_factory=Split)
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    export: Export = field(default_factory=Export)
    #: paragraphs for the model card: data, licence, bias, uses it must not be put to
    card: dict[str, str] = field(default_factory=dict)

    @property
    def multi(self) -> bool:
        """Whether a text may have several labels."""
        return bool(self.labels.columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, that :func:`recipe_from_dict` takes back."""
        return dataclasses.asdict(self)


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Reads a recipe: a TOML file, or the name of one that ships.

    Raises:
        RecipeError: not found, not TOML, an unknown key, a value of the wrong kind or out of range.
    """
    path = find_recipe(name_or_path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}") from None
    return recipe_from_dict({"name": path.stem, **table}, str(path))


def recipe_from_dict(table: dict[str, Any], where: str) -> Recipe:
    """A recipe from plain values; ``where`` is named in errors."""
    try:
        recipe: Recipe = _build(Recipe, table, where, "")
        _check(recipe)
    except RecipeError:
        raise
    except InputError as error:
        raise RecipeError(f"{where}: {error.what}", error.hint) from None
    return recipe


def _build(kind: Any, table: Any, where: str, prefix: str) -> Any:
    if not isinstance(table, dict):
        raise RecipeError(f"{where}: {prefix.rstrip('.')} has to be a table")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise RecipeError(
            f"{where}: unknown key {', '.join(prefix + key for key in unknown)}", f"Known here: {', '.join(hints)}."
        )
    values = {key: _value(hints[key], value, where, prefix + key) for key, value in table.items()}
    missing = [
        f.name
        for f in dataclasses.fields(kind)
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise RecipeError(f"{where}: {', '.join(prefix + key for key in missing)} is missing")
    return kind(**values)


def _value(hint: Any, value: Any, where: str, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where, f"{key}.")
    if typing.get_origin(hint) is types.UnionType:
        hint = str if isinstance(value, str) else typing.get_args(hint)[1]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(inner[0], item, where, key) for item in value)
    if origin is dict and isinstance(value, dict):
        return {str(k): _value(inner[1], v, where, f"{key}.{k}") for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    wanted = getattr(hint, "__name__", str(hint))
    raise RecipeError(f"{where}: {key} = {value!r} is no {wanted}")


def _check(recipe: Recipe) -> None:
    labels, split, model, training, export = (
        recipe.labels, recipe.split, recipe.model, recipe.training, recipe.export,
    )  # fmt: skip
    if bool(labels.column) == bool(labels.columns):
        raise InputError("labels needs either column or columns")
    if labels.columns and (labels.names or labels.votes):
        raise InputError("labels.names and labels.votes go with one label column")
    if labels.names:
        Labels(tuple(dict.fromkeys(labels.names.values())))
    if labels.votes and set(labels.votes) != set(labels.names.values()):
        raise InputError("labels.votes has to give a column for each of labels.names")
    choices = {
        "model.method": (model.method, ("lora", "full")),
        "training.metric": (training.metric, METRICS),
        "training.precision": (training.precision, ("auto", "fp32", "fp16", "bf16")),
        "split.method": (split.method, ("grouped", "random")),
        "training.schedule": (training.schedule, SCHEDULES),
    }
    for key, (value, known) in choices.items():
        if value not in known:
            raise InputError(f"{key} = {value!r} is none of {', '.join(known)}")
    positive = {
        "max_length": recipe.max_length - 2,
        "training.epochs": training.epochs,
        "training.batch_size": training.batch_size,
        "training.eval_batch_size": training.eval_batch_size,
        "training.learning_rate": training.learning_rate,
        "model.lora.r": model.lora.r,
        "split.validation": split.validation,
    }
    for key, number in positive.items():
        if number <= 0:
            raise InputError(f"{key} is too small")
    if split.test < 0 or split.validation + split.test >= 1:
        raise InputError("split.validation and split.test leave nothing to train on")
    check_precision_and_layout(export.precision, export.layout)
    if sum(map(bool, (export.target_precision, export.target_recall, export.best_f1))) > 1:
        raise InputError("export takes one of target_precision, target_recall and best_f1")
    shares = {
        "training.class_weights": training.class_weights,
        "training.warmup_ratio": training.warmup_ratio,
        "model.lora.dropout": model.lora.dropout,
        "export.smoothing": export.smoothing,
    }
    for key, number in shares.items():
        if not 0 <= number <= 1:
            raise InputError(f"{key} = {number} is not between 0 and 1")
    counts = {
        "split.seed": split.seed, "training.seed": training.seed, "training.patience": training.patience,
        "training.warmup_steps": training.warmup_steps, "training.weight_decay": training.weight_decay,
        "training.epsilon": training.epsilon, "training.max_grad_norm": training.max_grad_norm,
    }  # fmt: skip
    for key, number in counts.items():
        if number < 0:
            raise InputError(f"{key} = {number} is negative")
    if len(training.betas) != 2:
        raise InputError("training.betas has two values")
