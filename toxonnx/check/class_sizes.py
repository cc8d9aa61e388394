"""The sizes of the classes: too small, imbalanced, or different in the training and validation file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.check.finding import Finding, format_names, make_finding
from toxonnx.check.row_labels import RowLabels
from toxonnx.wording import plural

__all__ = ["ClassSize", "class_findings", "count_classes", "label_shift_findings", "one_file_label_findings"]

#: metrics of a class with fewer distinct texts mean little
SMALL_CLASS = 10
#: rows of the largest class per row of the smallest that make class imbalance a note, and a warning
IMBALANCE_NOTE, IMBALANCE_WARNING = 10, 50
#: difference of a class's share between two files that is reported
SHIFT = 0.1


@dataclass(frozen=True)
class ClassSize:
    """Size of a class.

    Attributes:
        name: label name as it may be shown.
        rows: number of rows.
        share: share of the rows in which it was judged.
        distinct_texts: number of distinct texts.
        known: number of rows in which it was judged; None for all.
    """

    name: str
    rows: int
    share: float
    distinct_texts: int
    known: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def count_classes(labels: RowLabels, keys: Sequence[str], rows: NDArray[np.int64]) -> list[ClassSize]:
    """Counts the rows and distinct texts of each label.

    Args:
        labels: of all rows of the file.
        keys: the folded text of each of ``rows``.
        rows: int64 row numbers to count.
    """
    return [
        ClassSize(
            name,
            len(members),
            len(members) / max(known, 1),
            len({keys[i] for i in members}),
            known if known < len(rows) else None,
        )
        for name, members, known in zip(
            labels.display_names, labels.members(rows), labels.known_counts(rows), strict=True
        )
    ]


def class_findings(
    sizes: Sequence[ClassSize], class_lines: Sequence[Sequence[int]], *, multi: bool, needed: int, file: str = ""
) -> list[Finding]:
    """Classes that are missing, too small to be evaluated, or far smaller than another.

    Args:
        sizes: the classes.
        class_lines: lines of the rows of each class.
        multi: whether a row can have several labels.
        needed: distinct texts per class without which training refuses to start.
        file: name of the validation file, if the classes are from it.
    """
    findings = []
    needed = min(needed, 1) if multi else needed
    small = [i for i, size in enumerate(sizes) if size.distinct_texts < max(SMALL_CLASS, needed)]
    if file:  # a label without any row there is reported as unvalidated
        small = [i for i in small if sizes[i].rows]
    refused = [i for i in small if sizes[i].distinct_texts < needed and not file]
    for severity, limit, indices, advice in (
        ("error", needed, refused, f"Add texts or remove the class; training needs at least {needed} per class."),
        ("warning", SMALL_CLASS, [i for i in small if i not in refused],
         "Add texts: with so few, a single error changes the metrics of a class by several points."),
    ):  # fmt: skip
        if not indices:
            continue
        listing = format_names([f"{sizes[i].name} ({sizes[i].distinct_texts})" for i in indices])
        has = "has" if len(indices) == 1 else "have"
        texts = "no text" if limit == 1 else f"fewer than {limit} distinct texts"
        findings.append(
            make_finding(
                "small-classes", f"{plural(len(indices), 'class', 'classes')} {has} {texts}: {listing}",
                [line for i in indices for line in class_lines[i]], severity=severity, count=len(indices),
                advice=advice, file=file, details={"classes": [sizes[i].name for i in indices]},
            )
        )  # fmt: skip
    if not multi and sum(size.rows > 0 for size in sizes) < 2:
        message, severity = "The labelled rows with a text do not have two classes", "warning" if file else "error"
        findings.append(make_finding("single-class", message, severity=severity, count=1, file=file))
    return findings + ([] if file else _imbalance_findings([size.rows for size in sizes if size.rows]))


def _imbalance_findings(rows: Sequence[int]) -> list[Finding]:
    ratio = max(rows) / min(rows) if rows else 0.0
    if ratio < IMBALANCE_NOTE:
        return []
    message = f"The largest class has {ratio:.1f} times as many rows as the smallest"
    severity = "warning" if ratio >= IMBALANCE_WARNING else "note"
    return [make_finding("class-imbalance", message, severity=severity, count=1, details={"ratio": ratio})]


def one_file_label_findings(
    training: Sequence[ClassSize],
    validation: Sequence[ClassSize],
    class_lines: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]],
    file: str,
) -> list[Finding]:
    """Labels that occur in only one of the two files.

    Args:
        training: classes of the training file.
        validation: classes of the validation file, in the same order.
        class_lines: lines of the rows of each class, in the training and in the validation file.
        file: name of the validation file.
    """
    findings = []
    for kind, sizes, others, lines, of_file, what, advice in (
        ("unseen-labels", validation, training, class_lines[1], file, f"occur only in {file}", None),
        ("unvalidated-labels", training, validation, class_lines[0], "", f"do not occur in {file}",
         f"Add rows with these labels to {file}; without them, the labels are not evaluated."),
    ):  # fmt: skip
        only = [i for i in range(len(sizes)) if sizes[i].rows and not others[i].rows]
        if only:
            message = f"Labels that {what}: {format_names([sizes[i].name for i in only])}"
            all_lines = [line for i in only for line in lines[i]]
            findings.append(make_finding(kind, message, all_lines, count=len(only), file=of_file, advice=advice))
    return findings


def label_shift_findings(training: Sequence[ClassSize], validation: Sequence[ClassSize], file: str) -> list[Finding]:
    """Classes whose share in the validation file differs much from their share in the training file.

    Args:
        training: classes of the training file.
        validation: classes of the validation file, in the same order.
        file: name of the validation file.
    """
    shifts = [
        (size.name, size.share, other.share)
        for size, other in zip(training, validation, strict=True)
        if abs(size.share - other.share) > SHIFT
    ]
    if not shifts:
        return []
    listing = format_names([f"{name} {before:.1%} and {after:.1%}" for name, before, after in shifts])
    message = (
        f"The share of {plural(len(shifts), 'class', 'classes')} differs by more than {100 * SHIFT:.0f} percentage "
        f"points between the training data and {file}: {listing}"
    )
    return [make_finding("label-shift", message, count=len(shifts), file=file)]
