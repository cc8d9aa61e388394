"""What one model, or two beside each other, do on labelled rows, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.evaluate.calibration import threshold_metrics
from toxonnx.evaluate.intervals import bootstrap, clusters, flat, mcnemar
from toxonnx.evaluate.metrics import Sample

__all__ = ["Scored", "compare", "model_report"]

CURVE_POINTS = 200
#: values of a column that get a line of their own, and characters of one that are shown
GROUPS, VALUE_CHARACTERS = 50, 40

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Scored:
    """What one model says of the rows of a file.

    Attributes:
        name: to show.
        about: what it is, plain values.
        sample: scores and y_true.
        truncated, empty, review: bool [rows]: cut at its limit; without a text; left to people by its thresholds.
        seen: where the model met texts (see :data:`toxonnx.data.fingerprints.FINGERPRINT_FILES`) -> bool [rows], as far as it tells.
    """

    name: str
    about: dict[str, Any]
    sample: Sample
    truncated: Bools
    empty: Bools
    review: Bools
    seen: dict[str, Bools]

    @property
    def leaky(self) -> Bools:
        """Rows whose text took part in making the model, bool [rows]."""
        found = np.zeros(len(self.sample), dtype=np.bool_)
        for rows in self.seen.values():
            found |= rows
        return found


def _told(leaky: Bools) -> Bools:
    """Rows that metrics are told of: those that are not leaky, or all, where none are left."""
    return ~leaky if not leaky.all() else np.ones(len(leaky), dtype=np.bool_)


def model_report(
    model: Scored, by: Mapping[str, Sequence[str]] | None = None, *, bootstrap_samples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Everything about one model.

    Args:
        model: its scores.
        by: column -> its value in each row, to tell groups apart.
        bootstrap_samples: resamples for the intervals; see :func:`toxonnx.evaluate.intervals.bootstrap`.
        seed: of these.

    Returns:
        Plain values. ``clean`` is of the rows that the model is not known to have met, ``all`` of all of them, each
        with ``rows``, ``metrics``, ``intervals`` and ``chance_ece`` (see :meth:`Sample.chance_ece`). ``all`` stands
        beside ``clean`` only where there are leaky rows, and alone where all are leaky. What follows is of the clean
        rows, or of all where there is none: ``reliability``, ``curves``, ``groups``, ``review`` and, for a model with
        thresholds, ``promises``.
    """
    leaky = model.leaky
    told = _told(leaky)
    sample = model.sample.of_rows(told)
    report: dict[str, Any] = {
        "name": model.name,
        **model.about,
        "rows": len(model.sample),
        "distinct_texts": len(np.unique(model.sample.groups)),
        "truncated": int(model.truncated.sum()),
        "empty": int(model.empty.sum()),
        "training_is_known": "training" in model.seen,
        "leaks": {where: int(rows.sum()) for where, rows in model.seen.items()},
        "leaky_rows": int(leaky.sum()),
    }
    if not leaky.all():
        report["clean"] = _measured(sample, bootstrap_samples, seed)
    if leaky.any():
        report["all"] = _measured(model.sample, bootstrap_samples, seed)
    doubt = model.review[told]
    report["review"] = {"rows": int(doubt.sum()), "share": float(doubt.mean())}
    if doubt.any():
        report["review"]["accuracy_of_the_rest"] = float(sample.right[~doubt].mean()) if not doubt.all() else None
    if model.about.get("thresholds"):
        report["promises"] = threshold_metrics(sample)
    report["reliability"] = [asdict(one) for one in sample.reliability()]
    report["curves"] = {name: _curve(*sample.precision_recall(i)) for i, name in enumerate(sample.labels.names)}
    report["groups"] = {
        column: _by(sample, [value for value, kept in zip(values, told.tolist(), strict=True) if kept])
        for column, values in (by or {}).items()
    }
    return report


