"""What an evaluation found, as plain values: figures with intervals, leaks, groups, paired comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.evaluate.intervals import Interval, bootstrap, clusters, flat, mcnemar, wilson
from toxonnx.evaluate.metrics import Sample
from toxonnx.texts import fold

__all__ = ["CURVE_POINTS", "Scored", "compare", "model_report"]

CURVE_POINTS = 200
#: values of a column that get a line of their own; what is left is told in one
GROUPS = 50

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Scored:
    """What one model says of the rows of a file.

    Attributes:
        name: to show.
        about: what it is, plain values.
        sample: scores and truth.
        texts: as it read them.
        truncated, review: bool [rows]: cut at its limit; left to people by its thresholds.
        seen: ``training`` and ``validation`` -> bool [rows], whether the text was met there; None where the model does
            not tell.
    """

    name: str
    about: dict[str, Any]
    sample: Sample
    texts: list[str]
    truncated: Bools
    review: Bools
    seen: dict[str, Bools] | None = field(default=None)

    @property
    def leaky(self) -> Bools:
        """Rows whose text took part in making the model, bool [rows]."""
        found = np.zeros(len(self.sample), dtype=np.bool_)
        for rows in (self.seen or {}).values():
            found |= rows
        return found

    @property
    def told(self) -> Bools:
        """Rows that figures are told of: those that are not leaky, or all, where none are left."""
        return ~self.leaky if not self.leaky.all() else np.ones(len(self.sample), dtype=np.bool_)


def model_report(
    model: Scored, by: Mapping[str, Sequence[str]] | None = None, *, draws: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Everything about one model.

    Args:
        model: its scores.
        by: column -> its value in each row, to tell groups apart.
        draws: resamples for the intervals; see :func:`toxonnx.evaluate.intervals.bootstrap`.
        seed: of these.

    Returns:
        Plain values. ``clean`` is of the rows that the model had not met, ``all`` of all of them, each with ``rows``,
        ``figures`` and ``intervals``; ``all`` stands beside ``clean`` only where there are leaky rows, and alone
        where all are leaky. ``reliability``, ``curves``, ``groups`` and ``review`` are of the clean rows.
    """
    told, leaky = model.told, model.leaky
    groups = clusters([fold(text) for text in model.texts])
    sample = model.sample.of_rows(told)
    report: dict[str, Any] = {
        "name": model.name,
        **model.about,
        "rows": len(model.sample),
        "distinct_texts": int(groups.max()) + 1,
        "truncated": int(model.truncated.sum()),
        "leaks": None if model.seen is None else {where: int(rows.sum()) for where, rows in model.seen.items()},
        "leaky_rows": int(leaky.sum()),
    }
    if not leaky.all():
        report["clean"] = _measured(sample, groups[told], draws, seed)
    if leaky.any():
        report["all"] = _measured(model.sample, groups, draws, seed)
    report["review"] = {"rows": int(model.review[told].sum()), "share": float(model.review[told].mean())}
    if model.review[told].any():
        kept = told & ~model.review
        report["review"]["accuracy_of_the_rest"] = float(model.sample.right[kept].mean()) if kept.any() else None
    report["reliability"] = [asdict(one) for one in sample.reliability()]
    report["curves"] = {
        name: _curve(*sample.precision_recall(i)) for i, name in enumerate(sample.labels.names)
    }  # fmt: skip
    report["groups"] = {
        column: _by(sample, [value for value, kept in zip(values, told.tolist(), strict=True) if kept])
        for column, values in (by or {}).items()
    }
    return report


def _measured(sample: Sample, groups: NDArray[np.int64], draws: int, seed: int) -> dict[str, Any]:
    numbered = clusters(groups.tolist())
    intervals = bootstrap(lambda weights: flat(sample.figures(weights)), numbered, draws, seed)
    return {"rows": len(sample), "figures": sample.figures().to_dict(), "intervals": intervals}


def _curve(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> dict[str, list[float]]:
    """A precision-recall curve, thinned out to be drawn."""
    at = np.unique(np.linspace(0, len(recall) - 1, min(CURVE_POINTS, len(recall))).astype(np.int64))
    return {"precision": precision[at].round(4).tolist(), "recall": recall[at].round(4).tolist()}


def _by(sample: Sample, values: Sequence[str]) -> list[dict[str, Any]]:
    """Figures of the rows of each value, the most frequent first."""
    at: dict[str, list[int]] = {}
    for i, value in enumerate(values):
        at.setdefault(value.strip(), []).append(i)
    ordered = sorted(at.items(), key=lambda item: (-len(item[1]), item[0]))
    table = [_group(value, sample.of_rows(np.array(rows))) for value, rows in ordered[:GROUPS]]
    rest = [i for _, rows in ordered[GROUPS:] for i in rows]
    if rest:
        table.append(_group(f"({len(ordered) - GROUPS} other values)", sample.of_rows(np.array(rest))))
    return table


def _group(value: str, part: Sample) -> dict[str, Any]:
    """Accuracy, and for each label how much of it is found and how often it is said of rows that lack it."""
    right = int(part.right.sum())
    per_class = {}
    for i, name in enumerate(part.labels.names):
        there, said = part.actual[:, i], part.held[:, i]
        false, others = int((said & ~there).sum()), int((~there).sum())
        found, own = int((said & there).sum()), int(there.sum())
        per_class[name] = {
            "rows": own,
            "recall": [found / own, *wilson(found, own)] if own else None,
            "false_positive_rate": [false / others, *wilson(false, others)] if others else None,
        }
    return {
        "value": value,
        "rows": len(part),
        "accuracy": [right / len(part), *wilson(right, len(part))],
        "macro_f1": part.figures().macro_f1,
        "per_class": per_class,
    }


def compare(first: Scored, other: Scored, *, draws: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Two models on the same rows, those that neither had met (all, where there are none).

    Returns:
        ``rows``; ``same_label``, the share on which they agree; ``differences``, first minus other, of accuracy, macro
        F1, loss and calibration error, each with the 95% interval of the paired bootstrap; ``mcnemar`` over one row of
        each distinct text, so that repeats do not make it surer than it is.
    """
    told = ~(first.leaky | other.leaky)
    if not told.any():
        told = np.ones(len(told), dtype=np.bool_)
    one, two = first.sample.of_rows(told), other.sample.of_rows(told)
    groups = clusters([fold(text) for text, kept in zip(first.texts, told.tolist(), strict=True) if kept])
    keys = ("accuracy", "macro_f1", "loss", "ece")

    def differences(weights: NDArray[np.int64]) -> dict[str, float]:
        a, b = flat(one.figures(weights)), flat(two.figures(weights))
        return {f"{key}_difference": a[key] - b[key] for key in keys}

    point = differences(np.ones(len(one), dtype=np.int64))
    intervals: dict[str, Interval | None] = bootstrap(differences, groups, draws, seed)
    distinct = np.unique(groups, return_index=True)[1]
    return {
        "first": first.name,
        "other": other.name,
        "rows": len(one),
        "leaky_rows_left_out": int((~told).sum()),
        "same_label": float((one.held == two.held).all(axis=1).mean()),
        "differences": {key: [value, *(intervals.get(key) or (None, None))] for key, value in point.items()},
        "mcnemar": {"rows": len(distinct), **mcnemar(one.of_rows(distinct), two.of_rows(distinct))},
    }
