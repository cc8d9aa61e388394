"""Training settings that a recipe may leave open: good values depend on the method and on the number of rows."""

from __future__ import annotations

import math

from toxonnx.recipe import Training

__all__ = ["epochs_and_learning_rate"]

#: method -> peak learning rate
LEARNING_RATES = {"lora": 1e-3, "full": 1e-4}
#: what a new head needs, however few rows there are
MIN_STEPS = 350
MIN_EPOCHS, MAX_EPOCHS = 3, 20


def epochs_and_learning_rate(training: Training, method: str, rows: int) -> tuple[int, float]:
    """Epochs at most, and the peak learning rate; those of the recipe where it has them.

    The others were chosen by ``benchmarks/defaults.py``.

    Args:
        training: of the recipe.
        method: ``lora`` or ``full``.
        rows: number of rows to train on.
    """
    epochs = math.ceil(MIN_STEPS / math.ceil(rows / training.batch_size))
    return (
        training.epochs or min(max(epochs, MIN_EPOCHS), MAX_EPOCHS),
        training.learning_rate or LEARNING_RATES[method],
    )
