"""Training with the transformers Trainer, configured by a recipe; the result is a run.

A run folder::

    checkpoint/         the best epoch: adapter and head, or full weights; config.json with the labels; tokenizer
    run.json            recipe, data, split, base model, best epoch, metrics, versions
    metrics.jsonl       one line per epoch
    curves.png          the same as a plot
    validation.csv      the held-out rows as the model reads them (also test.csv, if the recipe has a test split)
    calibration.csv     some training rows, on which an export measures activations
    training_texts.npy  fingerprints of the training texts, by which an evaluation recognises them
    checkpoints/        the Trainer's own, during training
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

import toxonnx
from toxonnx.bundle import sha256
from toxonnx.data.examples import Examples, known_counts
from toxonnx.data.fingerprints import FINGERPRINT_FILES, is_seen, load_fingerprints, save_fingerprints
from toxonnx.disk import replace_text, reports_full_disk
from toxonnx.errors import InputError
from toxonnx.evaluate.metrics import Metrics
from toxonnx.io.base import ReadOptions
from toxonnx.recipe import Recipe
from toxonnx.records import to_json
from toxonnx.texts import replace_surrogates
from toxonnx.train.checkpoints import check_checkpoint, last_complete
from toxonnx.train.open_settings import epochs_and_learning_rate
from toxonnx.train.pretrained import frozen_weights, head_modules, labels_of, load_model, lora_targets, resolve_base
from toxonnx.train.report import epochs_of
from toxonnx.train.run import RUN_FILE, AdapterSettings, FileIdentity, RunIdentity, RunMetadata
from toxonnx.train.teacher import score_with_teacher
from toxonnx.train.tokenizers import load_tokenizer, match_tokenizer, max_length_of
from toxonnx.train.trainer import ClassifierTrainer, Reports, precision_flags
from toxonnx.train.training_data import TrainingData, load_training_data
from toxonnx.wording import plural

__all__ = ["TrainRequest", "fit"]

#: LoRA rarely learns with a lower one
LORA_LEARNING_RATE = 1e-4

#: names of ``base`` and the other fields of a run's identity, for messages
_IDENTITY_NAMES = {
    "recipe": "recipe",
    "data": "data",
    "validation_file": "validation file",
    "test_file": "test file",
    "base": "base model",
}


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What to train, and on what.

    Attributes:
        recipe: how to train.
        data: labelled file; None if the recipe names all files.
        output: folder of the run.
        base: folder, hub id or ``package:NAME/FOLDER`` in place of the recipe's base model.
        validation, test: labelled files to validate and to test on, in place of a split of ``data``.
        reading: how to read the files.
        resume: continue from the last checkpoint in ``output``.
        force: replace ``output``.
    """

    recipe: Recipe
    data: Path | None
    output: Path
    base: str | None = None
    validation: Path | None = None
    test: Path | None = None
    reading: ReadOptions | None = None
    resume: bool = False
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A model that is ready for training.

    ``trained`` is ``model`` with LoRA layers, or ``model`` itself for full fine-tuning. ``start`` has the weights that
    are trained as they are before, if the recipe mixes them into the result.
    """

    model: PreTrainedModel
    trained: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    base_revision: str
    adapter: AdapterSettings | None
    start: dict[str, torch.Tensor]

    def interpolate(self, share: float) -> None:
        """Moves the trained weights to a point between their start (0) and where they are (1)."""
        with torch.no_grad():
            for name, weight in self.trained.named_parameters():
                if name in self.start:
                    weight.lerp_(self.start[name].to(weight.device), 1 - share)


def fit(request: TrainRequest, reports: Reports | None = None) -> RunMetadata:
    """Trains a classifier.

    Args:
        request: what to train.
        reports: where progress goes; by default lines are printed.

    Returns:
        The metadata of the run, as written to ``run.json``.

    Raises:
        InputError: the data is invalid, or the output exists and neither ``resume`` nor ``force`` was given.
        CheckpointError: the base model does not load, or the checkpoint to resume from is damaged.
        MachineError: the disk is full.
    """
    recipe, output = request.recipe, request.output
    reports = reports or Reports()
    log = reports.log
    named = request.base or recipe.model.base
    if not named:
        raise InputError("there is no base model", "Give one with --base, or as model.base in the recipe.")
    source = resolve_base(named)
    held_out_files = {
        part: path for part, path in (("validation", request.validation), ("test", request.test)) if path is not None
    }
    data = load_training_data(recipe, request.data, held_out_files, request.reading)
    identity = _identity(request, named, data.identity())
    checkpoint = _find_checkpoint(output, identity, resume=request.resume, force=request.force)
    for line in data.describe(recipe):
        log(line)
    epochs, learning_rate = epochs_and_learning_rate(recipe.training, recipe.model.method, len(data.all_train))
    training = dataclasses.replace(recipe.training, epochs=epochs, learning_rate=learning_rate)
    recipe = dataclasses.replace(recipe, training=training)
    seen = _seen_by_base(source)
    for part, rows in data.held_out.items():
        if count := int(is_seen(rows.texts, seen).sum()):
            log(f"warning: the base model was trained on {count} of the {part} rows; metrics are inflated")
    # Model and teacher come before the baselines, which take a while: no input may be found to be wrong after them.
    transformers.set_seed(recipe.training.seed)
    prepared = _prepare_model(recipe, source, data.examples)
    if recipe.teacher.models:
        texts = data.all_train.teacher_texts or data.all_train.texts
        teacher = score_with_teacher(recipe.teacher.models, texts, data.examples.labels, reports.progress)
        data = dataclasses.replace(data, teacher=teacher)
    baselines = _load_baselines(output) if checkpoint else {}
    if not baselines:
        log("measuring the baselines")
        baselines = data.measure_baselines()
    for part, one in baselines.items():
        log(
            f"baselines on {part}: TF-IDF with logistic regression has accuracy {one['tfidf']['accuracy']:.4f} and "
            f"macro F1 {one['tfidf']['macro_f1']:.4f}; the most frequent class has {one['majority']['accuracy']:.4f} "
            f"and {one['majority']['macro_f1']:.4f}"
        )
    count = sum(p.numel() for p in prepared.trained.parameters() if p.requires_grad)
    total = sum(p.numel() for p in prepared.trained.parameters())
    log(
        f"training {count:,} of {total:,} weights, {precision_flags(recipe)[1]}; learning rate "
        f"{learning_rate:g}, {plural(epochs, 'epoch')} at most"
    )
    with reports_full_disk(output, "then continue with --resume, or start again with --force."):
        if checkpoint is None:  # only now, when no input can be wrong any more
            shutil.rmtree(output, ignore_errors=True)
            output.mkdir(parents=True)
            unfinished = {**identity.to_dict(), "baselines": baselines, "finished": False}
            replace_text(output / RUN_FILE, to_json(unfinished))
        trainer = ClassifierTrainer(recipe, data, prepared.trained, prepared.tokenizer, output, reports)
        data.save(output, recipe.training.seed)
        save_fingerprints(output / FINGERPRINT_FILES["training"], data.fingerprinted, seen)
        if checkpoint:
            log(f"resuming from {checkpoint.name}")
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        prepared.interpolate(recipe.training.interpolation)
        return _finish(request, identity, data, prepared, trainer, baselines, log)


def _finish(
    request: TrainRequest,
    identity: RunIdentity,
    data: TrainingData,
    prepared: _Prepared,
    trainer: ClassifierTrainer,
    baselines: dict[str, dict[str, dict[str, float]]],
    log: Callable[[str], None],
) -> RunMetadata:
    """Saves the best epoch and the metadata."""
    recipe, output, examples = request.recipe, request.output, data.examples
    epochs = epochs_of(trainer.state.log_history)
    target = str(output / "checkpoint")
    prepared.trained.save_pretrained(target)
    prepared.model.config.save_pretrained(target)  # PEFT does not save it; it has the label names
    prepared.tokenizer.save_pretrained(target)
    measured = {part: trainer.metrics(part) for part in data.held_out}
    metrics = {part: one for part, (one, _) in measured.items()}
    for warning in (
        _warn_below_majority(metrics["validation"], recipe, trainer.args.learning_rate),
        _warn_below_tfidf(metrics["validation"], baselines["validation"]["tfidf"]),
    ):
        if warning:
            log(warning)
    run = RunMetadata(
        **{field.name: getattr(identity, field.name) for field in dataclasses.fields(identity)},
        toxonnx=toxonnx.__version__,
        base_revision=prepared.base_revision,
        text={"columns": list(examples.text.columns)},
        labels=list(examples.labels.names),
        split={
            **data.split.to_dict(),
            "leaking": data.split.leaking + sum(data.repeated.values()),
            "dropped_empty": examples.dropped,
            **{f"{part}_rows": len(rows) for part, rows in data.held_out.items()},
        },
        adapter=prepared.adapter,
        best_epoch=trainer.best_epoch(),
        epochs=len(epochs),
        learning_rate=trainer.args.learning_rate,
        sources=data.summarize_sources({part: of_source for part, (_, of_source) in measured.items()}),
        teacher=data.teacher.models if data.teacher else {},
        coverage=known_counts(examples) if examples.labels.multi else {},
        metrics={part: one.to_dict() for part, one in metrics.items()},
        baselines=baselines,
        versions={"torch": str(torch.__version__), "transformers": transformers.__version__},
    )
    replace_text(output / RUN_FILE, to_json(run.to_dict()))
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    return run


def _identity(request: TrainRequest, base: str, data: FileIdentity) -> RunIdentity:
    return RunIdentity(
        recipe=json.loads(json.dumps(request.recipe.to_dict())),
        data=data,
        validation_file=_file_identity(request.validation),
        test_file=_file_identity(request.test),
        # The absolute path of a folder: the export may be started from elsewhere.
        base=str(Path(base).resolve()) if Path(base).is_dir() else base,
    )


def _seen_by_base(source: str) -> NDArray[np.uint64]:
    """Fingerprints of the texts that a base model was trained on, if it is a run's checkpoint or has them beside it."""
    folder = Path(source)
    if (folder.parent / RUN_FILE).is_file():
        folder = folder.parent
    path = folder / FINGERPRINT_FILES["training"]
    return load_fingerprints(path) if path.is_file() else np.zeros(0, dtype=np.uint64)


