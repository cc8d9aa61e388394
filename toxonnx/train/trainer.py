"""The transformers Trainer with class weights, votes, our metrics and our report."""

from __future__ import annotations

import json
import sys
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
from toxonnx.train.report import EpochTable, draw_curves, epochs_of

__all__ = ["ClassifierTrainer", "precision_of"]

CALIBRATION = "calibration.csv"
CALIBRATION_ROWS = 400


def precision_of(recipe: Recipe) -> tuple[dict[str, bool], str]:
    """The Trainer's flags for the precision that recipe and machine allow, and the same in words."""
    asked = recipe.training.precision
    if not torch.cuda.is_available():
        return {"use_cpu": True}, "fp32 on the CPU" + (f" ({asked} needs a GPU)" if asked in {"fp16", "bf16"} else "")
    if asked == "auto":
        # Emulated bf16, which older cards have too, is slower than fp32.
        asked = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    flags = {asked: True} if asked in {"fp16", "bf16"} else {}
    count = torch.cuda.device_count()
    also = f", {count} of them: each takes batch_size rows, so a step is {count} times as large" if count > 1 else ""
    return flags, f"{asked} on {torch.cuda.get_device_name()}{also}"


class ClassifierTrainer(Trainer):  # type: ignore[misc]  # transformers is not typed strictly
    """Trains on one part of some examples and leaves the other parts, metrics and curves in the run's folder."""

    def __init__(
        self,
        recipe: Recipe,
        examples: Examples,
        parts: SplitRows,
        held: dict[str, Examples],
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        out: Path,
        log: Any,
    ) -> None:
        self._labels = examples.labels
        self._cut = recipe.max_length
        self._tokens = tokenizer
        train = examples.subset(parts.train)
        self._weights = _class_weights(train, recipe.training.class_weights)
        settings = recipe.training
        flags, _ = precision_of(recipe)
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
            callbacks=[_Report(out, settings.metric, log)],
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
        save_fingerprints(out / FINGERPRINT_FILES["training"], train.texts)

    def metrics(self, part: str) -> Metrics:
        """Metrics of the model as it stands on a held-out part."""
        # The y_true comes back beside the predictions: grouping by length reorders the rows of an evaluation too.
        output = self.predict(self._held[part])
        return evaluate(np.asarray(output.predictions), np.asarray(output.label_ids), self._labels)

    def _rows(self, examples: Examples) -> list[dict[str, Any]]:
        encoded = self._tokens(examples.texts, truncation=True, max_length=self._cut)["input_ids"]
        rows = [
            {"input_ids": ids, "length": len(ids), "label": y_true}
            for ids, y_true in zip(encoded, examples.y_true.tolist(), strict=True)
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
        return {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}


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
    """The Trainer's bar without its print of raw logs."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Prints nothing: the epoch table does."""


class _Report(TrainerCallback):  # type: ignore[misc]
    """A table row, a line of metrics.jsonl and the picture, after each epoch."""

    def __init__(self, out: Path, metric: str, log: Any) -> None:
        self._out, self._metric = out, metric
        self._table = EpochTable(metric, log)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called after each epoch's validation."""
        epochs = epochs_of(state.log_history)
        # Written whole from the Trainer's history, so that a resumed run leaves each epoch once.
        lines = "".join(json.dumps(epoch) + "\n" for epoch in epochs)
        (self._out / "metrics.jsonl").write_text(lines, encoding="utf-8")
        self._table.show(epochs)
        draw_curves(epochs, self._metric, self._out / "curves.png")
