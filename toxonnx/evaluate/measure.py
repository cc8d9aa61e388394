"""Measures models on labelled rows and compares them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from toxonnx.evaluate.intervals import bootstrap, cluster_ids, flatten, mcnemar
from toxonnx.evaluate.metrics import Sample
from toxonnx.evaluate.report import (
    BootstrapOptions,
    Curve,
    Difference,
    GroupLabel,
    GroupMetrics,
    MeasuredRows,
    ModelComparison,
    ModelReport,
    Review,
    ScoredRows,
)
from toxonnx.evaluate.thresholds import measure_thresholds

__all__ = ["compare_models", "report_model"]

CURVE_POINTS = 200
#: largest number of values of a column with a row of their own, and largest number of characters shown of a value
MAX_GROUPS, VALUE_CHARACTERS = 50, 40

Bools = NDArray[np.bool_]


def _measurable(sample: Sample, leaky: Bools) -> Bools:
    """The rows to measure: those that are not leaky, or all rows if none of these was judged."""
    return ~leaky if sample.judged[~leaky].any() else np.ones(len(leaky), dtype=np.bool_)


def report_model(
    scored: ScoredRows,
    groups: Mapping[str, Sequence[str]] | None = None,
    bootstrap_options: BootstrapOptions | None = None,
) -> ModelReport:
    """Measures one model.

    Args:
        scored: the rows, scored by the model.
        groups: column -> its value in each row; metrics are also reported for each value.
        bootstrap_options: how to compute intervals.
    """
    options = bootstrap_options or BootstrapOptions()
    leaky = scored.leaky
    measurable = _measurable(scored.sample, leaky)
    sample = scored.sample.of_rows(measurable)
    about = scored.description
    return ModelReport(
        name=scored.name,
        **asdict(about),
        rows=len(scored.sample),
        distinct_texts=len(np.unique(scored.sample.groups)),
        truncated=int(scored.truncated.sum()),
        empty=int(scored.empty.sum()),
        training_is_known="training" in scored.seen,
        leaks={where: int(rows.sum()) for where, rows in scored.seen.items()},
        leaky_rows=int(leaky.sum()),
        unseen=None if (measurable & leaky).any() else _measure(sample, options),
        all_rows=_measure(scored.sample, options) if leaky.any() else None,
        review=_review(sample, scored.review[measurable]),
        threshold_metrics=measure_thresholds(sample) if about.thresholds else None,
        reliability=sample.reliability(),
        curves={name: _curve(*sample.precision_recall(i)) for i, name in enumerate(sample.labels.names)},
        groups={
            column: _by_value(sample, [value for value, kept in zip(values, measurable.tolist(), strict=True) if kept])
            for column, values in (groups or {}).items()
        },
    )


def _review(sample: Sample, review: Bools) -> Review:
    others = sample.judged & ~review
    rest = float(sample.correct[others].mean()) if review.any() and others.any() else None
    return Review(rows=int(review.sum()), share=float(review.mean()), accuracy_of_the_rest=rest)


def _measure(sample: Sample, options: BootstrapOptions) -> MeasuredRows:
    clusters = cluster_ids(sample.groups.tolist())
    intervals = bootstrap(
        lambda weights: flatten(sample.metrics(weights, undefined=math.nan)), clusters, options.samples, options.seed
    )
    if options.samples:
        # If all rows are correct, or none, resampling gives no interval; for a share, Wilson's is used.
        shares = {"accuracy": sample.share(sample.correct, sample.judged)}
        for i, name in enumerate(sample.labels.names):
            predicted, actual = sample.predicted[:, i], sample.actual[:, i]
            shares[f"per_class/{name}/precision"] = sample.share(actual, predicted)
            shares[f"per_class/{name}/recall"] = sample.share(predicted, actual)
        for key, share in shares.items():
            if intervals.get(key) is None and share is not None:
                intervals[key] = share[1:]
    return MeasuredRows(
        rows=len(sample),
        metrics=sample.metrics(),
        intervals=intervals,
        chance_ece=sample.chance_ece(options.samples, options.seed),
    )


def _curve(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> Curve:
    points = np.unique(np.linspace(0, len(recall) - 1, min(CURVE_POINTS, len(recall))).astype(np.int64))
    return Curve(precision[points].round(4).tolist(), recall[points].round(4).tolist())


def _by_value(sample: Sample, values: Sequence[str]) -> list[GroupMetrics]:
    """Metrics on the rows of each value, the most frequent value first."""
    rows_of: dict[str, list[int]] = {}
    for i, value in enumerate(values):
        rows_of.setdefault(" ".join(value.split()), []).append(i)
    ordered = sorted(rows_of.items(), key=lambda item: (-len(item[1]), item[0]))
    shown = _shorten([value for value, _ in ordered[:MAX_GROUPS]])
    groups = [_group(value, sample.of_rows(np.array(rows))) for value, (_, rows) in zip(shown, ordered, strict=False)]
    rest = [i for _, rows in ordered[MAX_GROUPS:] for i in rows]
    if rest:
        groups.append(_group(f"({len(ordered) - MAX_GROUPS} other values)", sample.of_rows(np.array(rest))))
    return groups


def _shorten(values: Sequence[str]) -> list[str]:
    """Different values as they are shown: short, and still different, by a number behind those with the same start."""
    taken = {value for value in values if len(value) <= VALUE_CHARACTERS}
    shown = []
    for value in values:
        short = value
        if len(value) > VALUE_CHARACTERS:
            start = f"{value[: VALUE_CHARACTERS - 3]}..."
            forms = itertools.chain([start], (f"{start} ({number})" for number in itertools.count(2)))
            short = next(form for form in forms if form not in taken)
            taken.add(short)
        shown.append(short)
    return shown


def _group(value: str, sample: Sample) -> GroupMetrics:
    per_class = {}
    for i, name in enumerate(sample.labels.names):
        actual, predicted = sample.actual[:, i], sample.predicted[:, i]
        per_class[name] = GroupLabel(
            int(actual.sum()),
            sample.share(predicted, actual),
            sample.share(predicted, sample.known[:, i] & ~actual),
        )
    return GroupMetrics(
        value=value,
        rows=len(sample),
        accuracy=sample.share(sample.correct, sample.judged),
        macro_f1=sample.metrics(ranked=False).defined("macro_f1"),
        per_class=per_class,
    )


def compare_models(
    first: ScoredRows, other: ScoredRows, bootstrap_options: BootstrapOptions | None = None
) -> ModelComparison:
    """Compares two models on the rows that neither is known to have seen, or on all rows if there are none."""
    options = bootstrap_options or BootstrapOptions()
    leaky = first.leaky | other.leaky
    measurable = _measurable(first.sample, leaky)
    one, two = first.sample.of_rows(measurable), other.sample.of_rows(measurable)

    def differences(weights: NDArray[np.int64] | None, undefined: float = math.nan) -> dict[str, float]:
        a, b = (flatten(model.metrics(weights, ranked=False, undefined=undefined)) for model in (one, two))
        return {key: a[key] - b[key] for key in ("accuracy", "macro_f1", "loss")}

    intervals = bootstrap(differences, cluster_ids(one.groups.tolist()), options.samples, options.seed)
    distinct = np.unique(one.groups, return_index=True)[1]
    return ModelComparison(
        first=first.name,
        other=other.name,
        rows=len(one),
        leaky=bool(leaky.all()),
        leaky_rows_left_out=int((~measurable).sum()),
        same_label=float((one.decisions == two.decisions).all(axis=1).mean()),
        differences={
            key: Difference(value, *(intervals.get(key) or (None, None)))
            for key, value in differences(None, undefined=0.0).items()
        },
        mcnemar=mcnemar(one.of_rows(distinct), two.of_rows(distinct)),
    )
