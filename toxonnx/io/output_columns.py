"""The columns that ``predict`` adds to a file: which ones, their names and their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from toxonnx.errors import InputError
from toxonnx.inference.scores import Scores

__all__ = ["COLUMNS", "OutputColumn", "OutputColumns"]

#: what can be added; ``probabilities`` is one column per label
COLUMNS = ("label", "score", "probabilities", "review", "truncated", "no_tokens", "repaired")
#: prefixes for the names of probabilities and of other columns, where the names without one are taken
_PREFIXES = (("", ""), ("predicted_", "predicted_"), ("probability_", "predicted_"))


class OutputColumn(NamedTuple):
    """A column: one of :data:`COLUMNS`, and its name in the header."""

    kind: str
    name: str


@dataclass(frozen=True)
class OutputColumns:
    """The columns to add, in order; those of the probabilities are next to each other."""

    columns: tuple[OutputColumn, ...]

    @classmethod
    def choose(cls, kinds: Sequence[str], labels: Sequence[str], existing: Sequence[str] = ()) -> OutputColumns:
        """Names columns, with a prefix where the name without one would repeat a column of the input.

        Args:
            kinds: some of :data:`COLUMNS`, in order.
            labels: label names.
            existing: the input's columns.

        Raises:
            InputError: the input has columns with the prefixed names, too.
        """
        for probability_prefix, prefix in _PREFIXES:
            added = cls(
                tuple(
                    column
                    for kind in kinds
                    for column in (
                        [OutputColumn(kind, probability_prefix + label) for label in labels]
                        if kind == "probabilities"
                        else [OutputColumn(kind, prefix + kind)]
                    )
                )
            )
            taken = set(added.names) & set(existing)
            if not taken and len(set(added.names)) == len(added.names):
                return added
        raise InputError(
            f"the file already has columns with the names to be added: {', '.join(sorted(taken))}",
            "It may have been scored before; rename these columns, or score the original.",
        )

    @property
    def names(self) -> list[str]:
        """The names, in order."""
        return [column.name for column in self.columns]

    def values(self, scores: Scores) -> list[list[Any]]:
        """The values of each column: tuples of the labels that apply, probabilities, and flags."""
        values: list[list[Any]] = []
        for kind in dict.fromkeys(column.kind for column in self.columns):
            match kind:
                case "label":
                    values.append(scores.label_names)
                case "score":
                    values.append(scores.top_scores.tolist())
                case "probabilities":
                    values += scores.probabilities.T.tolist()
                case "review":
                    values.append(scores.needs_review.tolist())
                case flag:
                    values.append(getattr(scores, flag).tolist())
        return values
