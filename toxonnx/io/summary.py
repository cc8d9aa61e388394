"""Counts over the rows of a file that were scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["Summary"]


@dataclass
class Summary:
    """Counts over the rows that were read.

    Attributes:
        rows: rows scored.
        rejected: rows that could not be scored, by :class:`toxonnx.io.rejects.ErrorType`.
        position: the last record's ``end_position``.
        seconds: since the start.
        truncated: rows whose text was truncated to the maximum length.
        no_tokens: rows whose text has no token that the model knows, scored as an empty text.
        repaired: rows in whose text lone surrogates were replaced.
        cached: rows that reused the scores of an identical text.
        early: rows that the first stage of a cascade answered.
        review: rows marked for review.
        labels: rows with each label.
    """

    rows: int = 0
    position: int = 0
    seconds: float = 0.0
    truncated: int = 0
    no_tokens: int = 0
    repaired: int = 0
    cached: int = 0
    early: int = 0
    review: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    @classmethod
    def from_plain(cls, table: dict[str, Any]) -> Summary:
        """The reverse of :func:`vars`, after JSON."""
        return cls(**{**table, "labels": Counter(table["labels"]), "rejected": Counter(table["rejected"])})

    def copy(self) -> Summary:
        """The counts so far."""
        return self.from_plain(vars(self))

    @classmethod
    def total(cls, parts: Iterable[Summary]) -> Summary:
        """The counts over all parts."""
        total = cls()
        for part in parts:
            total.add(part)
        return total

    def add(self, other: Summary) -> None:
        """Adds the counts of another file, and takes its position."""
        for one in fields(self):
            if one.name != "position":
                setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        self.position = other.position
