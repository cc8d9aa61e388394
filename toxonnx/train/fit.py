"""Training: the transformers Trainer, told by a recipe, leaving a run behind.

A run folder::

    checkpoint/       the best epoch: adapter and head, or full weights; config.json with the labels; tokenizer
    run.json          recipe, data, split, base, best epoch, metrics, versions
    metrics.jsonl     one line an epoch
    curves.png        the same as a picture
    validation.csv    the held-out rows as the model reads them (test.csv too, where the recipe asks for one)
    calibration.csv   some training rows, which show an export how large activations get
    training_texts.npy  hashes of the training texts, by which an evaluation knows them again
    checkpoints/      the Trainer's own, while training runs
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel

import toxonnx
from toxonnx.bundle import sha256
from toxonnx.data.examples import Examples, label_counts, load_examples
from toxonnx.data.splits import SplitRows, split
from toxonnx.errors import InputError
from toxonnx.evaluate.baseline import baseline, majority
from toxonnx.evaluate.metrics import Metrics
from toxonnx.io.base import ReadOptions
from toxonnx.recipe import Recipe
from toxonnx.texts import fold
from toxonnx.train.pretrained import (
    head_modules,
    load_model,
    load_tokenizer,
    lora_targets,
    max_length_of,
    resolve_base,
    revision,
)
from toxonnx.train.report import epochs_of
from toxonnx.train.trainer import ClassifierTrainer, precision_of

__all__ = ["Run", "fit"]

RUN = "run.json"


@dataclass(frozen=True)
class Run:
    """What training left: its folder and what ``run.json`` says."""

    path: Path
    table: dict[str, Any]


def fit(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    base: str | None = None,
    validation: Path | None = None,
    reading: ReadOptions | None = None,
    resume: bool = False,
    force: bool = False,
    log: Any = print,
) -> Run:
    """Trains a classifier.

    Args:
        recipe: what to do.
        data: labelled CSV or TSV.
        out: the run's folder.
        base: folder, hub id or ``package:NAME/FOLDER`` in place of the recipe's.
        validation: labelled file to validate on in place of a split of ``data``.
        reading: how to read the files.
        resume: go on from the last checkpoint in ``out``.
        force: replace ``out``.
        log: takes each line of progress.

    Raises:
        InputError: bad data, or ``out`` exists and neither ``resume`` nor ``force`` was given.
        CheckpointError: the base does not load.
    """
    named = base or recipe.model.base
    if not named:
        raise InputError("no base model", "Name one with --base or as model.base in the recipe.")
    source = resolve_base(named)
    examples, parts, held = _prepare(recipe, data, validation, reading)
    identity = {
        "recipe": json.loads(json.dumps(recipe.to_dict())),
        "data": {"file": data.name, "sha256": sha256(data), "rows": len(examples)},
        "validation_file": {"file": validation.name, "sha256": sha256(validation)} if validation else None,
        # A folder's whole path: the export may be started from elsewhere.
        "base": str(Path(named).resolve()) if Path(named).is_dir() else named,
    }
    checkpoint = _look_into(out, identity, resume=resume, force=force)
    log(_split_line(recipe, examples, parts))
    words = {name: _baseline(examples, parts, part) for name, part in held.items()}
    for part, one in words.items():
        log(
            f"for comparison, on {part}: counting words (TF-IDF, logistic regression) has accuracy "
            f"{one['tfidf']['accuracy']:.4f}, macro F1 {one['tfidf']['macro_f1']:.4f}; the most frequent class "
            f"{one['majority']['accuracy']:.4f}, {one['majority']['macro_f1']:.4f}"
        )

    transformers.set_seed(recipe.training.seed)
    model, missing = load_model(source, examples.labels)
    heads = head_modules(model)
    unexpected = sorted(key for key in missing if key.split(".")[0] not in heads and ".pooler." not in key)
    if unexpected:
        raise InputError(
            f"{source} lacks weights of the encoder: {', '.join(unexpected[:3])} ...",
            "It is no checkpoint of the architecture that its config.json names.",
        )
    tokenizer = load_tokenizer(source)
    longest = max_length_of(source, tokenizer)
    if recipe.max_length > longest:
        raise InputError(f"max_length = {recipe.max_length} is over what {source} takes: {longest}")
    # A pooler that the base lacks is as new as the head, and has to be saved like it.
    heads += sorted({key.rsplit(".", 1)[0] for key in missing if ".pooler." in key})
    found = revision(source, model)
    trained = model
    adapter: dict[str, Any] | None = None
    if recipe.model.method == "lora":
        targets = [name for name in lora_targets(model, recipe.model.lora.targets) if name not in heads]
        trained = _with_lora(model, recipe, targets, heads)
        adapter = {"r": recipe.model.lora.r, "alpha": recipe.model.lora.alpha, "layers": len(targets), "head": heads}
    count = sum(p.numel() for p in trained.parameters() if p.requires_grad)
    log(f"training {count:,} of {sum(p.numel() for p in trained.parameters()):,} weights, {precision_of(recipe)[1]}")

    if checkpoint is None:  # made only now, when nothing about the input can be wrong any more
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        (out / RUN).write_text(json.dumps({**identity, "finished": False}, ensure_ascii=False), encoding="utf-8")
    trainer = ClassifierTrainer(recipe, examples, parts, held, trained, tokenizer, out, log)
    if checkpoint:
        log(f"resuming from {checkpoint.name}")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    epochs = epochs_of(trainer.state.log_history)
    best = _best(epochs, recipe.training.metric)
    target = out / "checkpoint"
    trained.save_pretrained(str(target))
    model.config.save_pretrained(str(target))  # PEFT leaves it out; it holds the label names
    tokenizer.save_pretrained(str(target))
    metrics = {name: trainer.metrics(name) for name in held}
    for warning in (
        _learnt_nothing(metrics["validation"], examples.labels.multi),
        _less_than_words(metrics["validation"], words["validation"]["tfidf"]),
    ):
        if warning:
            log(warning)
    table = {
        "toxonnx": toxonnx.__version__,
        **identity,
        "base_revision": found,
        "text": {"columns": list(examples.text.columns)},
        "labels": list(examples.labels.names),
        "split": {**parts.to_dict(), "dropped_empty": examples.dropped, "validation_rows": len(held["validation"])},
        "adapter": adapter,
        "best_epoch": best["epoch"],
        "epochs": len(epochs),
        "metrics": {name: one.to_dict() for name, one in metrics.items()},
        "baselines": words,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "finished": True,
    }
    (out / RUN).write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return Run(out, table)


def _prepare(
    recipe: Recipe, data: Path, validation: Path | None, reading: ReadOptions | None
) -> tuple[Examples, SplitRows, dict[str, Examples]]:
    examples = load_examples(data, recipe, reading=reading)
    if validation is not None:
        held = load_examples(validation, recipe, reading=reading, labels=examples.labels)
        everything = np.arange(len(examples), dtype=np.int64)
        nothing = np.array([], dtype=np.int64)
        seen = {fold(text) for text in examples.texts}
        leaking = sum(fold(text) in seen for text in held.texts)
        return examples, SplitRows(everything, nothing, nothing, 0, leaking, leaking), {"validation": held}
    parts = split(examples, recipe.split, str(data))
    held_parts = {"validation": examples.subset(parts.validation)}
    if len(parts.test):
        held_parts["test"] = examples.subset(parts.test)
    return examples, parts, held_parts


def _baseline(examples: Examples, parts: SplitRows, held: Examples) -> dict[str, dict[str, float]]:
    """What needs no transformer, on the same rows."""
    train = examples.subset(parts.train)
    return {
        "tfidf": baseline(train.texts, train.y_true, held.texts, held.y_true, examples.labels),
        "majority": majority(train.y_true, held.y_true, examples.labels),
    }


def _split_line(recipe: Recipe, examples: Examples, parts: SplitRows) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in label_counts(examples).items())
    also = " or " + " and ".join(recipe.split.group) if recipe.split.group else ""
    lines = [f"{len(examples)} rows ({counts})"]
    if examples.dropped:
        lines.append(f"{examples.dropped} rows have an empty text and are left out")
    lines.append(f"training on {len(parts.train)}, validating on {len(parts.validation)}, testing on {len(parts.test)}")
    if not len(parts.validation):
        lines[-1] = f"training on {len(parts.train)}, validating on the file given"
        if parts.leaking:
            lines.append(f"WARNING: {parts.leaking} validation rows stand in the training file too; metrics flatter")
    elif parts.leaking:
        lines.append(f"WARNING: leaky split as asked: {parts.leaking} held-out rows stand in the training set too")
    elif parts.duplicates:
        lines.append(
            f"{parts.duplicates} rows repeat another's text{also}; kept on one side "
            f"({parts.leaked} would have leaked in a random split)"
        )
    return "\n".join(lines)


def _look_into(out: Path, identity: dict[str, Any], *, resume: bool, force: bool) -> Path | None:
    """The checkpoint to go on from; None to start anew, in place of whatever is there."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        if resume:
            raise InputError(f"there is nothing to resume in {out}", "Leave --resume out to begin.")
        return None
    if force and not resume:
        if not (out / RUN).is_file():
            raise InputError(f"{out} is no run, so --force does not replace it", "Name another folder.")
        return None
    if not resume:
        raise InputError(
            f"{out} exists already", "Add --resume to go on from its last checkpoint, or --force to replace it."
        )
    try:
        before = json.loads((out / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{out} is no run: {RUN} is missing or damaged", "Name another folder.") from None
    if before.get("finished"):
        raise InputError(f"{out} has finished already", "Export it, or give --force to train anew.")
    changed = [key for key, value in identity.items() if before.get(key) != value]
    if changed:
        raise InputError(
            f"{out} was begun with another {', '.join(changed)}", "Resume with the same, or give --force to start anew."
        )
    # trainer_state.json is the last file that the Trainer writes: without it the kill came in the middle.
    whole = [p.parent for p in out.glob("checkpoints/checkpoint-*/trainer_state.json")]
    return max(whole, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)


def _with_lora(model: PreTrainedModel, recipe: Recipe, targets: list[str], heads: list[str]) -> PreTrainedModel:
    from peft import LoraConfig, TaskType, get_peft_model

    lora = recipe.model.lora
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        # By name, whatever PEFT would guess: a head that is not saved with its adapter is lost.
        modules_to_save=heads,
    )
    adapted: Any = get_peft_model(model, config)
    return adapted


def _learnt_nothing(metrics: Metrics, multi: bool) -> str:
    """A warning where the model is no better than always saying the most frequent class; else nothing."""
    supports = [one.support for one in metrics.per_class.values()]
    if multi or metrics.accuracy > max(supports) / sum(supports):
        return ""
    return (
        f"WARNING: accuracy {metrics.accuracy:.4f} is no better than always saying the most frequent class "
        f"({max(supports) / sum(supports):.4f}); LoRA often needs a learning rate of 1e-4 to 1e-3"
    )


def _less_than_words(metrics: Metrics, words: dict[str, float]) -> str:
    """A warning where counting words does better by both metrics; else nothing."""
    if metrics.macro_f1 >= words["macro_f1"] or metrics.accuracy >= words["accuracy"]:
        return ""
    return (
        f"WARNING: counting words does better (macro F1 {words['macro_f1']:.4f} against {metrics.macro_f1:.4f}): train "
        "for more epochs, at another learning rate, or on more rows"
    )


def _best(epochs: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    sign = -1 if metric == "loss" else 1
    return max(epochs, key=lambda epoch: sign * epoch[f"validation_{metric}"])
