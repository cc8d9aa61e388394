"""Epoch log: table on the terminal, JSON lines, plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["EpochTable", "best_epoch", "draw_curves", "epochs_of", "selection_score"]

#: a loss counts so little that it only decides between equal metrics; the largest that counts, in nats
LOSS_WEIGHT, LARGEST_LOSS = 1e-10, 1e3
_COLUMNS = ("training_loss", "validation_loss", "validation_accuracy", "validation_macro_f1")


def epochs_of(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record per epoch, from the Trainer's log history."""
    epochs: dict[int, dict[str, Any]] = {}
    for entry in history:
        if "loss" in entry or "eval_loss" in entry:
            record = epochs.setdefault(round(entry["epoch"]), {"epoch": round(entry["epoch"])})
            if "loss" in entry:
                record["training_loss"] = entry["loss"]
                record["learning_rate"] = entry.get("learning_rate")
            else:
                record |= {f"validation_{key}": entry[f"eval_{key}"] for key in ("accuracy", "macro_f1")}
                # The Trainer's own is a mean over batches, also over those in which less was judged.
                record["validation_loss"] = entry.get("eval_mean_loss", entry["eval_loss"])
    return [record for record in epochs.values() if all(column in record for column in _COLUMNS)]


def selection_score(metric: str, values: Mapping[str, float]) -> float:
    """The score by which the best epoch is chosen; higher is better, and of equal metrics, the lower loss is better.

    Args:
        metric: ``macro_f1``, ``accuracy`` or ``loss``.
        values: of ``metric`` and ``loss``, in nats.
    """
    loss = min(values["loss"], LARGEST_LOSS) if math.isfinite(values["loss"]) else LARGEST_LOSS
    return -loss if metric == "loss" else values[metric] - LOSS_WEIGHT * loss


def best_epoch(epochs: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    """The epoch with the best selection score; the first one of several."""
    return max(epochs, key=lambda epoch: _score(epoch, metric))


def _score(epoch: Mapping[str, Any], metric: str) -> float:
    return selection_score(metric, {name: epoch[f"validation_{name}"] for name in {metric, "loss"}})


class EpochTable:
    """Prints a header once and a row for each new epoch; a new best epoch is marked with a star."""

    def __init__(self, metric: str, log: Callable[[str], None]) -> None:
        self._metric, self._log = metric, log
        self._shown = 0

    def show(self, epochs: list[dict[str, Any]]) -> None:
        """Prints the epochs that were not printed yet."""
        if not self._shown:
            self._log("epoch  training loss  validation loss  accuracy  macro F1")
        for i in range(self._shown, len(epochs)):
            record = epochs[i]
            star = " *" if best_epoch(epochs[: i + 1], self._metric) is record else ""
            loss, validation, accuracy, f1 = (record[column] for column in _COLUMNS)
            self._log(f"{record['epoch']:5d}  {loss:13.4f}  {validation:15.4f}  {accuracy:8.4f}  {f1:8.4f}{star}")
        self._shown = len(epochs)


def draw_curves(epochs: list[dict[str, Any]], metric: str, path: Path) -> None:
    """Draws losses on the left, accuracy and macro F1 on the right, with the best epoch marked, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    x = [record["epoch"] for record in epochs]
    for axes, columns in ((left, _COLUMNS[:2]), (right, _COLUMNS[2:])):
        for column in columns:
            name = column.replace("_", " ").replace("macro f1", "macro F1")
            axes.plot(x, [record[column] for record in epochs], marker="o", label=name)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    best = best_epoch(epochs, metric)["epoch"]
    for axes in (left, right):
        axes.axvline(best, color="grey", linestyle="--", linewidth=1, label=f"best epoch ({best})")
        axes.legend(fontsize="small")
    left.set_ylabel("loss (nats)")
    figure.savefig(path, dpi=120)
