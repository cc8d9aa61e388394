"""The labels of a file: what they are, how many texts stand behind each, and which cannot be used."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.check.finding import LONGEST_LABEL, Finding, found, listing, plural, shown
from toxonnx.check.sheet import Sheet
from toxonnx.labels import Labels
from toxonnx.recipe import LabelSpec

__all__ = ["Classes", "class_findings", "count_classes", "read_classes"]

#: distinct texts of a class under which its figures mean nothing, and under which nothing can be measured
FEW, TOO_FEW = 10, 2
#: rows of the largest class for one of the smallest, from which it is said, and from which it is a warning
IMBALANCE = (10, 50)


@dataclass(frozen=True)
class Classes:
    """The labels of all rows of a file.

    Attributes:
        names: label names, in the model's order.
        multi: whether a row may have several.
        truth: int64 [rows] of label numbers, or int64 [rows, labels] of 0 and 1.
        known: bool [rows], whether the row's label can be used; ``truth`` means nothing where it cannot.
    """

    names: tuple[str, ...]
    multi: bool
    truth: NDArray[np.int64]
    known: NDArray[np.bool_]

    @property
    def labels(self) -> Labels | None:
        """The label set, under names that may be shown; None for a single class, which is none."""
        names = tuple(name if len(name) <= LONGEST_LABEL else f"(label {i})" for i, name in enumerate(self.names))
        return Labels(names, "sigmoid" if self.multi else "softmax") if self.multi or len(names) > 1 else None


def read_classes(sheet: Sheet, spec: LabelSpec, names: tuple[str, ...] | None = None) -> tuple[Classes, list[Finding]]:
    """Reads the labels of all rows as training would, and says what training would refuse.

    Args:
        sheet: the file.
        spec: where the labels stand.
        names: the label names to hold the file to (those of the training file, for a validation file).
    """
    return _several(sheet, spec) if spec.columns else _one(sheet, spec, names)


def _one(sheet: Sheet, spec: LabelSpec, names: tuple[str, ...] | None) -> tuple[Classes, list[Finding]]:
    raw = sheet.table.column(spec.column)
    values = [value.strip() for value in raw]
    wanted = names if names is not None else sorted({value for value in values if value})
    table = spec.names or {value: value for value in wanted}
    order = tuple(dict.fromkeys(table.values()))
    number = {value: order.index(name) for value, name in table.items()}
    truth = np.array([number.get(value, -1) for value in values], dtype=np.int64)
    lines, file = sheet.table.lines, sheet.file
    where = f"column {spec.column!r}"
    findings = []
    empty = [line for line, value in zip(lines, values, strict=True) if not value]
    if empty:
        findings.append(
            found(
                "empty-labels", "error", f"{len(empty):,} of {plural(len(values), 'row')} have no label in {where}",
                empty, file=file, advice="Label these rows or take them out; training stops at the first of them.",
            )
        )  # fmt: skip
    unknown = [(line, value) for line, value in zip(lines, values, strict=True) if value and value not in table]
    if unknown:
        counts = Counter(value for _, value in unknown)
        what = listing([f"{shown(value)} ({count:,})" for value, count in counts.most_common()])
        findings.append(
            found(
                "unknown-labels", "error",
                f"{len(unknown):,} of {plural(len(values), 'row')} have a label in {where} that is not known: {what}",
                [line for line, _ in unknown], file=file,
                advice="Mend these rows, or name the label in the recipe's labels.names." if spec.names
                else "Mend these rows, or give both files the same labels.",
            )
        )  # fmt: skip
    findings += _spellings(sheet, spec.column, raw)
    return Classes(order, False, truth, truth >= 0), findings


def _several(sheet: Sheet, spec: LabelSpec) -> tuple[Classes, list[Finding]]:
    cells = [[value.strip() for value in sheet.table.column(name)] for name in spec.columns]
    good = np.array([[value in {"0", "1"} for value in column] for column in cells], dtype=np.bool_).T
    truth = np.array([[value == "1" for value in column] for column in cells], dtype=np.int64).T
    known = np.asarray(good.all(axis=1))
    findings = []
    lines = np.array(sheet.table.lines)
    for i, name in enumerate(spec.columns):
        if not good[:, i].all():
            bad = lines[~good[:, i]].tolist()
            findings.append(
                found(
                    "unknown-labels", "error",
                    f"{len(bad):,} of {plural(len(known), 'row')} hold neither 0 nor 1 in column {name!r}", bad,
                    file=sheet.file, advice="Write 1 where the label holds and 0 where it does not.",
                )
            )  # fmt: skip
    return Classes(tuple(spec.columns), True, truth, known), findings


def _plain(value: str) -> str:
    """What stays of a label's spelling when case, space, hidden characters and a number's form do not count."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", value) if unicodedata.category(c) != "Cf")
    text = " ".join(visible.split()).casefold()
    try:
        return repr(float(text))  # 1 and 1.0: a table program has been here
    except ValueError:
        return text


