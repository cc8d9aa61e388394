"""The transformers Trainer with class weights, annotator votes, and reports after each epoch."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import EarlyStoppingCallback, PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from toxonnx.data.examples import Examples, save_examples
from toxonnx.data.fingerprints import FINGERPRINT_FILES, save_fingerprints
from toxonnx.data.splits import SplitRows
from toxonnx.evaluate.metrics import Metrics, evaluate
from toxonnx.labels import Labels
from toxonnx.recipe import Recipe
from toxonnx.train.pretrained import encode
from toxonnx.train.report import EpochTable, draw_curves, epochs_of, selection_score

__all__ = ["ClassifierTrainer", "TrainingData", "precision_flags"]

CALIBRATION = "calibration.csv"
CALIBRATION_ROWS = 400


@dataclass(frozen=True)
class TrainingData:
    """Labelled rows for a run.

    Attributes:
        examples: all rows of the labelled file.
        split: which of them are for training, validation and test.
        held_out: ``validation`` and, with a test split, ``test`` -> rows.
    """

    examples: Examples
    split: SplitRows
    held_out: dict[str, Examples]

    @cached_property
    def train(self) -> Examples:
        """The training rows."""
        return self.examples.subset(self.split.train)


def precision_flags(recipe: Recipe) -> tuple[dict[str, bool], str]:
    """The Trainer's arguments for the precision that recipe and machine allow, and the same in words."""
    precision = recipe.training.precision
    if not torch.cuda.is_available():
        return {"use_cpu": True}, "fp32 on the CPU" + (
            f" ({precision} needs a GPU)" if precision in {"fp16", "bf16"} else ""
        )
    if precision == "auto":
        # Emulated bf16, on older GPUs, is slower than fp32.
        precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    flags = {precision: True} if precision in {"fp16", "bf16"} else {}
    count = torch.cuda.device_count()
    several = f", {count} GPUs: each takes batch_size rows, so a step is {count} times as large" if count > 1 else ""
    return flags, f"{precision} on {torch.cuda.get_device_name()}{several}"


