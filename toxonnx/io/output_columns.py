"""The columns that ``predict`` adds to a file: which ones, their names and their values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from toxonnx.errors import InputError
from toxonnx.inference.scores import COLUMNS, Scores, probability_names

__all__ = ["COLUMNS", "OutputColumns"]


@dataclass(frozen=True)
class OutputColumns:
    """The columns to add, in order.

    Attributes:
        kinds: some of :data:`COLUMNS`.
        labels: label names.
        prefix: what their names start with.
        multi: whether several labels, or none, can apply to a row.
    """

    kinds: tuple[str, ...]
    labels: tuple[str, ...]
    prefix: str = ""
    multi: bool = False

    def nested_names(self, existing: Collection[str] = ()) -> list[str]:
        """One name per kind, for formats with nested values.

        Args:
            existing: the input's columns.

        Raises:
            InputError: the input has such a column.
        """
        return self._free([self.prefix + kind for kind in self.kinds], existing)

    def flat_names(self, existing: Collection[str] = ()) -> list[str]:
        """Like :meth:`nested_names`, with one name per label in place of ``probabilities``; see
        :func:`toxonnx.inference.scores.probability_names`."""
        names: list[str] = []
        for kind in self.kinds:
            of_kind = probability_names(self.labels) if kind == "probabilities" else [kind]
            names += [self.prefix + name for name in of_kind]
        return self._free(names, existing)

    def _free(self, names: list[str], existing: Collection[str]) -> list[str]:
        taken = [name for name in names if name in existing]
        if taken:
            example = "predicted_" if self.prefix != "predicted_" else "new_"
            raise InputError(
                f"the input already has the columns to be added: {', '.join(taken)}",
                f"Give them other names with --prefix, for example --prefix {example}; or score the original file.",
            )
        return names

    def values(self, scores: Scores) -> list[Any]:
        """The values of each kind, with one row per row of the scores.

        Labels are tuples of the names that apply; ``score`` is float64 [rows], ``probabilities`` float64 [rows,
        labels], ``error`` None for each row, and the others are bool [rows].
        """
        attributes = {"label": "label_names", "score": "top_scores", "review": "needs_review"}
        return [
            [None] * len(scores) if kind == "error" else getattr(scores, attributes.get(kind, kind))
            for kind in self.kinds
        ]
