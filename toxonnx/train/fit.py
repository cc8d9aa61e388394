"""Training: the transformers Trainer, told by a recipe, leaving a run behind.

A run folder::

    checkpoint/       the best epoch: adapter and head, or full weights; config.json with the labels; tokenizer
    run.json          recipe, data, split, base, best epoch, figures, versions
    metrics.jsonl     one line an epoch
    curves.png        the same as a picture
    validation.csv    the held-out rows as the model reads them (test.csv too, where the recipe asks for one)
    calibration.csv   some training rows, which show an export how large activations get
    checkpoints/      the Trainer's own, while training runs
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback, ProgressCallback

import toxonnx
from toxonnx.bundle import sha256
from toxonnx.errors import InputError
from toxonnx.evaluate import Figures, evaluate
from toxonnx.labels import Labels
from toxonnx.recipe import METRICS, Recipe
from toxonnx.texts import fold
from toxonnx.train.base import (
    head_modules,
    load_model,
    load_tokenizer,
    lora_targets,
    max_length_of,
    resolve_base,
    revision,
)
from toxonnx.train.data import Examples, Parts, label_counts, load_examples, save_examples, split
from toxonnx.train.report import EpochTable, draw_curves, epochs_of

__all__ = ["Run", "fit"]

RUN = "run.json"
CALIBRATION = "calibration.csv"
CALIBRATION_ROWS = 400


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
    encoding: str | None = None,
    resume: bool = False,
    force: bool = False,
    say: Any = print,
) -> Run:
    """Trains a classifier.

    Args:
        recipe: what to do.
        data: labelled CSV or TSV.
        out: the run's folder.
        base: folder, hub id or ``package:NAME/FOLDER`` in place of the recipe's.
        validation: labelled file to validate on in place of a split of ``data``.
        encoding: of the files; UTF-8 when not given.
        resume: go on from the last checkpoint in ``out``.
        force: replace ``out``.
        say: takes each line of progress.

    Raises:
        InputError: bad data, or ``out`` exists and neither ``resume`` nor ``force`` was given.
        CheckpointError: the base does not load.
    """
    named = base or recipe.model.base
    if not named:
        raise InputError("no base model", "Name one with --base or as model.base in the recipe.")
    source = resolve_base(named)
    examples, parts, held = _prepare(recipe, data, validation, encoding)
    identity = {
        "recipe": json.loads(json.dumps(recipe.to_dict())),
        "data": {"file": data.name, "sha256": sha256(data), "rows": len(examples)},
        "validation_file": {"file": validation.name, "sha256": sha256(validation)} if validation else None,
        # A folder's whole path: the export may be started from elsewhere.
        "base": str(Path(named).resolve()) if Path(named).is_dir() else named,
    }
    checkpoint = _look_into(out, identity, resume=resume, force=force)
    say(_split_line(recipe, examples, parts))

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
    say(f"training {count:,} of {sum(p.numel() for p in trained.parameters()):,} weights, {_precision(recipe)[1]}")

    if checkpoint is None:  # made only now, when nothing about the input can be wrong any more
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        (out / RUN).write_text(json.dumps({**identity, "finished": False}, ensure_ascii=False), encoding="utf-8")
    trainer = _Fit(recipe, examples, parts, held, trained, tokenizer, out, say)
    if checkpoint:
        say(f"resuming from {checkpoint.name}")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    epochs = epochs_of(trainer.state.log_history)
    best = _best(epochs, recipe.training.metric)
    target = out / "checkpoint"
    trained.save_pretrained(str(target))
    model.config.save_pretrained(str(target))  # PEFT leaves it out; it holds the label names
    tokenizer.save_pretrained(str(target))
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
        "figures": {name: trainer.figures(name).to_dict() for name in held},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "finished": True,
    }
    (out / RUN).write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return Run(out, table)


def _prepare(
    recipe: Recipe, data: Path, validation: Path | None, encoding: str | None
) -> tuple[Examples, Parts, dict[str, Examples]]:
    examples = load_examples(data, recipe, encoding=encoding)
    if validation is not None:
        held = load_examples(validation, recipe, encoding=encoding, labels=examples.labels)
        everything = np.arange(len(examples), dtype=np.int64)
        nothing = np.array([], dtype=np.int64)
        seen = {fold(text) for text in examples.texts}
        leaking = sum(fold(text) in seen for text in held.texts)
        return examples, Parts(everything, nothing, nothing, 0, leaking, leaking), {"validation": held}
    parts = split(examples, recipe.split, str(data))
    held_parts = {"validation": examples.subset(parts.validation)}
    if len(parts.test):
        held_parts["test"] = examples.subset(parts.test)
    return examples, parts, held_parts


def _split_line(recipe: Recipe, examples: Examples, parts: Parts) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in label_counts(examples).items())
    lines = [f"{len(examples)} rows ({counts})"]
    if examples.dropped:
        lines.append(f"{examples.dropped} rows have an empty text and are left out")
    lines.append(f"training on {len(parts.train)}, validating on {len(parts.validation)}, testing on {len(parts.test)}")
    if not len(parts.validation):
        lines[-1] = f"training on {len(parts.train)}, validating on the file given"
        if parts.leaking:
            lines.append(f"WARNING: {parts.leaking} validation rows stand in the training file too; figures flatter")
    elif parts.leaking:
        lines.append(f"WARNING: leaky split as asked: {parts.leaking} held-out rows stand in the training set too")
    elif parts.duplicates:
        lines.append(
            f"{parts.duplicates} rows repeat another's text; kept on one side "
            f"({parts.leaked} would have leaked in a random split)"
        )
    return "\n".join(lines)


def _look_into(out: Path, identity: dict[str, Any], *, resume: bool, force: bool) -> Path | None:
    """The checkpoint to go on from; None to start anew, in place of whatever is there."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
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


