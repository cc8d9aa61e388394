"""Recipes: how to train a classifier and how to export it, read from TOML and validated."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toxonnx.errors import InputError, RecipeError
from toxonnx.formats import check_precision_and_layout
from toxonnx.labels import Labels
from toxonnx.recipe_values import build
from toxonnx.resources import find_recipe
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
    "load_recipe",
    "recipe_from_dict",
    "settings_fingerprint",
    "with_prose_of",
]

METRICS = ("macro_f1", "accuracy", "loss")
SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup", "polynomial")
#: the largest seed that NumPy takes
MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class LabelSpec:
    """Where the labels are.

    Attributes:
        column: a column with the class of each row, or ...
        columns: ... one column of 0 and 1 per label, for multi-label.
        names: value in the file -> label name, in the model's order; by default the values in the file, sorted.
        threshold: for columns of numbers, such as the share of annotators: from this value on, a row counts as 1,
            below as 0. None for columns that contain labels.
        soft: train on the numbers themselves, shares from 0 to 1; only metrics use the threshold.
        missing: what to do with rows without a label: "error", or "drop" to leave them out.
        votes: label name -> column with the number of annotators who chose it. If given, the training loss uses each
            label's share of the votes in place of the majority label; metrics still use the majority label.
        descriptions: label name -> its meaning, for the people who read the scores.
    """

    column: str = ""
    columns: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    threshold: float | None = None
    soft: bool = False
    missing: str = "error"
    votes: dict[str, str] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Rows of one source.

    Attributes:
        weight: of each of these rows in the loss; 0 leaves them out.
        cap: number of these rows to use at most, drawn with ``split.seed``; 0 for all.
        licence: of the rows, for the model card.
    """

    weight: float = 1.0
    cap: int = 0
    licence: str = ""


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
        models: runs or checkpoints with the same labels, relative to the recipe; their logits are averaged.
        alpha: share of the loss that compares with the teacher; the rest compares with the labels. 0 for no teacher.
        temperature: by which the logits of teacher and student are divided in the teacher's share.
    """

    models: tuple[str, ...] = ()
    alpha: float = 0.0
    temperature: float = 1.0


@dataclass(frozen=True)
class Split:
    """Shares of the rows that are held out, stratified by label, with identical texts on one side."""

    validation: float = 0.2
    test: float = 0.0
    seed: int = 42
    #: columns; rows with equal values in all of them stay on one side, too
    group: tuple[str, ...] = ()
    #: "grouped" keeps identical texts together; "random" does not, to show how much it leaks
    method: str = "grouped"


@dataclass(frozen=True)
class Adapter:
    """LoRA. ``targets``: "attention" (query and value), "all-linear" (all linear layers of the encoder), or names."""

    r: int = 8
    alpha: int = 16
    dropout: float = 0.1
    targets: str | tuple[str, ...] = "attention"


@dataclass(frozen=True)
class Model:
    """The base model: a folder, a hub id, or ``package:NAME/FOLDER`` for weights inside an installed package."""

    base: str = ""
    method: str = "lora"
    lora: Adapter = field(default_factory=Adapter)


@dataclass(frozen=True)
class Training:
    """How to train. Names follow transformers' TrainingArguments where possible."""

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
    #: class weights are inverse frequencies to this power: 0 for equal weights, 0.5 for the square root, 1 for balanced
    class_weights: float = 0.0
    #: multi-label: label -> its weight in the loss, 1 by default; and the weight of the rows that have a label compared
    #: with those that do not, in place of class_weights
    label_weights: dict[str, float] = field(default_factory=dict)
    pos_weight: dict[str, float] = field(default_factory=dict)
    #: column with the weight of each row in the loss
    weight_column: str = ""
    #: share of each label that is spread over all labels (multi-label: moved towards one half)
    label_smoothing: float = 0.0
    metric: str = "macro_f1"
    #: epochs without a better metric after which training stops; 0 for no early stopping
    patience: int = 0
    seed: int = 42
    precision: str = "auto"
    group_by_length: bool = True
    #: minutes between checkpoints within an epoch, besides the one at its end
    checkpoint_minutes: float = 15.0


