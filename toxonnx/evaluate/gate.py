"""Limits that the metrics of an evaluation have to reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toxonnx.errors import GateError, InputError
from toxonnx.evaluate.report import EvaluationReport
from toxonnx.wording import plural

__all__ = ["GATED_METRICS", "check_metrics", "parse_limits"]

#: metrics that can be required to reach a value
GATED_METRICS = ("accuracy", "macro_f1", "weighted_f1", "roc_auc", "average_precision")


def parse_limits(limits: Sequence[str]) -> dict[str, float]:
    """``METRIC=X`` options as metric -> value.

    Raises:
        InputError: an option has another form, or its metric is unknown.
    """
    parsed = {}
    for limit in limits:
        name, _, text = limit.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if name.strip() not in GATED_METRICS or not 0 <= value <= 1:
            raise InputError(
                f"--fail-under must be METRIC=X with X from 0 to 1, got {limit!r}",
                f"The metrics are {', '.join(GATED_METRICS)}.",
            )
        if name.strip() in parsed:
            raise InputError(f"--fail-under has two limits for {name.strip()}", "Give one of them.")
        parsed[name.strip()] = value
    return parsed


def check_metrics(report: EvaluationReport, limits: Mapping[str, float]) -> None:
    """Checks the first model's metrics, on rows that it has not seen.

    Raises:
        GateError: a metric is below its limit, or there are no unseen rows.
    """
    if not limits:
        return
    model = report.models[0]
    if model.unseen is None:
        raise GateError(f"{model.name} has seen all of these rows that have a label: metrics on them prove nothing")
    missed = []
    for name, limit in limits.items():
        value = model.unseen.metrics.defined(name)
        if value is None or not value >= limit:
            shown = "undefined" if value is None else format(value, ".4f")
            missed.append(f"{name} is {shown}, required is {limit:g}")
    if missed:
        raise GateError(f"{model.name}, on {plural(model.unseen.rows, 'row')}: {'; '.join(missed)}")
