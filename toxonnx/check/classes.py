"""The labels of a file: what they are, how many texts stand behind each, and which cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.check.finding import Finding, format_share, listing, make_finding, plural
from toxonnx.check.raw_table import Sheet
from toxonnx.check.values import Values, spelling_findings
from toxonnx.labels import Labels
from toxonnx.recipe import LabelSpec

__all__ = ["Classes", "class_findings", "class_shifts", "count_classes", "lone_labels", "read_classes"]

#: distinct texts of a class under which its metrics mean nothing
SMALL_BATCH = 10
#: rows of the largest class for one of the smallest, from which it is said, and from which it is a warning
IMBALANCE = (10, 50)
#: difference of a class's share between two files from which it is said
SHIFT = 0.1


@dataclass(frozen=True)
class Classes:
    """The labels of all rows of a file.

    Attributes:
        names: label names, in the model's order.
        shown: these as they may be shown.
        multi: whether a row may have several.
        y_true: int64 [rows] of label numbers, or int64 [rows, labels] of 0 and 1.
        known: bool [rows], whether the row's label can be used; ``y_true`` means nothing where it cannot.
        sure: values of the label column that are labels and no texts.
    """

    names: tuple[str, ...]
    shown: tuple[str, ...]
    multi: bool
    y_true: NDArray[np.int64]
    known: NDArray[np.bool_]
    sure: frozenset[str]

    @property
    def labels(self) -> Labels | None:
        """The label set, under names that may be shown; None for a single class, which is none."""
        if not self.multi and len(self.shown) < 2:
            return None
        return Labels(self.shown, "sigmoid" if self.multi else "softmax")

    def members(self, rows: NDArray[np.int64]) -> list[list[int]]:
        """For each label, which of these rows have it, as positions in ``rows``."""
        held = self.y_true[rows]
        columns = held.T == 1 if self.multi else [held == i for i in range(len(self.names))]
        return [np.flatnonzero(column).tolist() for column in columns]


def read_classes(sheet: Sheet, spec: LabelSpec, data: Classes | None = None) -> tuple[Classes, list[Finding]]:
    """Reads the labels of all rows as training would, and says what training would refuse.

    Args:
        sheet: the file.
        spec: where the labels stand.
        data: what the file to train on holds, for a validation file.
    """
    return _several(sheet, spec, data) if spec.columns else _one(sheet, spec, data)


def _one(sheet: Sheet, spec: LabelSpec, data: Classes | None) -> tuple[Classes, list[Finding]]:
    values = Values(sheet.column(spec.column), sheet.table.lines, spec.names)
    table = spec.names or {value: value for value in (data.names if data else sorted(values.counts))}
    order = tuple(dict.fromkeys(table.values()))
    number = {value: order.index(name) for value, name in table.items()}
    y_true = np.array([number.get(value, -1) for value in values.stripped], dtype=np.int64)
    where = f"column {sheet.names[spec.column]!r}"
    findings = []
    empty = values.lines_of({""})
    if empty:
        findings.append(
            make_finding(
                "empty-labels", "error", f"{format_share(len(empty), len(y_true))} have no label in {where}",
                empty, file=sheet.file,
                advice="Label these rows or take them out; training stops at the first of them.",
            )
        )  # fmt: skip
    unknown = [value for value, _ in values.counts.most_common() if value not in table]
    if unknown:
        what = listing([f"{values.shown(value)} ({values.counts[value]:,})" for value in unknown])
        lines = values.lines_of(set(unknown))
        advice = "Mend these rows, or name the label in the recipe's labels.names."
        findings.append(
            make_finding(
                "unknown-labels", "error",
                f"{format_share(len(lines), len(y_true))} have a label in {where} that is not known: {what}",
                lines, file=sheet.file, advice=advice,
            ) if spec.names else make_finding(
                "lone-labels", "error", f"Labels that stand in {sheet.file} alone: {what}", lines, count=len(unknown),
                file=sheet.file, advice="A model cannot learn a label that it is not shown.",
            )
        )  # fmt: skip
    findings += spelling_findings(values, where, sheet.file)
    shown = order if spec.names else data.shown if data else tuple(values.shown(one, quote=False) for one in order)
    sure = frozenset(value for value in values.counts if values.may_be_shown(value))
    return Classes(order, shown, False, y_true, y_true >= 0, sure), findings


def _several(sheet: Sheet, spec: LabelSpec, data: Classes | None) -> tuple[Classes, list[Finding]]:
    cells = [[value.strip() for value in sheet.column(name)] for name in spec.columns]
    good = np.array([[value in {"0", "1"} for value in column] for column in cells], dtype=np.bool_).T
    y_true = np.array([[value == "1" for value in column] for column in cells], dtype=np.int64).T
    findings = []
    lines = np.array(sheet.table.lines)
    for i, name in enumerate(spec.columns):
        where = f"column {sheet.names[name]!r}"
        if not good[:, i].all():
            bad = lines[~good[:, i]].tolist()
            floats = {"0.0", "1.0"} & set(cells[i])
            findings.append(
                make_finding(
                    "unknown-labels", "error", f"{format_share(len(bad), len(y_true))} hold neither 0 nor 1 in {where}", bad,
                    file=sheet.file,
                    advice="Write 1 and 0, not 1.0 and 0.0: a table program has made numbers with a point of them."
                    if floats else "Write 1 where the label holds and 0 where it does not.",
                )
            )  # fmt: skip
        if data is None and set(cells[i]) == {"1"}:  # a label that no row has is one of few texts
            findings.append(
                make_finding(
                    "one-class", "error", f"All rows have 1 in {where}", count=1,
                    advice="Leave the label out, or add rows that do not have it: training refuses it so.",
                )
            )  # fmt: skip
    names = tuple(sheet.names[name] for name in spec.columns)
    return Classes(spec.columns, names, True, y_true, np.asarray(good.all(axis=1)), frozenset("01")), findings


def count_classes(classes: Classes, keys: Sequence[str], rows: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Rows, share and distinct texts of each label, among these rows.

    Args:
        classes: of all rows.
        keys: the folded text of each of ``rows``.
        rows: int64, positions in ``classes``.
    """
    return [
        {
            "name": name, "rows": len(at), "share": len(at) / max(len(rows), 1),
            "distinct_texts": len({keys[i] for i in at}),
        }
        for name, at in zip(classes.shown, classes.members(rows), strict=True)
    ]  # fmt: skip


