"""Label names in the model's order, and how logits become decisions."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from toxonnx.errors import InputError

__all__ = ["ACTIVATIONS", "EVERY_LABEL", "Labels"]

ACTIVATIONS = ("softmax", "sigmoid")
#: in numbers per label, stands for the labels that are not named
EVERY_LABEL = "*"


@dataclass(frozen=True)
class Labels:
    """The labels of a classifier.

    Attributes:
        names: label names, in the order of the model's logits; not empty, and without ``|`` for ``sigmoid``, as it
            separates the labels of a text.
        activation: ``softmax`` (single-label) or ``sigmoid`` (multi-label, or a single label that applies or not).
        thresholds: the probability from which each label applies. Empty for ``softmax``: the most
            probable label applies.
        temperature: logits are divided by it before softmax or sigmoid, from 0.001 to 1000; 1 where calibration is
            part of the graph.
    """

    names: tuple[str, ...]
    activation: str = "softmax"
    thresholds: tuple[float, ...] = ()
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {self.activation!r}")
        if not self.names or (self.activation == "softmax" and len(self.names) < 2):
            raise InputError(f"{len(self.names)} labels are too few for {self.activation}")
        if not all(self.names):
            raise InputError(f"label names must not be empty, got {self.names}", "Give every label a name.")
        if self.multi and (ambiguous := [name for name in self.names if "|" in name]):
            what = f"the labels of a text are joined by |, which must not be part of a name: {ambiguous[0]!r}"
            raise InputError(what, "Rename the label.")
        if len(set(self.names)) != len(self.names):
            raise InputError(f"label names must be unique, got {', '.join(self.names)}")
        if self.activation == "sigmoid" and not self.thresholds:
            object.__setattr__(self, "thresholds", (0.5,) * len(self.names))
        if self.thresholds and len(self.thresholds) != len(self.names):
            raise InputError(f"{len(self.thresholds)} thresholds for {len(self.names)} labels")
        # Written so that NaN fails.
        if not all(0 < threshold <= 1 for threshold in self.thresholds):
            raise InputError(f"thresholds must be greater than 0 and at most 1, got {self.thresholds}")
        if not 1e-3 <= self.temperature <= 1e3:
            raise InputError(f"temperature must be between 0.001 and 1000, got {self.temperature}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def multi(self) -> bool:
        """Whether a text can have several labels, or none."""
        return self.activation == "sigmoid"

    @property
    def can_abstain(self) -> bool:
        """Whether a text of a single-label model can be below all thresholds."""
        # Probabilities sum to 1, so they cannot all be below thresholds that sum to less.
        return not self.multi and sum(self.thresholds) > 1 + 1e-9

    def without(self, left_out: Collection[str]) -> Labels:
        """The labels except some.

        Raises:
            InputError: the model is single-label, one of them is not a label, or none remains.
        """
        if not left_out:
            return self
        if not self.multi:
            raise InputError(
                "leave_out: only a multi-label model can be exported without some of its labels; in a single-label "
                "model, the probabilities of the others would change",
                "Train it without this class, or keep the class.",
            )
        if unknown := [name for name in dict.fromkeys(left_out) if name not in self.names]:
            raise InputError(
                f"leave_out: the model has no label {', '.join(unknown)}", f"Its labels are {', '.join(self.names)}."
            )
        kept = [i for i, name in enumerate(self.names) if name not in left_out]
        if not kept:
            raise InputError("leave_out names all labels of the model", "Keep one or more of them.")
        return dataclasses.replace(
            self,
            names=tuple(self.names[i] for i in kept),
            thresholds=tuple(self.thresholds[i] for i in kept),
        )

    def with_thresholds(self, thresholds: Mapping[str, float]) -> Labels:
        """The labels with other thresholds.

        Args:
            thresholds: label name -> threshold; labels that are not named get that of ``*``, or keep theirs.

        Raises:
            InputError: one is not of a label or out of range, or a label of a single-label model would have none.
        """
        if unknown := [name for name in thresholds if name not in (*self.names, EVERY_LABEL)]:
            raise InputError(
                f"thresholds: the model has no label {', '.join(unknown)}", f"Its labels are {', '.join(self.names)}."
            )
        own = dict(zip(self.names, self.thresholds, strict=False))  # a single-label model may have none
        if EVERY_LABEL in thresholds:
            own = dict.fromkeys(self.names, thresholds[EVERY_LABEL])
        chosen = own | {name: threshold for name, threshold in thresholds.items() if name != EVERY_LABEL}
        if thresholds and (missing := [name for name in self.names if name not in chosen]):
            what = f"thresholds: a single-label model needs one for each label; {', '.join(missing)} would have none"
            raise InputError(what, "Give one for all labels, or for each.")
        return dataclasses.replace(self, thresholds=tuple(chosen[name] for name in self.names if name in chosen))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Labels:
        """Labels of a transformers ``config.json``; a single one has a sigmoid, as in transformers.

        Raises:
            InputError: the ids in ``id2label`` are not 0, 1, 2, ..., or other entries contradict it, or the model is a
                regression.
        """
        table = config.get("id2label")
        if not isinstance(table, Mapping) or not table:
            raise InputError("config.json: id2label must be an object with a name for each label")
        names = {str(key): str(name) for key, name in table.items()}
        ids = [str(number) for number in range(len(names))]
        if set(names) != set(ids):
            raise InputError(f"config.json: the ids in id2label must be 0, 1, 2, ..., got {', '.join(names)[:60]}")
        if config.get("num_labels", len(names)) != len(names):
            raise InputError(f"config.json: num_labels is {config['num_labels']}, but id2label has {len(names)} labels")
        other_ids = config.get("label2id")
        for number, name in names.items():
            if isinstance(other_ids, Mapping) and str(other_ids.get(name, number)) != number:
                raise InputError(
                    f"config.json: label {name} is number {number} in id2label, but {other_ids[name]} in label2id"
                )
        kind = config.get("problem_type")
        if kind == "regression":
            raise InputError(
                "config.json: problem_type is regression, so the model predicts numbers, not labels",
                "If it was trained with binary cross-entropy, remove problem_type.",
            )
        sigmoid = kind == "multi_label_classification" or len(names) == 1
        return cls(tuple(names[number] for number in ids), "sigmoid" if sigmoid else "softmax")
