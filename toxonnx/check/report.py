"""The report of a check. It contains label names, column names and line numbers, and never the text of a row."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from toxonnx.check.class_sizes import ClassSize
from toxonnx.check.column_predictors import ColumnResult
from toxonnx.check.finding import Finding
from toxonnx.check.kinds import SEVERITIES
from toxonnx.check.leaky_splits import SplitResult
from toxonnx.check.token_lengths import TokenLengths
from toxonnx.check.validation_file import ValidationResult

__all__ = ["CheckReport", "DuplicateCounts", "NearDuplicateCounts"]


@dataclass(frozen=True, kw_only=True)
class DuplicateCounts:
    """Duplicates in the report.

    Attributes:
        rows: rows that repeat the text of an earlier row.
        groups: texts with several rows.
        same_text_and_label: rows that repeat both text and label of an earlier row.
        identical_rows: rows that repeat an earlier row in every column.
        conflicting_texts: texts with conflicting labels.
        max_accuracy: see :class:`toxonnx.check.duplicates.Duplicates`.
        held_out_rows: held-out rows of a random split; None if none could be drawn.
        leaking_rows: how many of these have their text in the training set; None if no split could be drawn.
    """

    rows: int
    groups: int
    same_text_and_label: int
    identical_rows: int
    conflicting_texts: int
    max_accuracy: float
    held_out_rows: int | None
    leaking_rows: int | None


@dataclass(frozen=True)
class NearDuplicateCounts:
    """Near duplicates in the report; see :class:`toxonnx.check.near_duplicates.NearDuplicates`."""

    pairs: int
    compared: int
    too_short: int
    limitation: str


@dataclass(kw_only=True)
class CheckReport:
    """The report of a check, completed step by step by :func:`toxonnx.check.run.check`.

    Attributes:
        file: name of the file.
        rows: number of rows, readable or not.
        usable_rows: number of rows with a text and a usable label.
        blank_lines: number of blank lines.
        columns: column names.
        recipe: name of the recipe; empty without one.
        text_columns: names of the text columns.
        normalise: normalisation steps.
        label_columns: names of the label columns.
        multi_label: whether a text can have several labels.
        held_out_share: share of the rows in validation and test set together.
        seed: seed of the splits.
        classes: classes of the usable rows, in the model's order.
        distinct_texts: number of distinct usable texts.
        tokens: text lengths; None without texts.
        duplicates: None if memory was insufficient, or without usable rows.
        near_duplicates: as ``duplicates``.
        single_columns: how well each column predicts the label, best first.
        baselines: baseline scores by kind of split.
        validation: the validation file; None without one.
        limitations: what was skipped or sampled, and why.
        findings: problems, most severe first.
        seconds: duration of the check.
    """

    file: str
    rows: int
    usable_rows: int
    blank_lines: int
    columns: tuple[str, ...]
    recipe: str
    text_columns: tuple[str, ...]
    normalise: tuple[str, ...]
    label_columns: tuple[str, ...]
    multi_label: bool
    held_out_share: float
    seed: int
    classes: tuple[ClassSize, ...]
    distinct_texts: int
    tokens: TokenLengths | None = None
    duplicates: DuplicateCounts | None = None
    near_duplicates: NearDuplicateCounts | None = None
    single_columns: tuple[ColumnResult, ...] = ()
    baselines: tuple[SplitResult, ...] = ()
    validation: ValidationResult | None = None
    limitations: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    @contextlib.contextmanager
    def limited_by_memory(self, step: str) -> Iterator[None]:
        """Skips a step that runs out of memory, with a limitation."""
        try:
            yield
        except MemoryError:
            self.limitations.append(f"{step}: not enough memory")

    def counts(self) -> dict[str, int]:
        """Number of findings by severity."""
        counts = Counter(finding.severity for finding in self.findings)
        return {severity: counts[severity] for severity in SEVERITIES}

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "file": self.file,
            "rows": self.rows,
            "usable_rows": self.usable_rows,
            "blank_lines": self.blank_lines,
            "columns": list(self.columns),
            "recipe": self.recipe,
            "text_columns": list(self.text_columns),
            "normalise": list(self.normalise),
            "label_columns": list(self.label_columns),
            "multi_label": self.multi_label,
            "held_out_share": self.held_out_share,
            "seed": self.seed,
            "classes": [size.to_dict() for size in self.classes],
            "distinct_texts": self.distinct_texts,
            "tokens": self.tokens and self.tokens.to_dict(),
            "duplicates": self.duplicates and asdict(self.duplicates),
            "near_duplicates": self.near_duplicates and asdict(self.near_duplicates),
            "single_columns": [column.to_dict() for column in self.single_columns],
            "baselines": [result.to_dict() for result in self.baselines],
            "validation": self.validation and self.validation.to_dict(),
            "limitations": list(self.limitations),
            "findings": [finding.to_dict() for finding in self.findings],
            "counts": self.counts(),
            "seconds": self.seconds,
        }
