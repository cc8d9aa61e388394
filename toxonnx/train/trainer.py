"""The transformers Trainer with a recipe's loss, checkpoints within an epoch, and reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch.utils.data import SequentialSampler
from transformers import EarlyStoppingCallback, PreTrainedModel, Trainer, TrainingArguments
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback, TrainerState
from transformers.trainer_pt_utils import LengthGroupedSampler

from toxonnx.data.examples import Examples
from toxonnx.errors import InputError
from toxonnx.evaluate.metrics import Metrics, evaluate
from toxonnx.recipe import Recipe
from toxonnx.train.callbacks import EpochReport, ProgressReport, TimedCheckpoints, best_checkpoint
from toxonnx.train.checkpoints import EPOCH_STATE
from toxonnx.train.loss import Loss
from toxonnx.train.report import selection_score
from toxonnx.train.tokenizers import encode
from toxonnx.train.training_data import TrainingData

__all__ = ["ClassifierTrainer", "Reports", "precision_flags"]

#: what a training row may have besides its labels, in the order of the parameters of Loss.training
LOSS_INPUTS = ("targets", "weights", "teacher")


@dataclass(frozen=True)
class Reports:
    """Where training reports.

    Attributes:
        log: called with lines of text.
        progress: called, up to twice a second, with the share of the steps that are done and a note.
    """

    log: Callable[[str], None] = print
    progress: Callable[[float | None, str], None] = lambda share, note: None


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices with instructions of its own; emulated, they are slower than fp32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def precision_flags(recipe: Recipe) -> tuple[dict[str, bool], str]:
    """The Trainer's arguments for the precision that recipe and machine allow, and the same in words."""
    precision = recipe.training.precision
    if not torch.cuda.is_available():
        if precision == "bf16" and cpu_has_bf16():
            return {"use_cpu": True, "bf16": True}, "bf16 on the CPU"
        why_not = {"bf16": " (bf16 needs a GPU, or a CPU with AVX512-BF16 or AMX)", "fp16": " (fp16 needs a GPU)"}
        return {"use_cpu": True}, f"fp32 on the CPU{why_not.get(precision, '')}"
    if precision == "auto":
        # Emulated bf16, on older GPUs, is slower than fp32.
        precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    flags = {precision: True} if precision in {"fp16", "bf16"} else {}
    count = torch.cuda.device_count()
    several = f", {count} GPUs: each takes batch_size rows, so a step is {count} times as large" if count > 1 else ""
    return flags, f"{precision} on {torch.cuda.get_device_name()}{several}"


def _arguments(recipe: Recipe, output: Path) -> TrainingArguments:
    settings = recipe.training
    flags, _ = precision_flags(recipe)
    return TrainingArguments(
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
        disable_tqdm=True,
        **_sampling(group_by_length=settings.group_by_length),
        **flags,
    )


