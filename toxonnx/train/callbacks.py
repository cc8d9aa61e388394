"""What happens during training besides training: the epoch log, progress, checkpoints within an epoch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from toxonnx.disk import replace_text
from toxonnx.train.report import EpochTable, draw_curves, epochs_of

__all__ = ["EpochReport", "ProgressReport", "TimedCheckpoints", "best_checkpoint"]

#: seconds between two reports of progress; reading the loss makes a GPU wait
REPORT_SECONDS = 0.5
#: seconds between two plots, each of which takes a second
PLOT_SECONDS = 60


class EpochReport(TrainerCallback):  # type: ignore[misc]  # transformers is not typed strictly
    """Prints a table row and writes metrics.jsonl after each epoch; draws the plot now and then, and at the end."""

    def __init__(self, output: Path, metric: str, log: Callable[[str], None]) -> None:
        self._output, self._metric = output, metric
        self._table, self._plotted = EpochTable(metric, log), time.monotonic()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called after each epoch's validation."""
        epochs = epochs_of(state.log_history)
        # Written completely from the Trainer's history, so that a resumed run has each epoch once.
        lines = "".join(json.dumps(epoch) + "\n" for epoch in epochs)
        replace_text(self._output / "metrics.jsonl", lines)
        self._table.show(epochs)
        if time.monotonic() - self._plotted >= PLOT_SECONDS:
            self._plot(epochs)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called after the last epoch."""
        self._plot(epochs_of(state.log_history))

    def _plot(self, epochs: list[dict[str, Any]]) -> None:
        if len(epochs) > 1:
            draw_curves(epochs, self._metric, self._output / "curves.png")
        self._plotted = time.monotonic()


def best_checkpoint(args: Any, state: Any) -> str | None:
    """The folder of the best checkpoint so far; its name in the state is from where training was started."""
    return str(Path(args.output_dir, f"checkpoint-{state.best_global_step}")) if state.best_global_step else None


class TimedCheckpoints(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint within an epoch whenever some time has passed since the last one."""

    def __init__(self, minutes: float) -> None:
        self._seconds, self._last = 60 * minutes, time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called before the first step, also of a resumed training; the Trainer keeps the checkpoint of this name."""
        state.best_model_checkpoint = best_checkpoint(args, state)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called after each step."""
        # The last step of an epoch is followed by the epoch's own checkpoint, which has its validation.
        within = state.global_step % (state.max_steps // state.num_train_epochs)
        if within and time.monotonic() - self._last >= self._seconds:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called after each checkpoint."""
        self._last = time.monotonic()


class ProgressReport(TrainerCallback):  # type: ignore[misc]
    """Reports how far training is.

    Args:
        report: called with the share that is done and a note.
        loss: gives the mean training loss of the epoch so far.
        batch_size: rows per step.
    """

    def __init__(self, report: Callable[[float | None, str], None], loss: Callable[[], float], batch_size: int) -> None:
        self._report, self._loss, self._batch_size = report, loss, batch_size
        self._first_step, self._started, self._last = 0, 0.0, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called before the first step, also of a resumed training."""
        self._first_step, self._started = state.global_step, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called after each step."""
        if self._is_due():
            rate = self._batch_size * (state.global_step - self._first_step) / (self._last - self._started)
            note = f"step {state.global_step:,} of {state.max_steps:,}, loss {self._loss():.4f}, {rate:,.0f} rows/s"
            self._report(state.global_step / state.max_steps, note)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called after each batch of a validation."""
        if state.max_steps and self._is_due():
            self._report(state.global_step / state.max_steps, f"validating after step {state.global_step:,}")

    def _is_due(self) -> bool:
        due = time.monotonic() - self._last >= REPORT_SECONDS
        if due:
            self._last = time.monotonic()
        return due