def _precision(recipe: Recipe) -> tuple[dict[str, bool], str]:
    asked = recipe.training.precision
    if not torch.cuda.is_available():
        return {"use_cpu": True}, "fp32 on the CPU" + (f" ({asked} needs a GPU)" if asked in {"fp16", "bf16"} else "")
    if asked == "auto":
        asked = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    flags = {asked: True} if asked in {"fp16", "bf16"} else {}
    return flags, f"{asked} on {torch.cuda.get_device_name()}"


def _best(epochs: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    sign = -1 if metric == "loss" else 1
    return max(epochs, key=lambda epoch: sign * epoch[f"validation_{metric}"])


class _Fit(Trainer):  # type: ignore[misc]  # transformers is not typed strictly
    """The Trainer with class weights, votes, and our figures."""

    def __init__(
        self,
        recipe: Recipe,
        examples: Examples,
        parts: Parts,
        held: dict[str, Examples],
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        out: Path,
        say: Any,
    ) -> None:
        self._labels = examples.labels
        self._cut = recipe.max_length
        self._tokens = tokenizer
        train = examples.subset(parts.train)
        self._weights = _class_weights(train, recipe.training.class_weights)
        settings = recipe.training
        assert settings.metric in METRICS
        flags, _ = _precision(recipe)
        arguments = TrainingArguments(
            output_dir=str(out / "checkpoints"),
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            per_device_eval_batch_size=settings.eval_batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            adam_beta1=settings.betas[0],
            adam_beta2=settings.betas[1],
            adam_epsilon=settings.epsilon,
            lr_scheduler_type=settings.schedule,
            warmup_steps=settings.warmup_steps,
            warmup_ratio=settings.warmup_ratio,
            max_grad_norm=settings.max_grad_norm,
            group_by_length=settings.group_by_length,
            length_column_name="length",
            eval_strategy="epoch",
            save_strategy="epoch",
            logging_strategy="epoch",
            save_total_limit=2,
            load_best_model_at_end=True,
            restore_callback_states_from_checkpoint=True,  # early stopping goes on counting
            metric_for_best_model=f"eval_{settings.metric}",
            greater_is_better=settings.metric != "loss",
            seed=settings.seed,
            data_seed=settings.seed,
            remove_unused_columns=False,
            label_names=["labels"],
            report_to=[],
            disable_tqdm=not sys.stderr.isatty(),
            **flags,
        )
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=self._rows(train),
            eval_dataset=self._rows(held["validation"]),
            data_collator=self._collate,
            compute_metrics=self._metrics,
            callbacks=[_Report(out, settings.metric, say)],
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        if not arguments.disable_tqdm:
            self.add_callback(_QuietProgress())
        if settings.patience:
            self.add_callback(EarlyStoppingCallback(early_stopping_patience=settings.patience))
        self._held = {name: self._rows(part) for name, part in held.items()}
        for name, part in held.items():
            save_examples(out / f"{name}.csv", part)
        # What int8 is calibrated on: held-out rows would flatter what they later verify.
        rng = np.random.default_rng(settings.seed)
        sample = rng.permutation(len(train))[:CALIBRATION_ROWS]
        save_examples(out / CALIBRATION, train.subset(sample))

    def figures(self, part: str) -> Figures:
        """Figures of the model as it stands on a held-out part."""
        # The truth comes back beside the predictions: grouping by length reorders the rows of an evaluation too.
        output = self.predict(self._held[part])
        return evaluate(np.asarray(output.predictions), np.asarray(output.label_ids), self._labels)

    def _rows(self, examples: Examples) -> list[dict[str, Any]]:
        encoded = self._tokens(examples.texts, truncation=True, max_length=self._cut)["input_ids"]
        rows = [
            {"input_ids": ids, "length": len(ids), "label": truth}
            for ids, truth in zip(encoded, examples.truth.tolist(), strict=True)
        ]
        if examples.votes is not None:
            for row, votes in zip(rows, examples.votes.tolist(), strict=True):
                row["votes"] = votes
        return rows

    def _collate(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = dict(self._tokens.pad({"input_ids": [row["input_ids"] for row in rows]}, return_tensors="pt"))
        batch["labels"] = torch.tensor([row["label"] for row in rows])
        if "votes" in rows[0]:
            batch["votes"] = torch.tensor([row["votes"] for row in rows])
        return batch

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Weighted cross-entropy while training; the plain one while validating, so that epochs compare."""
        inputs = dict(inputs)
        truth, votes = inputs.pop("labels"), inputs.pop("votes", None)
        outputs = model(**inputs)
        logits = outputs.logits.float()
        weights = self._weights.to(logits.device) if self._weights is not None and model.training else None
        if self._labels.multi:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth.float(), pos_weight=weights)
        elif votes is None or not model.training:
            loss = torch.nn.functional.cross_entropy(logits, truth, weight=weights)
        else:
            each = -(votes * torch.log_softmax(logits, dim=-1)).sum(dim=-1)
            scale = torch.ones_like(each) if weights is None else weights[truth]
            loss = (scale * each).sum() / scale.sum()
        return (loss, {"logits": logits}) if return_outputs else loss

    def _metrics(self, prediction: Any) -> dict[str, float]:
        figures = evaluate(np.asarray(prediction.predictions), np.asarray(prediction.label_ids), self._labels)
        return {"accuracy": figures.accuracy, "macro_f1": figures.macro_f1}


def _class_weights(examples: Examples, power: float) -> torch.Tensor | None:
    """Inverse frequencies to a power, float32 [labels]."""
    if not power:
        return None
    labels: Labels = examples.labels
    truth: NDArray[np.int64] = examples.truth
    if labels.multi:
        positive = np.maximum(truth.sum(axis=0), 1)
        ratio = (len(truth) - positive) / positive
    else:
        ratio = len(truth) / (len(labels) * np.maximum(np.bincount(truth, minlength=len(labels)), 1))
    return torch.tensor(ratio**power, dtype=torch.float32)


class _QuietProgress(ProgressCallback):  # type: ignore[misc]
    """The Trainer's bar without its print of raw logs."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Prints nothing: the epoch table does."""


class _Report(TrainerCallback):  # type: ignore[misc]
    """A table row, a line of metrics.jsonl and the picture, after each epoch."""

    def __init__(self, out: Path, metric: str, say: Any) -> None:
        self._out, self._metric = out, metric
        self._table = EpochTable(metric, say)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called after each epoch's validation."""
        epochs = epochs_of(state.log_history)
        # Written whole from the Trainer's history, so that a resumed run leaves each epoch once.
        lines = "".join(json.dumps(epoch) + "\n" for epoch in epochs)
        (self._out / "metrics.jsonl").write_text(lines, encoding="utf-8")
        self._table.show(epochs)
        draw_curves(epochs, self._metric, self._out / "curves.png")
