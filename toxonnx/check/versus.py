"""A validation file beside the file that is trained on: what of it was seen, and what differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.check.finding import Finding, found, listing, plural, shown
from toxonnx.check.twins import NEAR, near
from toxonnx.seen import hashes, known
from toxonnx.texts import fold
from toxonnx.train.baseline import baseline, majority
from toxonnx.train.data import Examples

__all__ = ["beside", "class_shifts", "lone_labels"]

#: difference of a class's share, in points, from which it is said
SHIFT = 0.1


def beside(
    data: Examples, held: Examples, file: str, say: Callable[[str], None], *, with_baseline: bool
) -> tuple[dict[str, Any], list[Finding]]:
    """What a model that was trained on one file would know of the other's rows.

    Args:
        data: rows to train on.
        held: rows to validate on, with the same label set.
        file: name of the validation file.
        say: takes words on progress.
        with_baseline: whether to learn from one and measure on the other.
    """
    seen = known(held.texts, hashes(data.texts))
    say("near duplicates between the files")
    keys, others = ([*dict.fromkeys(map(fold, one.texts))] for one in (held, data))
    there = set(others)
    fresh = [key for key in keys if key not in there]
    twins = near(fresh, others)
    close = {fresh[i] for _, i in twins.pairs}
    near_rows = np.array([fold(text) in close for text in held.texts], dtype=np.bool_)
    findings = []
    for kind, severity, rows, what, limit in (
        ("seen-rows", "error", seen, "have a text that stands in the data", ""),
        ("nearly-seen-rows", "warning", near_rows, f"have a near twin in the data (similarity {NEAR})", twins.bounded),
    ):
        at = np.flatnonzero(rows).tolist()
        if at:
            findings.append(
                found(
                    kind, severity,
                    f"{len(at):,} of {plural(len(held), 'row')} ({len(at) / len(held):.2%}) of {file} {what}"
                    f"{f' ({limit})' if limit else ''}",
                    [held.lines[i] for i in at], file=file,
                    advice="Take these rows out of one of the two files, or say what the others score alone.",
                )
            )  # fmt: skip
    report: dict[str, Any] = {
        "file": file, "rows": len(held), "seen_rows": int(seen.sum()), "nearly_seen_rows": int(near_rows.sum()),
        "bounded": twins.bounded, "baselines": [],
    }  # fmt: skip
    if with_baseline:
        say("baseline: the data, measured on the validation file")
        report["baselines"] = _measure(data, held, file, seen, near_rows)
    return report, findings


def _measure(
    data: Examples, held: Examples, file: str, seen: NDArray[np.bool_], near_rows: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for what, kept in (
        (f"all of {file}", np.ones(len(held), dtype=np.bool_)),
        (f"{file} without texts of the data", ~seen),
        (f"{file} without these and their near twins", ~seen & ~near_rows),
    ):
        if not kept.any() or (rows and int(kept.sum()) == rows[-1]["held_out_rows"]):
            continue
        part = held.subset(np.flatnonzero(kept))
        rows.append(
            {
                "split": what, "train_rows": len(data), "held_out_rows": len(part),
                "majority": majority(data.truth, part.truth, data.labels),
                "baseline": baseline(data.texts, data.truth, part.texts, part.truth, data.labels),
            }
        )  # fmt: skip
    return rows


def lone_labels(data: Sequence[str], held: Sequence[str], file: str) -> list[Finding]:
    """Labels that stand in one of two files only, by their values there."""
    findings = []
    for only, severity, where, advice in (
        (set(held) - set(data), "error", f"{file} alone", "A model cannot learn a label that it is not shown."),
        (set(data) - set(held), "warning", "the data alone", f"Add rows of it to {file}: it counts 0 in macro F1 now."),
    ):
        if only:
            names = listing([shown(name) for name in sorted(only)])
            findings.append(
                found(
                    "lone-labels", severity, f"Labels that stand in {where}: {names}",
                    count=len(only), file=file, advice=advice,
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
        found(
            "class-shift", "note",
            f"{plural(len(shifts), 'class', 'classes')} differ in share by more than {100 * SHIFT:.0f} points "
            f"between the data and {file}: {what}",
            count=len(shifts), file=file,
            advice="Find out which of the two is like the texts that the model will read; accuracy depends on it.",
        )
    ]  # fmt: skip