@dataclass(frozen=True)
class Export:
    """How to export, and the limits above which no bundle is sealed."""

    precision: str = "int8"
    #: how the graph takes a batch: plain, in standard operators; fused or packed, written for GPUs (convert.fused)
    layout: str = "plain"
    #: use 7-bit weights: 8-bit ones saturate on CPUs without VNNI, which lose more than a CPU with it shows
    reduce_range: bool = True
    #: share of the activations' outliers that is moved into the weights before int8; 0 for none (convert.int8)
    smoothing: float = 0.8
    #: largest difference of a logit between PyTorch and ONNX, both in fp32
    max_logit_difference: float = 1e-4
    #: macro F1 that the final model may lose compared with PyTorch (0.005: half a point)
    max_f1_loss: float = 0.005
    #: share of rows for which the final model must predict the same label as PyTorch
    min_agreement: float = 0.97
    #: fit a temperature on the held-out rows, which calibrates the probabilities
    calibrate: bool = True
    #: fit thresholds that reach a precision or a recall on the held-out rows: label -> share, "*" for every label; or
    #: those with the best macro F1; at most one of the three
    target_precision: dict[str, float] = field(default_factory=dict)
    target_recall: dict[str, float] = field(default_factory=dict)
    best_f1: bool = False


@dataclass(frozen=True)
class WrittenFor:
    """What the prose of a recipe is about: description, language, card, meanings of the labels. It is left out of the
    card of any other model.

    Attributes:
        data: sha256 of the labelled file; empty for any.
        settings: see :func:`settings_fingerprint`; empty for any.
    """

    data: str = ""
    settings: str = ""


@dataclass(frozen=True)
class Recipe:
    """A recipe. The TOML file has one table per attribute that is a record or a dictionary."""

    name: str
    labels: LabelSpec
    description: str = ""
    #: the language of the texts, in English
    language: str = ""
    max_length: int = 128
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
        """Plain values; :func:`recipe_from_dict` is the reverse."""
        return dataclasses.asdict(self)


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Reads a recipe: a TOML file, or the name of one that ships with toxonnx.

    Raises:
        RecipeError: it does not exist, is not TOML, has an unknown key, or a value of the wrong type or range.
    """
    path = find_recipe(name_or_path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is not TOML: {error}") from None
    return _with_paths(recipe_from_dict({"name": path.stem, **table}, str(path)), path.parent)


def _with_paths(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with absolute paths of its files."""

    def absolute(path: str) -> str:
        return str((folder / path).resolve())

    data = tuple(dataclasses.replace(file, path=absolute(file.path)) if file.path else file for file in recipe.data)
    models = tuple(absolute(model) if (folder / model).exists() else model for model in recipe.teacher.models)
    return dataclasses.replace(recipe, data=data, teacher=dataclasses.replace(recipe.teacher, models=models))


def with_prose_of(recipe: Recipe, other: Recipe) -> Recipe:
    """A recipe with the prose of another one; see :class:`WrittenFor`."""
    return dataclasses.replace(
        recipe,
        description=other.description,
        language=other.language,
        labels=dataclasses.replace(recipe.labels, descriptions=other.labels.descriptions),
        card=other.card,
        written_for=other.written_for,
    )


def settings_fingerprint(recipe: Recipe) -> str:
    """Identifies everything in a recipe that decides what is trained, 16 hexadecimal digits.

    Values that are the default are left out, so that a new key changes no fingerprint.
    """
    parts = {name: getattr(recipe, name) for name in ("max_length", "text", "labels", "split", "model", "training")}
    parts["labels"] = dataclasses.replace(recipe.labels, descriptions={})  # prose
    if recipe.data:  # folders differ from machine to machine
        parts["data"] = [_changed(dataclasses.replace(file, path=Path(file.path).name)) for file in recipe.data]
    if recipe.teacher.models:
        models = tuple(Path(model).name for model in recipe.teacher.models)
        parts["teacher"] = dataclasses.replace(recipe.teacher, models=models)
    text = json.dumps({name: _changed(value) for name, value in parts.items()})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _changed(value: Any) -> Any:
    """The fields of a record that are not the default."""
    if isinstance(value, dict):
        return {key: _changed(item) for key, item in value.items()}
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    default = type(value)()
    names = [each.name for each in dataclasses.fields(value)]
    return {
        name: _changed(getattr(value, name)) for name in names if getattr(value, name) != getattr(default, name)
    }  # fmt: skip


def recipe_from_dict(table: dict[str, Any], where: str) -> Recipe:
    """A recipe from plain values; errors name ``where``."""
    try:
        recipe: Recipe = build(Recipe, table, where)
        _check(recipe)
    except RecipeError:
        raise
    except InputError as error:
        raise RecipeError(f"{where}: {error.what}", error.hint) from None
    return recipe