def _file_identity(path: Path | None) -> FileIdentity | None:
    return None if path is None else FileIdentity(file=replace_surrogates(path.name), sha256=sha256(path))


def _load_baselines(output: Path) -> dict[str, dict[str, dict[str, float]]]:
    """The baselines of an unfinished run, which take minutes on many rows."""
    baselines: dict[str, dict[str, dict[str, float]]] = json.loads((output / RUN_FILE).read_text(encoding="utf-8"))[
        "baselines"
    ]
    return baselines


def _find_checkpoint(output: Path, identity: RunIdentity, *, resume: bool, force: bool) -> Path | None:
    """The checkpoint to resume from; None to start from the beginning, replacing what is there."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        if resume:
            raise InputError(f"there is no run to resume in {output}", "Start it without --resume.")
        return None
    if force and not resume:
        if not (output / RUN_FILE).is_file():
            raise InputError(f"{output} is not a run, so --force does not replace it", "Use another folder.")
        return None
    if not resume:
        raise InputError(
            f"{output} already exists", "Add --resume to continue from its last checkpoint, or --force to replace it."
        )
    try:
        before = json.loads((output / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{output} is not a run: {RUN_FILE} is missing or damaged", "Use another folder.") from None
    if before.get("finished"):
        raise InputError(
            f"the run {output} has finished", "Export it, or train again with --force in place of --resume."
        )
    changed = [_IDENTITY_NAMES[key] for key, value in identity.to_dict().items() if before.get(key) != value]
    if changed:
        raise InputError(
            f"the run {output} was started with another {', '.join(changed)}",
            "Resume it with the same, or start again with --force in place of --resume.",
        )
    last = last_complete(output / "checkpoints")
    if last is not None:
        check_checkpoint(last)
    return last


def _prepare_model(recipe: Recipe, source: str, examples: Examples) -> _Prepared:
    loaded = load_model(source, examples.labels)
    model, missing = loaded.model, loaded.missing
    heads = head_modules(model)
    unexpected = sorted(key for key in missing if key.split(".")[0] not in heads and ".pooler." not in key)
    if unexpected:
        raise InputError(
            f"{source} lacks weights of the encoder: {', '.join(unexpected[:3])} ...",
            "It is not a checkpoint of the architecture in its config.json.",
        )
    tokenizer = load_tokenizer(source)
    match_tokenizer(model, tokenizer, source)
    longest = max_length_of(model, tokenizer)
    if recipe.max_length > longest:
        raise InputError(f"max_length is {recipe.max_length}, but {source} takes at most {longest} tokens")
    # A pooler that the base model lacks is newly initialised like the head, and has to be saved with it.
    heads += sorted({key.rsplit(".", 1)[0] for key in missing if ".pooler." in key})
    trained, adapter = model, None
    frozen = set(frozen_weights(model, recipe.model.frozen_layers))
    for name, weight in model.named_parameters():
        weight.requires_grad = name not in frozen
    if recipe.model.method == "lora":
        targets = [
            name
            for name in lora_targets(model, recipe.model.lora.targets)
            if name not in heads and f"{name}.weight" not in frozen
        ]
        if not targets:
            raise InputError("model.frozen_layers leaves no layer for LoRA", 'Freeze fewer, or set method = "full".')
        trained = _add_lora(model, recipe, targets, heads)
        lora = recipe.model.lora
        adapter = AdapterSettings(r=lora.r, alpha=lora.alpha, layers=len(targets), head=heads)
    start = {}
    if recipe.training.interpolation < 1:
        if missing or labels_of(source).names != examples.labels.names:
            raise InputError(
                f"{source} is not a classifier with the labels {', '.join(examples.labels.names)}",
                "training.interpolation needs a base that has them, in this order.",
            )
        start = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    return _Prepared(
        model=model, trained=trained, tokenizer=tokenizer, base_revision=loaded.revision, adapter=adapter, start=start
    )


def _add_lora(model: PreTrainedModel, recipe: Recipe, targets: list[str], heads: list[str]) -> PreTrainedModel:
    from peft import LoraConfig, TaskType, get_peft_model

    lora = recipe.model.lora
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        # By name, not by PEFT's guess: a head that is not saved with its adapter is lost.
        modules_to_save=heads,
    )
    adapted: Any = get_peft_model(model, config)
    return adapted


def _warn_below_majority(metrics: Metrics, recipe: Recipe, learning_rate: float) -> str:
    supports = [one.support for one in metrics.per_class.values()]
    if recipe.multi or metrics.accuracy > max(supports) / sum(supports):
        return ""
    advice = "train for more epochs, or on more rows"
    if recipe.model.method == "lora" and learning_rate < LORA_LEARNING_RATE:
        advice = "LoRA often needs a learning rate of 1e-4 to 2e-3"
    return (
        f"warning: accuracy {metrics.accuracy:.4f} is no better than always predicting the most frequent class "
        f"({max(supports) / sum(supports):.4f}): {advice}"
    )


def _warn_below_tfidf(metrics: Metrics, tfidf: dict[str, float]) -> str:
    if metrics.macro_f1 >= tfidf["macro_f1"] or metrics.accuracy >= tfidf["accuracy"]:
        return ""
    return (
        f"warning: the TF-IDF baseline is better (macro F1 {tfidf['macro_f1']:.4f}, this model "
        f"{metrics.macro_f1:.4f}): train for more epochs, with another learning rate, or on more rows"
    )
