"""Runs an evaluation: models on labelled rows, on a functional suite, or on both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import toxonnx
from toxonnx.errors import InputError
from toxonnx.evaluate.measure import compare_models, report_model
from toxonnx.evaluate.models import EvaluatedModel, LabelledTexts, read_labelled_texts, run_suite, score_rows
from toxonnx.evaluate.report import (
    BootstrapOptions,
    EvaluationReport,
    FileSummary,
    ScoredRows,
)
from toxonnx.evaluate.suites import SuiteReport, SuiteRequest
from toxonnx.io.table import Table
from toxonnx.wording import plural

__all__ = ["LabelledFile", "evaluate_models", "make_report"]


@dataclass(frozen=True)
class LabelledFile:
    """A labelled file to evaluate on.

    Attributes:
        table: all of its columns.
        text_columns, label_columns, label_map: see :func:`toxonnx.evaluate.models.read_labelled_texts`.
        group_by: columns whose values are also reported separately.
    """

    table: Table
    text_columns: tuple[str, ...] = ()
    label_columns: tuple[str, ...] = ()
    label_map: Mapping[str, str] = field(default_factory=dict)
    group_by: tuple[str, ...] = ()


def evaluate_models(
    models: Sequence[EvaluatedModel],
    file: LabelledFile | None,
    suite: SuiteRequest | None,
    options: BootstrapOptions,
    log: Callable[[str], None],
) -> EvaluationReport:
    """Evaluates models, and compares the first model with each other model.

    Args:
        models: models with unique names.
        file: labelled rows, or None.
        suite: a functional suite, or None.
        options: how to compute intervals.
        log: called with lines of progress.

    Raises:
        InputError: the models' labels differ, or a file does not fit them; raised before anything is scored.
    """
    rows = _prepare(models, file) if file else []
    if suite:
        for model in models:
            suite.check(model.labels, model.name)
    scored = []
    for model, labelled in zip(models, rows, strict=False):
        log(f"scoring {plural(len(labelled.texts), 'row')} with {model.name}")
        scored.append(score_rows(model, labelled))
    suite_report = None
    if suite:
        log(f"scoring {len(suite.cases.texts):,} cases of {suite.suite.title}")
        suite_report = run_suite(suite, models)
    groups = {column: file.table.column(column) for column in file.group_by} if file else {}
    name = file.table.path.name if file else ""
    return make_report(scored, name, suite_report, groups=groups, options=options, log=log)


def _prepare(models: Sequence[EvaluatedModel], file: LabelledFile) -> list[LabelledTexts]:
    for column in file.group_by:
        file.table.column(column)  # raises if it is missing
    first, rows = models[0], []
    for model in models:
        if model.labels.names != first.labels.names:
            raise InputError(
                f"{model.name} has the labels {', '.join(model.labels.names)}; "
                f"{first.name} has {', '.join(first.labels.names)}",
                "Models can be compared only if they have the same labels, in the same order.",
            )
        rows.append(
            read_labelled_texts(
                model,
                file.table,
                text_columns=file.text_columns,
                label_columns=file.label_columns,
                label_map=file.label_map,
            )
        )
        read = {*model.text.choose_columns(list(file.table.columns), file.text_columns)} & set(file.group_by)
        if read:
            raise InputError(f"--group-by {read.pop()}: this column is part of the text, which no report may contain")
    return rows


def make_report(
    scored: Sequence[ScoredRows],
    file_name: str,
    suite: SuiteReport | None,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    options: BootstrapOptions,
    log: Callable[[str], None],
) -> EvaluationReport:
    """Measures scored rows and compares the first model with the others.

    Args:
        scored: rows scored by each model.
        file_name: name of their file.
        suite: results of a functional suite, or None.
        groups: column -> its value in each row; metrics are also reported for each value.
        options: how to compute intervals.
        log: called with lines of progress.
    """
    models, comparisons = [], []
    for rows in scored:
        log(f"measuring {rows.name} ({options.samples} bootstrap samples)")
        models.append(report_model(rows, groups, options))
    for rows in scored[1:]:
        log(f"comparing {scored[0].name} with {rows.name}")
        comparisons.append(compare_models(scored[0], rows, options))
    return EvaluationReport(
        toxonnx=toxonnx.__version__,
        bootstrap=options,
        file=FileSummary(file_name, models[0].rows, models[0].distinct_texts) if models else None,
        models=models,
        comparisons=comparisons,
        suite=suite,
    )