def _check(recipe: Recipe) -> None:
    labels, split, model, training, export = (
        recipe.labels, recipe.split, recipe.model, recipe.training, recipe.export,
    )  # fmt: skip
    if bool(labels.column) == bool(labels.columns):
        raise InputError("labels must have either column or columns")
    if labels.columns and (labels.names or labels.votes):
        raise InputError("labels.names and labels.votes need labels.column, not labels.columns")
    if labels.threshold is not None and labels.names and set(labels.names) != {"0", "1"}:
        raise InputError("with labels.threshold, labels.names must name 0 (below it) and 1")
    if labels.names:
        Labels(tuple(dict.fromkeys(labels.names.values())))
    if labels.votes and set(labels.votes) != set(labels.names.values()):
        raise InputError("labels.votes must have a column for each label in labels.names")
    label_names = set(labels.names.values() or labels.columns)
    if label_names and (unknown := sorted(set(labels.descriptions) - label_names)):
        raise InputError(f"labels.descriptions: {', '.join(unknown)} is not a label")
    choices = {
        "labels.missing": (labels.missing, ("error", "drop")),
        "model.method": (model.method, ("lora", "full")),
        "training.metric": (training.metric, METRICS),
        "training.precision": (training.precision, ("auto", "fp32", "fp16", "bf16")),
        "split.method": (split.method, ("grouped", "random")),
        "training.schedule": (training.schedule, SCHEDULES),
    }
    for key, (value, known) in choices.items():
        if value not in known:
            raise InputError(f"{key} must be one of {', '.join(known)}, got {value!r}")
    positive = {
        "max_length": recipe.max_length - 2,
        "training.epochs": training.epochs,
        "training.batch_size": training.batch_size,
        "training.eval_batch_size": training.eval_batch_size,
        "training.learning_rate": training.learning_rate,
        "training.checkpoint_minutes": training.checkpoint_minutes,
        "model.lora.r": model.lora.r,
        "split.validation": split.validation,
    }
    for key, number in positive.items():
        if number <= 0:
            least = "greater than 2" if key == "max_length" else "positive"
            raise InputError(f"{key} must be {least}, got {number + 2 if key == 'max_length' else number}")
    if split.test < 0 or split.validation + split.test >= 1:
        raise InputError("split.validation and split.test leave no rows for training")
    check_precision_and_layout(export.precision, export.layout)
    if sum(map(bool, (export.target_precision, export.target_recall, export.best_f1))) > 1:
        raise InputError("export can have only one of target_precision, target_recall and best_f1")
    shares = {
        "training.class_weights": training.class_weights,
        "training.warmup_ratio": training.warmup_ratio,
        "training.label_smoothing": training.label_smoothing,
        "teacher.alpha": recipe.teacher.alpha,
        "model.lora.dropout": model.lora.dropout,
        "export.smoothing": export.smoothing,
    }
    for key, number in shares.items():
        if not 0 <= number <= 1:
            raise InputError(f"{key} must be between 0 and 1, got {number}")
    counts = {
        "split.seed": split.seed, "training.seed": training.seed, "training.patience": training.patience,
        "training.warmup_steps": training.warmup_steps, "training.weight_decay": training.weight_decay,
        "training.epsilon": training.epsilon, "training.max_grad_norm": training.max_grad_norm,
    }  # fmt: skip
    for key, number in counts.items():
        if number < 0:
            raise InputError(f"{key} must not be negative, got {number}")
    for key in ("split.seed", "training.seed"):
        if counts[key] > MAX_SEED:
            raise InputError(f"{key} must be at most {MAX_SEED}, got {counts[key]}")
    if len(training.betas) != 2 or not all(0 <= beta < 1 for beta in training.betas):
        raise InputError(f"training.betas must be two numbers from 0 to below 1, got {list(training.betas)}")
    _check_data(recipe)
    for key in ("label_weights", "pos_weight"):
        table = getattr(training, key)
        if unknown := sorted(set(table) - set(labels.columns)):
            raise InputError(f"training.{key}: {', '.join(unknown)} is not one of labels.columns")
        if any(not number > 0 for number in table.values()):
            raise InputError(f"training.{key} must be positive, got {min(table.values())}")
    if training.pos_weight and training.class_weights:
        raise InputError("training can have only one of class_weights and pos_weight")


def _check_data(recipe: Recipe) -> None:
    labels, teacher = recipe.labels, recipe.teacher
    if labels.soft and (labels.threshold is None or labels.votes):
        raise InputError("labels.soft needs labels.threshold, by which its metrics are measured, and no labels.votes")
    if bool(teacher.models) != (teacher.alpha > 0):
        raise InputError("teacher needs both models and alpha")
    if not teacher.temperature > 0:
        raise InputError(f"teacher.temperature must be positive, got {teacher.temperature}")
    if sum(not file.path for file in recipe.data) > 1:
        raise InputError("only one [[data]] can be the file of the command line, and so have no path")
    for file in recipe.data:
        if file.sources and not file.source_column:
            raise InputError("data.sources needs data.source_column")
        for source in (file, *file.sources.values()):
            if source.weight < 0 or source.cap < 0:
                raise InputError("data.weight and data.cap must not be negative")