def _spellings(sheet: Sheet, column: str, raw: Sequence[str]) -> list[Finding]:
    counts = Counter(raw)
    groups: dict[str, list[str]] = {}
    for value, _ in counts.most_common():
        if value.strip():
            groups.setdefault(_plain(value), []).append(value)
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        return []
    rare = {value for group in several for value in group[1:]}
    # White space around a label is taken off by training; what differs beyond it makes two classes of one.
    matters = any(len({value.strip() for value in group}) > 1 for group in several)
    what = "; ".join(", ".join(f"{shown(value)} ({counts[value]:,})" for value in group) for group in several[:10])
    return [
        found(
            "label-spellings", "error" if matters else "note",
            f"Labels of column {column!r} stand in several spellings: {what}",
            [line for line, value in zip(sheet.table.lines, raw, strict=True) if value in rare],
            count=len(several), file=sheet.file,
            advice="Spell each label in one way: every spelling becomes a class of its own." if matters
            else "Nothing has to be done: white space around a label does not count here.",
            details={"spellings": [{shown(value): counts[value] for value in group} for group in several]},
        )
    ]  # fmt: skip


def count_classes(classes: Classes, keys: Sequence[str], rows: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Rows, share and distinct texts of each label, among these rows.

    Args:
        classes: of all rows.
        keys: the folded text of each of ``rows``.
        rows: int64, positions in ``classes``.
    """
    result = []
    names = classes.labels.names if classes.labels else [shown(name, quote=False) for name in classes.names]
    for i, name in enumerate(names):
        held = classes.truth[rows, i] == 1 if classes.multi else classes.truth[rows] == i
        at = np.flatnonzero(held).tolist()
        share, distinct = len(at) / max(len(rows), 1), len({keys[j] for j in at})
        result.append({"name": name, "rows": len(at), "share": share, "distinct_texts": distinct})
    return result


def class_findings(counts: list[dict[str, Any]], *, multi: bool) -> list[Finding]:
    """Classes that are missing, too small to be measured, or far smaller than another."""
    findings = []
    for severity, low, high, advice in (
        ("error", 0, TOO_FEW, "Add texts of it, or leave the class out: it cannot stand on both sides of a split."),
        ("warning", TOO_FEW, FEW, "Add texts of it: one more right or wrong moves its figures by points."),
    ):
        small = [one for one in counts if low <= one["distinct_texts"] < high]
        if small:
            names = listing([f"{one['name']} ({one['distinct_texts']})" for one in small])
            what = "has" if len(small) == 1 else "have"
            findings.append(
                found(
                    "few-texts", severity,
                    f"{plural(len(small), 'class', 'classes')} {what} fewer than {high} distinct texts: {names}",
                    count=len(small), advice=advice, details={"classes": [one["name"] for one in small]},
                )
            )  # fmt: skip
    if not multi and sum(one["rows"] > 0 for one in counts) < 2:
        findings.append(
            found(
                "one-class", "error", "The labelled rows with a text are not of two classes",
                count=1, advice="A classifier needs rows of two classes at least.",
            )
        )  # fmt: skip
    rows = [one["rows"] for one in counts if one["rows"]]
    if rows and max(rows) >= IMBALANCE[0] * min(rows):
        times = max(rows) / min(rows)
        findings.append(
            found(
                "imbalance", "warning" if times >= IMBALANCE[1] else "note",
                f"The largest class has {times:.1f} times the rows of the smallest",
                count=1, advice="Watch macro F1 and the F1 of each class, not accuracy; weigh the classes in training.",
                details={"ratio": times},
            )
        )  # fmt: skip
    return findings
