"""Epoch log: table on the terminal, JSON lines, plot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["EpochTable", "best_epoch", "draw_curves", "epochs_of"]

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
                record |= {f"validation_{key}": entry[f"eval_{key}"] for key in ("loss", "accuracy", "macro_f1")}
    return [record for record in epochs.values() if all(column in record for column in _COLUMNS)]


def best_epoch(epochs: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    """The epoch with the best value of a validation metric; the first one of several."""
    sign = -1 if metric == "loss" else 1
    return max(epochs, key=lambda epoch: sign * epoch[f"validation_{metric}"])


class EpochTable:
    """Prints a header once and a row for each new epoch; a new best epoch is marked with a star."""

    def __init__(self, metric: str, log: Callable[[str], None]) -> None:
        self._key, self._sign, self._log = f"validation_{metric}", -1 if metric == "loss" else 1, log
        self._shown = 0

    def show(self, epochs: list[dict[str, Any]]) -> None:
        """Prints the epochs that were not printed yet."""
        if not self._shown:
            self._log("epoch  training loss  validation loss  accuracy  macro F1")
        for i in range(self._shown, len(epochs)):
            record = epochs[i]
            values = [self._sign * epoch[self._key] for epoch in epochs[: i + 1]]
            star = " *" if values[-1] == max(values) and values.count(values[-1]) == 1 else ""
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