def _measured(sample: Sample, bootstrap_samples: int, seed: int) -> dict[str, Any]:
    groups = clusters(sample.groups.tolist())
    intervals = bootstrap(lambda weights: flat(sample.metrics(weights)), groups, bootstrap_samples, seed)
    if bootstrap_samples:
        # Where all rows are right, or none, resampling cannot tell; for a share there is another way.
        everything = np.ones(len(sample), dtype=np.bool_)
        shares = {"accuracy": sample.share(sample.right, everything)}
        for i, name in enumerate(sample.labels.names):
            predicted, there = sample.held[:, i], sample.actual[:, i]
            shares[f"per_class/{name}/precision"] = sample.share(there, predicted)
            shares[f"per_class/{name}/recall"] = sample.share(predicted, there)
        for key, share in shares.items():
            if intervals.get(key) is None and share is not None:
                intervals[key] = share[1:]
    return {
        "rows": len(sample),
        "metrics": sample.metrics().to_dict(),
        "intervals": intervals,
        "chance_ece": sample.chance_ece(bootstrap_samples, seed),
    }


def _curve(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> dict[str, list[float]]:
    """A precision-recall curve, thinned out to be drawn."""
    at = np.unique(np.linspace(0, len(recall) - 1, min(CURVE_POINTS, len(recall))).astype(np.int64))
    return {"precision": precision[at].round(4).tolist(), "recall": recall[at].round(4).tolist()}


def _by(sample: Sample, values: Sequence[str]) -> list[dict[str, Any]]:
    """Metrics of the rows of each value, the most frequent first."""
    at: dict[str, list[int]] = {}
    for i, value in enumerate(values):
        short = " ".join(value.split())
        at.setdefault(short if len(short) <= VALUE_CHARACTERS else f"{short[: VALUE_CHARACTERS - 3]}...", []).append(i)
    ordered = sorted(at.items(), key=lambda item: (-len(item[1]), item[0]))
    table = [_group(value, sample.of_rows(np.array(rows))) for value, rows in ordered[:GROUPS]]
    rest = [i for _, rows in ordered[GROUPS:] for i in rows]
    if rest:
        table.append(_group(f"({len(ordered) - GROUPS} other values)", sample.of_rows(np.array(rest))))
    return table


def _group(value: str, part: Sample) -> dict[str, Any]:
    """Accuracy, and for each label how much of it is found and how often it is predicted of rows that lack it."""
    per_class = {}
    for i, name in enumerate(part.labels.names):
        there, predicted = part.actual[:, i], part.held[:, i]
        per_class[name] = {
            "rows": int(there.sum()),
            "recall": part.share(predicted, there),
            "false_positive_rate": part.share(predicted, ~there),
        }
    return {
        "value": value,
        "rows": len(part),
        "accuracy": part.share(part.right, np.ones(len(part), dtype=np.bool_)),
        "macro_f1": part.metrics(ranked=False).macro_f1,
        "per_class": per_class,
    }


def compare(first: Scored, other: Scored, *, bootstrap_samples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Two models on the same rows: those that neither is known to have met, or all, where there is none.

    Returns:
        ``rows``; ``leaky``, whether these are rows that were met; ``same_label``, the share on which they agree;
        ``differences``, first minus other, of accuracy, macro F1 and loss, each with the 95% interval of the paired
        bootstrap; ``mcnemar`` over one row of each distinct text, so that repeats do not make it surer than it is.
    """
    leaky = first.leaky | other.leaky
    told = _told(leaky)
    one, two = first.sample.of_rows(told), other.sample.of_rows(told)
    keys = ("accuracy", "macro_f1", "loss")

    def differences(weights: NDArray[np.int64] | None) -> dict[str, float]:
        a, b = flat(one.metrics(weights, ranked=False)), flat(two.metrics(weights, ranked=False))
        return {key: a[key] - b[key] for key in keys}

    intervals = bootstrap(differences, clusters(one.groups.tolist()), bootstrap_samples, seed)
    distinct = np.unique(one.groups, return_index=True)[1]
    return {
        "first": first.name,
        "other": other.name,
        "rows": len(one),
        "leaky": bool(leaky.all()),
        "leaky_rows_left_out": int((~told).sum()),
        "same_label": float((one.held == two.held).all(axis=1).mean()),
        "differences": {
            key: [value, *(intervals.get(key) or (None, None))] for key, value in differences(None).items()
        },
        "mcnemar": {"rows": len(distinct), **mcnemar(one.of_rows(distinct), two.of_rows(distinct))},
    }
