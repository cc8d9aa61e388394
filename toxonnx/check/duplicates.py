"""Rows with the same text: duplicates, and conflicting labels among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from toxonnx.check.finding import Finding, format_share, make_finding
from toxonnx.check.leaky_splits import Leakage
from toxonnx.wording import plural

__all__ = ["Duplicates", "duplicate_findings", "find_duplicates"]


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Rows whose folded text occurs in an earlier row.

    Attributes:
        rows: row numbers of all but the first row of each text.
        groups: number of texts with several rows.
        same_label: number of ``rows`` that repeat both text and label of an earlier row.
        identical: number of rows that repeat an earlier row in every column.
        conflicting_rows: row numbers of all rows of texts with conflicting labels.
        conflicting_texts: number of texts with conflicting labels.
        max_accuracy: upper bound of a case-insensitive model's accuracy, since it predicts the same label for the same
            text.
    """

    rows: list[int]
    groups: int
    same_label: int
    identical: int
    conflicting_rows: list[int]
    conflicting_texts: int
    max_accuracy: float


def find_duplicates(keys: Sequence[str], labels: Sequence[object], records: Sequence[object]) -> Duplicates:
    """Finds rows with the same text.

    Args:
        keys: the folded text of each row, at least one.
        labels: the label of each row, hashable.
        records: all fields of each row, hashable.
    """
    rows_of_text: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        rows_of_text.setdefault(key, []).append(i)
    repeated = [group for group in rows_of_text.values() if len(group) > 1]
    conflicting = [group for group in repeated if len({labels[i] for i in group}) > 1]
    correct = len(keys) - sum(map(len, conflicting)) + sum(_majority_count(labels, group) for group in conflicting)
    return Duplicates(
        rows=sorted(i for group in repeated for i in group[1:]),
        groups=len(repeated),
        same_label=len(keys) - len(set(zip(keys, labels, strict=True))),
        identical=len(records) - len(set(records)),
        conflicting_rows=sorted(i for group in conflicting for i in group),
        conflicting_texts=len(conflicting),
        max_accuracy=correct / len(keys),
    )


def _majority_count(labels: Sequence[object], group: list[int]) -> int:
    return max(Counter(labels[i] for i in group).values())


def duplicate_findings(
    duplicates: Duplicates, lines: Sequence[int], leakage: Leakage | None, *, grouped: bool
) -> list[Finding]:
    """Duplicates and conflicting labels.

    Args:
        duplicates: the duplicates.
        lines: line of each row.
        leakage: of a random split; None if none could be drawn.
        grouped: whether training keeps identical texts on one side of a split.
    """
    findings = []
    if duplicates.rows:
        leak_note = "no random split could be drawn to count leaking rows"
        if leakage:
            share = format_share(leakage.leaking_rows, leakage.held_out_rows, "held-out row")
            leak_note = f"in a random split, {share} would have their text in the training set"
        message = (
            f"{format_share(len(duplicates.rows), len(lines))} repeat the text of an earlier row, in "
            f"{plural(duplicates.groups, 'group')}; {duplicates.same_label:,} also repeat its label, "
            f"{duplicates.identical:,} the whole row; {leak_note}"
        )
        findings.append(
            make_finding(
                "duplicate-texts", message, [lines[i] for i in duplicates.rows],
                severity="note" if grouped else "warning",
                advice="No action needed: toxonnx train keeps identical texts on one side of a split."
                if grouped else None,
            )
        )  # fmt: skip
    if duplicates.conflicting_rows:
        message = (
            f"The same text has different labels, for {plural(duplicates.conflicting_texts, 'text')} in "
            f"{plural(len(duplicates.conflicting_rows), 'row')}; the accuracy of a case-insensitive model is at most "
            f"{duplicates.max_accuracy:.2%}"
        )
        findings.append(make_finding("conflicting-labels", message, [lines[i] for i in duplicates.conflicting_rows]))
    return findings
