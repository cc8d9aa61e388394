"""A validation file beside the file that is trained on: what of it was seen, and what that is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.check.duplicates import NEAR, near
from toxonnx.check.finding import Finding, format_share, make_finding
from toxonnx.check.sampling import draw_to_learn
from toxonnx.data.examples import Examples
from toxonnx.evaluate.baseline import TfidfBaseline, majority

__all__ = ["beside", "compare"]

Bools = NDArray[np.bool_]


def beside(
    data: Sequence[str], held: Sequence[str], lines: Sequence[int], file: str
) -> tuple[dict[str, Any], tuple[Bools, Bools], list[Finding]]:
    """Which of a validation file's texts stand in the data, and which nearly do.

    Args:
        data: folded texts to train on.
        held: folded texts to validate on.
        lines: line of each of these.
        file: name of the validation file.

    Returns:
        Counts; bool [held] of those seen and of those nearly seen; findings.
    """
    there = set(data)
    fresh = [key for key in dict.fromkeys(held) if key not in there]
    twins = near(fresh, list(dict.fromkeys(data)))
    close = {fresh[i] for _, i in twins.pairs}
    seen = np.array([key in there for key in held], dtype=np.bool_)
    near_rows = np.array([key in close for key in held], dtype=np.bool_)
    limit = f" ({twins.bounded})" if twins.bounded else ""
    findings = []
    for kind, severity, rows, what in (
        ("seen-rows", "error", seen, "have a text that stands in the data"),
        ("nearly-seen-rows", "warning", near_rows, f"have a near twin in the data (similarity {NEAR}){limit}"),
    ):
        at = np.flatnonzero(rows).tolist()
        if at:
            findings.append(
                make_finding(
                    kind, severity, f"{format_share(len(at), len(held))} of {file} {what}", [lines[i] for i in at], file=file,
                    advice="Take these rows out of one of the two files, or say what the others score alone.",
                )
            )  # fmt: skip
    counts = {"rows": len(held), "seen_rows": int(seen.sum()), "nearly_seen_rows": int(near_rows.sum())}
    return {"file": file, **counts, "bounded": twins.bounded, "baselines": []}, (seen, near_rows), findings


def compare(
    data: Examples, held: Examples, seen: tuple[Bools, Bools], file: str, seed: int, log: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[str]]:
    """What counting words learns from the data and scores on the validation file, with and without what was seen.

    Args:
        data: rows to train on.
        held: rows to validate on, with the same label set.
        seen: of :func:`beside`.
        file: name of the validation file.
        seed: of the draw, where there are too many rows.
        log: takes words on progress.

    Returns:
        A row for each part of the validation file; what was left out, in words.
    """
    log("baseline: the data, measured on the validation file")
    kept = draw_to_learn(data.texts, data.labels, seed)
    left_out = []
    if len(kept) < len(data):
        left_out.append(f"the baseline of {file} was learnt from {format_share(len(kept), len(data))}, drawn at random")
        data = data.subset(kept)
    measured = draw_to_learn(held.texts, held.labels, seed)
    if len(measured) < len(held):
        left_out.append(
            f"that baseline was measured on {format_share(len(measured), len(held))} of {file}, drawn at random"
        )
        held, seen = held.subset(measured), (seen[0][measured], seen[1][measured])
    words = TfidfBaseline(data.texts, data.y_true, data.labels)
    rows: list[dict[str, Any]] = []
    for what, mask in (
        (f"all of {file}", np.ones(len(held), dtype=np.bool_)),
        (f"{file} without texts of the data", ~seen[0]),
        (f"{file} without these and their near twins", ~seen[0] & ~seen[1]),
    ):
        if not mask.any() or (rows and int(mask.sum()) == rows[-1]["held_out_rows"]):
            continue
        some = held.subset(np.flatnonzero(mask))
        rows.append(
            {
                "split": what, "train_rows": len(data), "held_out_rows": len(some),
                "majority": majority(data.y_true, some.y_true, data.labels),
                "baseline": words.score(some.texts, some.y_true),
            }
        )  # fmt: skip
    return rows, left_out
