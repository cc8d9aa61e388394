"""A validation file compared with the training data: overlapping texts, and baseline scores with and without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.check.class_sizes import ClassSize
from toxonnx.check.finding import Finding, format_share, make_finding
from toxonnx.check.near_duplicates import SIMILARITY, find_near_duplicates
from toxonnx.check.sampling import sample_for_baseline
from toxonnx.data.examples import Examples
from toxonnx.evaluate.baseline import TfidfBaseline, majority

__all__ = ["Overlap", "Scores", "SubsetResult", "ValidationResult", "find_overlap", "overlap_findings", "score_subsets"]

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Overlap:
    """Rows of a validation file whose text is in the training data.

    Attributes:
        duplicates: bool [rows], rows with a text of the training data.
        near_duplicates: bool [rows], rows with a near duplicate in the training data, and no duplicate.
        limitation: see :class:`toxonnx.check.near_duplicates.NearDuplicates`.
    """

    duplicates: BoolArray
    near_duplicates: BoolArray
    limitation: str = ""

    def subset(self, rows: NDArray[np.int64]) -> Overlap:
        """The overlap of these rows."""
        return Overlap(self.duplicates[rows], self.near_duplicates[rows], self.limitation)


@dataclass(frozen=True)
class Scores:
    """Scores of a baseline."""

    accuracy: float
    macro_f1: float


@dataclass(frozen=True, kw_only=True)
class SubsetResult:
    """Baseline scores on a subset of a validation file.

    Attributes:
        split: which rows.
        train_rows: training rows.
        held_out_rows: rows of the subset.
        baseline: scores of the TF-IDF baseline.
        majority: scores of the majority class.
    """

    split: str
    train_rows: int
    held_out_rows: int
    baseline: Scores
    majority: Scores


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """The validation file in the report.

    Attributes:
        file: its name.
        rows: number of usable rows.
        duplicate_rows: rows with a text of the training data.
        near_duplicate_rows: rows with a near duplicate in the training data, and no duplicate.
        limitation: see :class:`toxonnx.check.near_duplicates.NearDuplicates`.
        classes: its classes, in the order of the training data's.
        baselines: baseline scores, with and without overlapping rows.
    """

    file: str
    rows: int
    duplicate_rows: int
    near_duplicate_rows: int
    limitation: str
    classes: tuple[ClassSize, ...]
    baselines: tuple[SubsetResult, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            **asdict(self), "classes": [size.to_dict() for size in self.classes],
            "baselines": [asdict(result) for result in self.baselines],
        }  # fmt: skip


def find_overlap(training: Sequence[str], validation: Sequence[str]) -> Overlap:
    """Finds texts of a validation file that are, or nearly are, in the training data.

    Args:
        training: folded training texts.
        validation: folded validation texts.
    """
    in_training = set(training)
    new = [key for key in dict.fromkeys(validation) if key not in in_training]
    near = find_near_duplicates(new, list(dict.fromkeys(training)))
    close = {new[i] for _, i in near.pairs}
    return Overlap(
        np.array([key in in_training for key in validation], dtype=np.bool_),
        np.array([key in close for key in validation], dtype=np.bool_),
        near.limitation,
    )


def overlap_findings(overlap: Overlap, lines: Sequence[int], file: str) -> list[Finding]:
    """Reports overlapping rows.

    Args:
        overlap: from :func:`find_overlap`.
        lines: line of each row.
        file: name of the validation file.
    """
    limitation = f" ({overlap.limitation})" if overlap.limitation else ""
    findings = []
    for kind, mask, what in (
        ("train-validation-overlap", overlap.duplicates, "have a text of the training data"),
        ("train-validation-near-duplicates", overlap.near_duplicates,
         f"have a near duplicate in the training data (similarity {SIMILARITY} or more){limitation}"),
    ):  # fmt: skip
        rows = np.flatnonzero(mask).tolist()
        if rows:
            message = f"{format_share(len(rows), len(lines))} of {file} {what}"
            findings.append(make_finding(kind, message, [lines[i] for i in rows], file=file))
    return findings


def score_subsets(
    training: Examples, validation: Examples, overlap: Overlap, file: str, *, seed: int, log: Callable[[str], None]
) -> tuple[list[SubsetResult], list[str]]:
    """Fits the TF-IDF baseline on the training data and scores it on the validation file, with and without overlap.

    Args:
        training: rows to fit on.
        validation: rows to score, with the same label set.
        overlap: of the validation rows.
        file: name of the validation file.
        seed: seed of the samples if there are too many rows.
        log: takes progress messages.

    Returns:
        A result per subset; limitations.
    """
    log(f"baseline: fitted on the training data, scored on {file}")
    limitations = []
    sampled = sample_for_baseline(training.texts, training.labels, seed)
    if len(sampled) < len(training):
        share = format_share(len(sampled), len(training))
        limitations.append(f"baseline of {file}: fitted on a random sample of {share}")
        training = training.subset(sampled)
    sampled = sample_for_baseline(validation.texts, validation.labels, seed)
    if len(sampled) < len(validation):
        share = format_share(len(sampled), len(validation))
        limitations.append(f"baseline of {file}: scored on a random sample of {share}")
        validation, overlap = validation.subset(sampled), overlap.subset(sampled)
    baseline = TfidfBaseline(training.texts, training.y_true, training.labels)
    results: list[SubsetResult] = []
    for name, mask in (
        (f"all of {file}", np.ones(len(validation), dtype=np.bool_)),
        (f"{file} without duplicates", ~overlap.duplicates),
        (f"{file} without (near) duplicates", ~overlap.duplicates & ~overlap.near_duplicates),
    ):
        if not mask.any() or (results and int(mask.sum()) == results[-1].held_out_rows):
            continue
        rows = validation.subset(np.flatnonzero(mask))
        results.append(
            SubsetResult(
                split=name, train_rows=len(training), held_out_rows=len(rows),
                baseline=_scores(baseline.score(rows.texts, rows.y_true)),
                majority=_scores(majority(training.y_true, rows.y_true, training.labels)),
            )
        )  # fmt: skip
    return results, limitations


def _scores(measured: dict[str, float]) -> Scores:
    return Scores(accuracy=measured["accuracy"], macro_f1=measured["macro_f1"])
