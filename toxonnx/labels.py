"""Label names in the model's order, and how its logits become decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toxonnx.errors import InputError

__all__ = ["ACTIVATIONS", "Labels"]

ACTIVATIONS = ("softmax", "sigmoid")


@dataclass(frozen=True)
class Labels:
    """The labels of a classifier.

    Attributes:
        names: label names, in the order of the model's logits.
        activation: ``softmax`` (one label a text) or ``sigmoid`` (any number of labels a text).
        thresholds: the probability from which each label holds; see :func:`toxonnx.inference.scores.decide`. Empty for
            ``softmax``: the likeliest label holds.
        temperature: what logits are divided by before they become probabilities.
    """

    names: tuple[str, ...]
    activation: str = "softmax"
    thresholds: tuple[float, ...] = ()
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation {self.activation!r} is none of {', '.join(ACTIVATIONS)}")
        if not self.names or (self.activation == "softmax" and len(self.names) < 2):
            raise InputError(f"{len(self.names)} labels are too few for {self.activation}")
        if len(set(self.names)) != len(self.names):
            raise InputError(f"label names repeat: {', '.join(self.names)}")
        if self.activation == "sigmoid" and not self.thresholds:
            object.__setattr__(self, "thresholds", (0.5,) * len(self.names))
        if self.thresholds and len(self.thresholds) != len(self.names):
            raise InputError(f"{len(self.thresholds)} thresholds for {len(self.names)} labels")
        # Written so that a NaN is refused.
        if not all(0 < threshold <= 1 for threshold in self.thresholds):
            raise InputError(f"thresholds have to be over 0 and at most 1: {self.thresholds}")
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"a temperature of {self.temperature} is none")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def multi(self) -> bool:
        """Whether a text may have several labels, or none."""
        return self.activation == "sigmoid"

    @property
    def can_abstain(self) -> bool:
        """Whether a text can fall under the thresholds of all labels of which it has to have one."""
        # Probabilities add up to 1: so do not all of them stay under thresholds that add up to less.
        return not self.multi and sum(self.thresholds) > 1 + 1e-9

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Labels:
        """Labels of a transformers ``config.json``; the ids must run from 0 without a gap."""
        table = {int(key): str(name) for key, name in (config.get("id2label") or {}).items()}
        if sorted(table) != list(range(len(table))) or not table:
            raise InputError(f"config.json: id2label does not number its labels from 0: {sorted(table)}")
        multi = config.get("problem_type") == "multi_label_classification"
        return cls(tuple(table[i] for i in range(len(table))), "sigmoid" if multi else "softmax")