class ClassifierTrainer(Trainer):  # type: ignore[misc]  # transformers is not typed strictly
    """Trains on the training rows; writes the held-out rows, metrics and plots into the run's folder.

    Args:
        recipe: how to train.
        data: the rows.
        model: with LoRA layers where the recipe asks for them.
        tokenizer: of the model.
        output: folder of the run.
        log: called with lines of progress.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        output: Path,
        log: Callable[[str], None],
    ) -> None:
        self._labels = data.examples.labels
        self._metric = recipe.training.metric
        self._max_length = recipe.max_length
        self._tokenizer = tokenizer
        self._settings = recipe.training
        train = data.train
        self._weights = _class_weights(train, recipe.training.class_weights)
        settings = recipe.training
        flags, _ = precision_flags(recipe)
        arguments = TrainingArguments(
            output_dir=str(output / "checkpoints"),
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            per_device_eval_batch_size=settings.eval_batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            adam_beta1=settings.betas[0],
            adam_beta2=settings.betas[1],
            adam_epsilon=settings.epsilon,
            lr_scheduler_type=settings.schedule,
            max_grad_norm=settings.max_grad_norm,
            length_column_name="length",
            eval_strategy="epoch",
            save_strategy="epoch",
            logging_strategy="epoch",
            save_total_limit=2,
            load_best_model_at_end=True,
            restore_callback_states_from_checkpoint=True,  # early stopping continues its count
            metric_for_best_model="eval_selection",
            greater_is_better=True,
            seed=settings.seed,
            data_seed=settings.seed,
            remove_unused_columns=False,
            label_names=["labels"],
            report_to=[],
            disable_tqdm=not sys.stderr.isatty(),
            **_sampling(group_by_length=settings.group_by_length),
            **flags,
        )
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=self._rows(train),
            eval_dataset=self._rows(data.held_out["validation"]),
            data_collator=self._collate,
            compute_metrics=self._metrics,
            callbacks=[_EpochReport(output, settings.metric, log)],
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        if not arguments.disable_tqdm:
            self.add_callback(_QuietProgress())
        if settings.patience:
            self.add_callback(EarlyStoppingCallback(early_stopping_patience=settings.patience))
        self._held_out = {name: self._rows(rows) for name, rows in data.held_out.items()}
        for name, rows in data.held_out.items():
            save_examples(output / f"{name}.csv", rows)
        # For the calibration of int8: held-out rows would make its verification too optimistic.
        rng = np.random.default_rng(settings.seed)
        sample = rng.permutation(len(train))[:CALIBRATION_ROWS]
        save_examples(output / CALIBRATION, train.subset(sample))
        save_fingerprints(output / FINGERPRINT_FILES["training"], train.texts)

    def metrics(self, part: str) -> Metrics:
        """Metrics of the current model on a held-out part."""
        # The labels are returned with the predictions: grouping by length reorders the rows.
        output = self.predict(self._held_out[part])
        return evaluate(np.asarray(output.predictions), np.asarray(output.label_ids), self._labels)

    def best_epoch(self) -> int:
        """The epoch whose weights the model has after training, counted from 1."""
        epochs: dict[int, float] = {
            entry["step"]: entry["epoch"] for entry in self.state.log_history if "eval_loss" in entry
        }
        return round(epochs[self.state.best_global_step])

    def _rows(self, examples: Examples) -> list[dict[str, Any]]:
        encoded, _ = encode(self._tokenizer, examples.texts, self._max_length)
        rows = [
            {"input_ids": ids, "length": len(ids), "label": y_true}
            for ids, y_true in zip(encoded, examples.y_true.tolist(), strict=True)
        ]
        if examples.votes is not None:
            for row, votes in zip(rows, examples.votes.tolist(), strict=True):
                row["votes"] = votes
        return rows

    def _collate(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = dict(self._tokenizer.pad({"input_ids": [row["input_ids"] for row in rows]}, return_tensors="pt"))
        batch["labels"] = torch.tensor([row["label"] for row in rows])
        if "votes" in rows[0]:
            batch["votes"] = torch.tensor([row["votes"] for row in rows])
        return batch

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Sets the number of warm-up steps; transformers 4 and 5 have different arguments for a share of all steps."""
        settings = self._settings
        self.args.warmup_steps = settings.warmup_steps or math.ceil(num_training_steps * settings.warmup_ratio)
        return super().create_scheduler(num_training_steps, optimizer)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Weighted cross-entropy in training, unweighted in validation, so that epochs are comparable."""
        inputs = dict(inputs)
        y_true, votes = inputs.pop("labels"), inputs.pop("votes", None)
        outputs = model(**inputs)
        logits = outputs.logits.float()
        weights = self._weights.to(logits.device) if self._weights is not None and model.training else None
        if self._labels.multi:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y_true.float(), pos_weight=weights)
        elif votes is None or not model.training:
            loss = torch.nn.functional.cross_entropy(logits, y_true, weight=weights)
        else:
            each = -(votes * torch.log_softmax(logits, dim=-1)).sum(dim=-1)
            scale = torch.ones_like(each) if weights is None else weights[y_true]
            loss = (scale * each).sum() / scale.sum()
        return (loss, {"logits": logits}) if return_outputs else loss

    def _metrics(self, prediction: Any) -> dict[str, float]:
        metrics = evaluate(np.asarray(prediction.predictions), np.asarray(prediction.label_ids), self._labels)
        values = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}
        return {**values, "selection": selection_score(self._metric, {**values, "loss": metrics.loss})}


def _sampling(*, group_by_length: bool) -> dict[str, Any]:
    """The Trainer's argument for batches of texts of similar lengths, which transformers 5 renamed."""
    if "group_by_length" in TrainingArguments.__dataclass_fields__:
        return {"group_by_length": group_by_length}
    return {"train_sampling_strategy": "group_by_length" if group_by_length else "random"}


def _class_weights(examples: Examples, power: float) -> torch.Tensor | None:
    """Inverse frequencies to a power, float32 [labels]."""
    if not power:
        return None
    labels: Labels = examples.labels
    y_true: NDArray[np.int64] = examples.y_true
    if labels.multi:
        positive = np.maximum(y_true.sum(axis=0), 1)
        ratio = (len(y_true) - positive) / positive
    else:
        ratio = len(y_true) / (len(labels) * np.maximum(np.bincount(y_true, minlength=len(labels)), 1))
    return torch.tensor(ratio**power, dtype=torch.float32)


class _QuietProgress(ProgressCallback):  # type: ignore[misc]
    """The Trainer's progress bar without its raw logs."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Prints nothing; the epoch table does."""


class _EpochReport(TrainerCallback):  # type: ignore[misc]
    """Prints a table row and writes metrics.jsonl and the plot after each epoch."""

    def __init__(self, output: Path, metric: str, log: Callable[[str], None]) -> None:
        self._output, self._metric = output, metric
        self._table = EpochTable(metric, log)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called after each epoch's validation."""
        epochs = epochs_of(state.log_history)
        # Written completely from the Trainer's history, so that a resumed run has each epoch once.
        lines = "".join(json.dumps(epoch) + "\n" for epoch in epochs)
        (self._output / "metrics.jsonl").write_text(lines, encoding="utf-8")
        self._table.show(epochs)
        if len(epochs) > 1:
            draw_curves(epochs, self._metric, self._output / "curves.png")
