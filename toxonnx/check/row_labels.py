"""Reads the labels of all rows of a file, and reports those that training would refuse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toxonnx.check.finding import Finding, format_names, format_share, make_finding
from toxonnx.check.label_values import LabelValues, spelling_findings
from toxonnx.check.raw_table import RawTable
from toxonnx.data.label_values import (
    MISSING,
    UNKNOWN,
    class_names,
    look_like_scores,
    read_classes,
    read_flags,
    reads_decimals,
)
from toxonnx.labels import Labels
from toxonnx.recipe import LabelSpec

__all__ = ["RowLabels", "read_labels"]


@dataclass(frozen=True, kw_only=True)
class RowLabels:
    """The labels of all rows of a file.

    Attributes:
        names: label names, in the model's order.
        display_names: the names to show, which never are texts.
        multi: whether a row can have several labels.
        y_true: int64 [rows] of label indices, or int64 [rows, labels] of 0, 1 and
            :data:`toxonnx.data.label_values.MISSING`.
        valid: bool [rows], whether the row has a usable label; ``y_true`` is undefined for the others.
        certain: values of the label column that are certainly labels, not texts.
    """

    names: tuple[str, ...]
    display_names: tuple[str, ...]
    multi: bool
    y_true: NDArray[np.int64]
    valid: NDArray[np.bool_]
    certain: frozenset[str]

    @property
    def labels(self) -> Labels | None:
        """The label set, with names that may be shown and that training accepts; None if there is only one class."""
        if not self.multi and len(self.display_names) < 2:
            return None
        names = (
            f"label {i}" if _refused(name, multi=self.multi) else name for i, name in enumerate(self.display_names, 1)
        )
        return Labels(tuple(names), "sigmoid" if self.multi else "softmax")

    def known_counts(self, rows: NDArray[np.int64]) -> list[int]:
        """For each label, the number of ``rows`` (int64 row numbers) in which it was judged."""
        if not self.multi:
            return [len(rows)] * len(self.names)
        return [int(count) for count in (self.y_true[rows] >= 0).sum(axis=0)]

    def members(self, rows: NDArray[np.int64]) -> list[list[int]]:
        """For each label, the positions in ``rows`` (int64 row numbers) of the rows that have it."""
        y_true = self.y_true[rows]
        masks = y_true.T == 1 if self.multi else [y_true == i for i in range(len(self.names))]
        return [np.flatnonzero(mask).tolist() for mask in masks]


def read_labels(table: RawTable, spec: LabelSpec, training: RowLabels | None = None) -> tuple[RowLabels, list[Finding]]:
    """Reads the labels of all rows as training does.

    Args:
        table: the file.
        spec: the label columns.
        training: labels of the training file, if ``table`` is a validation file.
    """
    return _read_multi_label(table, spec, training) if spec.columns else _read_single_label(table, spec, training)


def _read_single_label(table: RawTable, spec: LabelSpec, training: RowLabels | None) -> tuple[RowLabels, list[Finding]]:
    values = LabelValues(table.column(spec.column), table.table.lines, spec.names)
    if spec.names or training:
        names = spec.names or {name: name for name in (training.names if training else ())}
    else:
        names = class_names(values.stripped, spec.threshold)
    order = tuple(dict.fromkeys(names.values()))
    y_true = read_classes(values.stripped, names, spec.threshold)
    where = f"column {table.display_names[spec.column]!r}"
    findings = _missing_findings(table, spec, y_true == MISSING, where)
    number_of = dict(zip(values.stripped, y_true.tolist(), strict=True))
    unknown = [value for value, _ in values.counts.most_common() if number_of[value] == UNKNOWN]
    if unknown and spec.threshold is not None:
        lines = values.lines_of(set(unknown))
        message = f"{format_share(len(lines), len(y_true))} have no number in {where}, but labels.threshold is set"
        findings.append(make_finding("unknown-labels", message, lines, file=table.file, advice="Fix these rows."))
    elif unknown:
        listing = format_names([f"{values.display(value)} ({values.counts[value]:,})" for value in unknown])
        lines = values.lines_of(set(unknown))
        if spec.names:
            share = format_share(len(lines), len(y_true))
            message = f"{share} have a label in {where} that is not in the recipe: {listing}"
            findings.append(make_finding("unknown-labels", message, lines, file=table.file))
        else:
            message = f"Labels that occur only in {table.file}: {listing}"
            findings.append(make_finding("unseen-labels", message, lines, count=len(unknown), file=table.file))
    if spec.threshold is None:
        findings += _number_findings(values.stripped, where, table.file, names, named=bool(spec.names or training))
        findings += spelling_findings(values, where, table.file)
    if spec.names or spec.threshold is not None:
        display_names = order
    elif training:
        display_names = training.display_names
    else:
        display_names = tuple(values.display(name, quote=False) for name in order)
    certain = frozenset(value for value in values.counts if values.may_be_shown(value))
    row_labels = RowLabels(
        names=order, display_names=display_names, multi=False, y_true=y_true, valid=y_true >= 0, certain=certain
    )
    return row_labels, findings + _name_findings(display_names, table.file, multi=False)


def _read_multi_label(table: RawTable, spec: LabelSpec, training: RowLabels | None) -> tuple[RowLabels, list[Finding]]:
    y_true = np.stack([read_flags(table.column(name), spec.threshold) for name in spec.columns], axis=1)
    unlabelled = (y_true == MISSING).all(axis=1)
    columns = format_names([repr(table.display_names[name]) for name in spec.columns])
    findings = _missing_findings(table, spec, unlabelled, f"any of the columns {columns}")
    lines = np.array(table.table.lines)
    for i, name in enumerate(spec.columns):
        where = f"column {table.display_names[name]!r}"
        invalid = lines[y_true[:, i] == UNKNOWN].tolist()
        if invalid:
            wanted = "a value other than 0 and 1" if spec.threshold is None else "no number"
            message = f"{format_share(len(invalid), len(y_true))} have {wanted} in {where}"
            advice = "Write 1 if the label applies, else 0; for scores, set labels.threshold in the recipe."
            findings.append(make_finding("unknown-labels", message, invalid, file=table.file, advice=advice))
        # A label without any row is reported as a small class.
        if training is None and set(y_true[:, i].tolist()) - {MISSING} == {1}:
            advice = "Remove the label, or add rows without it; training refuses a label that every row has."
            findings.append(
                make_finding(
                    "single-class", f"All rows with a label have 1 in {where}", severity="error", count=1, advice=advice
                )
            )
    row_labels = RowLabels(
        names=spec.columns, display_names=tuple(table.display_names[name] for name in spec.columns), multi=True,
        y_true=y_true, valid=(y_true != UNKNOWN).all(axis=1) & ~unlabelled, certain=frozenset("01"),
    )  # fmt: skip
    return row_labels, findings + _name_findings(row_labels.display_names, table.file, multi=True)


def _refused(name: str, *, multi: bool) -> bool:
    """Whether training refuses the name of a label."""
    return "\n" in name or "\r" in name or (multi and "|" in name)


def _name_findings(names: Sequence[str], file: str, *, multi: bool) -> list[Finding]:
    if not (refused := [name for name in names if _refused(name, multi=multi)]):
        return []
    listing = format_names([repr(name) for name in refused])
    message = f"Training refuses these names of labels: {listing}"
    return [make_finding("label-names", message, count=len(refused), file=file)]


def _missing_findings(table: RawTable, spec: LabelSpec, missing: NDArray[np.bool_], where: str) -> list[Finding]:
    if not missing.any():
        return []
    lines = np.array(table.table.lines)[missing].tolist()
    message = f"{format_share(len(lines), len(missing))} have no label in {where}"
    if spec.missing == "drop":
        advice = 'Training leaves them out, as the recipe asks (labels.missing = "drop").'
        return [make_finding("empty-labels", message, lines, severity="note", file=table.file, advice=advice)]
    return [make_finding("empty-labels", message, lines, severity="error", file=table.file)]


def _number_findings(
    values: Sequence[str], where: str, file: str, names: Iterable[str], *, named: bool
) -> list[Finding]:
    """A column of scores in place of classes, and whole numbers with decimals."""
    if not named and look_like_scores(values):
        message = f"The values of {where} look like scores, not classes: {len(set(values)):,} different numbers"
        return [make_finding("score-labels", message, count=1, file=file)]
    if reads_decimals(values, names):
        message = f"The whole numbers in {where} have decimals: 1.0 is read as 1"
        return [make_finding("decimal-labels", message, count=1, file=file)]
    return []
