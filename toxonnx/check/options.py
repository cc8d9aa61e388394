"""What to check, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toxonnx.io.base import ReadOptions
from toxonnx.recipe import Recipe

__all__ = ["CheckOptions"]


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """What to check, and how.

    Attributes:
        data: the labelled file.
        recipe: gives the columns, maximum length, group and shares; without one, the options below do.
        text_columns: text columns; empty with a recipe.
        label_columns: one label column, or several columns of 0 and 1; empty with a recipe.
        group: group columns, in place of the recipe's ``split.group``.
        max_length: maximum tokens, in place of the recipe's.
        seed: seed of the splits, in place of the recipe's.
        validation: a second labelled file.
        reading: how to read both files.
        with_baseline: whether to train baselines.
    """

    data: Path
    recipe: Recipe | None = None
    text_columns: tuple[str, ...] = ()
    label_columns: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    max_length: int | None = None
    seed: int | None = None
    validation: Path | None = None
    reading: ReadOptions | None = None
    with_baseline: bool = True
