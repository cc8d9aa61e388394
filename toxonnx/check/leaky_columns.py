"""Columns that predict the label too well on their own."""

from __future__ import annotations

import math
from collections.abc import Sequence

from toxonnx.check.column_predictors import ColumnMeasurements, ColumnResult, ColumnRoles, TargetResult
from toxonnx.check.finding import Finding, make_finding

__all__ = ["leaky_column_findings"]

#: error reduction from which a column is reported: for all classes, and for one class against the rest
MIN_REDUCTION, MIN_REDUCTION_ONE_CLASS = 0.6, 0.8
#: free text outside the text column is reported if it leaves less than this share of the errors that the text leaves
MAX_ERROR_RATIO = 0.5
#: probability that any column of a file without information about the label is reported
FALSE_ALARM_RATE = 0.01


def leaky_column_findings(measurements: ColumnMeasurements, roles: ColumnRoles) -> list[Finding]:
    """Reports the columns that predict the label too well, in the file's order."""
    tests = sum(len(column.targets) for column in measurements.columns)
    findings = []
    for column in measurements.columns:
        targets = leaked_targets(column, roles, measurements, tests)
        if targets:
            findings.append(_leaky_column_finding(column, targets, roles))
    return findings


def leaked_targets(
    column: ColumnResult, roles: ColumnRoles, measurements: ColumnMeasurements, tests: int
) -> list[TargetResult]:
    """The targets that a column predicts too well.

    Args:
        column: the column.
        roles: known roles of the columns.
        measurements: gives the result of the whole text and the number of distinct texts.
        tests: number of targets of all columns, for the correction for multiple tests.
    """
    if roles.text == (column.column,):  # the only text column is supposed to predict the label
        return []
    leaked = [
        target
        for target in column.targets
        if target.error_reduction >= (MIN_REDUCTION_ONE_CLASS if target.class_name else MIN_REDUCTION)
        and not _is_chance(target, measurements.distinct_texts, tests)
    ]
    if column.free_text and not column.in_text:
        if measurements.whole_text is None:
            return []  # nothing to compare with
        # A copy of the text predicts as well as the text; only a column that is far better contains the label.
        remaining = {target.class_name: 1 - target.error_reduction for target in measurements.whole_text.targets}
        leaked = [
            target
            for target in leaked
            if 1 - target.error_reduction < MAX_ERROR_RATIO * remaining.get(target.class_name, 1) - 0.01
        ]
    return leaked


def _is_chance(target: TargetResult, distinct_texts: int, tests: int) -> bool:
    """Whether so few errors may be due to chance: a binomial test over distinct texts, corrected for multiple tests."""
    error_rate, errors = 1 - target.majority, round((1 - target.accuracy) * distinct_texts)
    if not 0 < error_rate < 1:
        return True
    log_probabilities = (
        math.lgamma(distinct_texts + 1) - math.lgamma(k + 1) - math.lgamma(distinct_texts - k + 1)
        + k * math.log(error_rate) + (distinct_texts - k) * math.log(1 - error_rate)
        for k in range(errors + 1)
    )  # fmt: skip
    return math.fsum(map(math.exp, log_probabilities)) > FALSE_ALARM_RATE / tests


def _leaky_column_finding(column: ColumnResult, targets: Sequence[TargetResult], roles: ColumnRoles) -> Finding:
    name = column.column
    overall = next((target for target in targets if not target.class_name), None)
    best = overall or max(targets, key=lambda target: target.error_reduction)
    grouped = name in roles.group
    is_note = name in roles.votes or (column.in_text and (column.free_text or grouped))
    advice = None
    if name in roles.votes:
        advice = "The recipe reads this column as votes, as intended: do not use it as part of the text."
    elif column.in_text:
        advice = "The model may rely on this column only: compare with a model that reads only the other text columns"
        advice += "." if grouped else ", and set split.group to it if new rows will have other values there."
    what = f"class {best.class_name!r} against the rest" if best.class_name else "the label"
    return make_finding(
        "leaky-column",
        f"{'Text column' if column.in_text else 'Column'} {name!r} predicts {what} on its own: accuracy "
        f"{best.accuracy:.1%} on held-out rows, majority class {best.majority:.1%} ({best.predictor} avoids "
        f"{best.error_reduction:.0%} of the errors)",
        severity="note" if is_note else "warning", count=1, advice=advice,
        details={"column": name, "targets": [target.to_dict() for target in targets]},
    )  # fmt: skip