class ClassifierTrainer(Trainer):  # type: ignore[misc]  # transformers is not typed strictly
    """Trains on the training rows; writes checkpoints, metrics and plots into the run's folder.

    Args:
        recipe: how to train.
        data: the rows.
        model: with LoRA layers where the recipe asks for them.
        tokenizer: of the model.
        output: folder of the run.
        reports: where progress goes.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        output: Path,
        reports: Reports,
    ) -> None:
        self._labels = data.examples.labels
        self._metric = recipe.training.metric
        self._max_length = recipe.max_length
        self._tokenizer = tokenizer
        self._settings = settings = recipe.training
        train = data.train
        self._loss = Loss.of(recipe, train)
        self._loss_sum, self._loss_steps = torch.zeros((), dtype=torch.float64), 0
        self._sampler: _RepeatableSampler | None = None
        self._order: torch.Tensor | None = None  # of the epoch in which a checkpoint was written
        arguments = _arguments(recipe, output)
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=self._training_rows(data),
            eval_dataset=self._rows(data.held_out["validation"]),
            data_collator=self._collate,
            compute_metrics=self._metrics,
            callbacks=[
                EpochReport(output, settings.metric, reports.log),
                TimedCheckpoints(settings.checkpoint_minutes),
                ProgressReport(reports.progress, self._mean_loss, arguments.train_batch_size),
            ],
        )
        self.remove_callback(PrinterCallback)
        if settings.patience:
            self.add_callback(EarlyStoppingCallback(early_stopping_patience=settings.patience))
        self._held_out = data.held_out

    def metrics(self, part: str) -> tuple[Metrics, dict[str, Metrics]]:
        """Metrics of the current model on a held-out part: of all rows, and of each source."""
        examples = self._held_out[part]
        rows = self._rows(examples)
        order = sorted(range(len(rows)), key=lambda i: -rows[i]["length"])
        logits = np.empty((len(rows), len(self._labels)), dtype=np.float32)
        logits[order] = _finite(np.asarray(self.predict([rows[i] for i in order]).predictions))
        of_source: dict[str, list[int]] = {}
        for i, source in enumerate(examples.sources):
            of_source.setdefault(source, []).append(i)
        by_source = {
            source: evaluate(logits[members], examples.y_true[members], self._labels)
            for source, members in sorted(of_source.items())
        }
        return evaluate(logits, examples.y_true, self._labels), by_source

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        # In validation the Trainer draws an order; metrics() needs to know which row a prediction is of.
        validation = eval_dataset is self.eval_dataset
        return super()._get_eval_sampler(eval_dataset) if validation else SequentialSampler(eval_dataset)

    def best_epoch(self) -> int:
        """The epoch whose weights the model has after training, counted from 1."""
        epochs: dict[int, float] = {
            entry["step"]: entry["epoch"] for entry in self.state.log_history if "eval_loss" in entry
        }
        return round(epochs[self.state.best_global_step])

    def _rows(self, examples: Examples) -> list[dict[str, Any]]:
        encoded, _ = encode(self._tokenizer, examples.texts, self._max_length)
        return [
            {"input_ids": ids, "length": len(ids), "labels": y_true}
            for ids, y_true in zip(encoded, examples.y_true.tolist(), strict=True)
        ]

    def _training_rows(self, data: TrainingData) -> list[dict[str, Any]]:
        examples = data.all_train
        rows = self._rows(examples)
        weights = examples.weights if (examples.weights != 1).any() else None
        teacher = data.teacher.logits if data.teacher else None
        for name, values in (("targets", examples.targets), ("weights", weights), ("teacher", teacher)):
            for row, value in zip(rows, values if values is not None else (), strict=values is not None):
                row[name] = value
        return rows

    def _collate(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = dict(self._tokenizer.pad({"input_ids": [row["input_ids"] for row in rows]}, return_tensors="pt"))
        for name in ("labels", *(name for name in LOSS_INPUTS if name in rows[0])):
            batch[name] = torch.tensor(np.array([row[name] for row in rows]))
        return batch

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Sets the number of warm-up steps; transformers 4 and 5 have different arguments for a share of all steps."""
        settings = self._settings
        self.args.warmup_steps = settings.warmup_steps or math.ceil(num_training_steps * settings.warmup_ratio)
        return super().create_scheduler(num_training_steps, optimizer)

    def train(self, resume_from_checkpoint: str | None = None, **kwargs: Any) -> Any:
        """Trains; continues from a checkpoint with the result that an uninterrupted training would have had."""
        if resume_from_checkpoint:
            state = load_file(Path(resume_from_checkpoint, EPOCH_STATE))
            self._loss_sum, self._loss_steps = state["loss_sum"], int(state["loss_steps"])
            self._order = state.get("order")
            saved = TrainerState.load_from_json(str(Path(resume_from_checkpoint, "trainer_state.json")))
            if saved.stateful_callbacks.get("TrainerControl", {}).get("args", {}).get("should_training_stop"):
                # It had ended: the Trainer would forget that patience had run out, and train another epoch.
                self.state = saved
                self._load_best_model()
                self.callback_handler.on_train_end(self.args, self.state, self.control)
                return None
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _load_best_model(self) -> None:
        self.state.best_model_checkpoint = best_checkpoint(self.args, self.state)
        super()._load_best_model()

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if not self._settings.group_by_length:
            return super()._get_train_sampler(train_dataset)  # its order follows from the seed and the epoch
        rows = train_dataset if train_dataset is not None else self.train_dataset
        self._sampler = _RepeatableSampler(self.args.train_batch_size, lengths=[row["length"] for row in rows])
        self._sampler.repeat = self._order
        return self._sampler

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
        folder.mkdir(parents=True, exist_ok=True)
        state = {"loss_sum": self._loss_sum, "loss_steps": torch.tensor(self._loss_steps)}
        if self._sampler and self._loss_steps:  # within an epoch
            state["order"] = self._sampler.order
        save_file(state, folder / EPOCH_STATE)
        super()._save_checkpoint(model, trial)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One step; its loss counts for the epoch's mean, which a resumed training continues."""
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        self._loss_sum = self._loss_sum.to(loss.device) + loss
        self._loss_steps += 1
        return loss

    def _mean_loss(self) -> float:
        return float(self._loss_sum) / max(self._loss_steps, 1)

    def log(self, logs: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """Takes the Trainer's log records."""
        if "loss" in logs:
            logs["loss"] = round(self._mean_loss(), 4)
            self._loss_sum, self._loss_steps = torch.zeros((), dtype=torch.float64), 0
        super().log(logs, *args, **kwargs)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The recipe's loss in training, the unweighted one in validation."""
        inputs = dict(inputs)
        y_true, *further = inputs.pop("labels"), *(inputs.pop(name, None) for name in LOSS_INPUTS)
        outputs = model(**inputs)
        logits = outputs.logits
        loss = (
            self._loss.training(logits, y_true, *further) if model.training else self._loss.validation(logits, y_true)
        )
        return (loss, {"logits": logits.float()}) if return_outputs else loss

    def _metrics(self, prediction: Any) -> dict[str, float]:
        logits = _finite(np.asarray(prediction.predictions))
        metrics = evaluate(logits, np.asarray(prediction.label_ids), self._labels)
        values = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}
        score = selection_score(self._metric, {**values, "loss": metrics.loss})
        return {**values, "mean_loss": metrics.loss, "selection": score}


def _finite(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(logits).all():
        raise InputError(
            "the training has diverged: the model's logits are not finite",
            "Set a lower training.learning_rate in the recipe, and start again with --force.",
        )
    return logits


def _sampling(*, group_by_length: bool) -> dict[str, Any]:
    """The Trainer's argument for batches of texts of similar lengths, which transformers 5 renamed."""
    if "group_by_length" in TrainingArguments.__dataclass_fields__:
        return {"group_by_length": group_by_length}
    return {"train_sampling_strategy": "group_by_length" if group_by_length else "random"}


class _RepeatableSampler(LengthGroupedSampler):  # type: ignore[misc]
    """Batches of texts of similar length, in an order that can be drawn again.

    Attributes:
        order: the state of PyTorch's random numbers from which the epoch's order was drawn.
        repeat: such a state, from which to draw the next order; None to draw a new one.
    """

    order: torch.Tensor
    repeat: torch.Tensor | None = None

    def __iter__(self) -> Any:
        if self.repeat is not None:
            torch.set_rng_state(self.repeat)
            self.repeat = None
        self.order = torch.get_rng_state()
        return super().__iter__()