def class_findings(
    counts: list[dict[str, Any]], members: list[list[int]], lines: Sequence[int], *, multi: bool, needed: int,
    file: str = "",
) -> list[Finding]:  # fmt: skip
    """Classes that are missing, too small to be measured, or far smaller than another.

    Args:
        counts: of :func:`count_classes`.
        members: positions of each class's rows in ``lines``.
        lines: line of each row.
        multi: whether a row may have several labels.
        needed: distinct texts that training refuses to go without, of each class.
        file: name of the validation file, if it is this.
    """
    findings = []
    needed = min(needed, 1) if multi else needed
    small = [i for i, one in enumerate(counts) if one["distinct_texts"] < max(SMALL_BATCH, needed)]
    if file:  # what is not there at all is a label that stands in the data alone
        small = [i for i in small if counts[i]["rows"]]
    refused = [i for i in small if counts[i]["distinct_texts"] < needed and not file]
    for severity, limit, some, advice in (
        ("error", needed, refused, f"Add texts of it or leave the class out: training needs {needed} at least."),
        ("warning", SMALL_BATCH, [i for i in small if i not in refused],
         "Add texts of it: one more right or wrong moves its metrics by points."),
    ):  # fmt: skip
        if some:
            names = listing([f"{counts[i]['name']} ({counts[i]['distinct_texts']})" for i in some])
            what = "has" if len(some) == 1 else "have"
            texts = "no text" if limit == 1 else f"fewer than {limit} distinct texts"
            findings.append(
                make_finding(
                    "few-texts", severity, f"{plural(len(some), 'class', 'classes')} {what} {texts}: {names}",
                    [lines[at] for i in some for at in members[i]], count=len(some), advice=advice, file=file,
                    details={"classes": [counts[i]["name"] for i in some]},
                )
            )  # fmt: skip
    if not multi and sum(one["rows"] > 0 for one in counts) < 2:
        findings.append(
            make_finding(
                "one-class", "warning" if file else "error", "The labelled rows with a text are not of two classes",
                count=1, advice="A classifier needs rows of two classes at least.", file=file,
            )
        )  # fmt: skip
    return findings + ([] if file else _imbalance([one["rows"] for one in counts if one["rows"]]))


def _imbalance(rows: list[int]) -> list[Finding]:
    times = max(rows) / min(rows) if rows else 0.0
    if times < IMBALANCE[0]:
        return []
    return [
        make_finding(
            "imbalance", "warning" if times >= IMBALANCE[1] else "note",
            f"The largest class has {times:.1f} times the rows of the smallest", count=1,
            advice="Watch macro F1 and the F1 of each class, not accuracy; weigh the classes in training.",
            details={"ratio": times},
        )
    ]  # fmt: skip


def lone_labels(
    data: list[dict[str, Any]], held: list[dict[str, Any]], places: tuple[list[list[int]], list[list[int]]], file: str
) -> list[Finding]:
    """Labels that stand in one of two files only.

    Args:
        data, held: of :func:`count_classes`, for each file.
        places: for each file, the lines of each class.
        file: name of the validation file.
    """
    findings = []
    for one, other, lines, of, severity, what, advice in (
        (held, data, places[1], file, "error", f"stand in {file} alone",
         "A model cannot learn a label that it is not shown."),
        (data, held, places[0], "", "warning", f"do not stand in {file}",
         f"Add rows of it to {file}: nothing says how well a model tells it."),
    ):  # fmt: skip
        only = [i for i in range(len(one)) if one[i]["rows"] and not other[i]["rows"]]
        if only:
            findings.append(
                make_finding(
                    "lone-labels", severity, f"Labels that {what}: {listing([one[i]['name'] for i in only])}",
                    [line for i in only for line in lines[i]], count=len(only), file=of, advice=advice,
                )
            )  # fmt: skip
    return findings


def class_shifts(data: list[dict[str, Any]], held: list[dict[str, Any]], file: str) -> list[Finding]:
    """Classes whose share in the validation file is far from their share in the data."""
    shifts = [
        (one["name"], one["share"], other["share"])
        for one, other in zip(data, held, strict=True)
        if abs(one["share"] - other["share"]) > SHIFT
    ]
    if not shifts:
        return []
    what = listing([f"{name} {before:.1%} and {after:.1%}" for name, before, after in shifts])
    return [
        make_finding(
            "class-shift", "note",
            f"The share of {plural(len(shifts), 'class', 'classes')} is more than {100 * SHIFT:.0f} points apart "
            f"in the data and {file}: {what}",
            count=len(shifts), file=file,
            advice="Find out which of the two is like the texts that the model will read; accuracy depends on it.",
        )
    ]  # fmt: skip
