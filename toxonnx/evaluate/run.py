"""An evaluation from its models to its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import toxonnx
from toxonnx.errors import InputError
from toxonnx.evaluate.models import Model, rows_for, score, suite_report
from toxonnx.evaluate.report import Scored, compare, model_report
from toxonnx.evaluate.suites import Questions
from toxonnx.io.table import Table

__all__ = ["Asked", "evaluate_models", "report_of"]


@dataclass(frozen=True)
class Asked:
    """What a file is to be read for.

    Attributes:
        table: all of its columns.
        text, label, names: see :func:`toxonnx.evaluate.models.rows_for`.
        by: columns whose values are told apart.
    """

    table: Table
    text: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    by: tuple[str, ...] = ()


def evaluate_models(
    models: Sequence[Model],
    asked: Asked | None,
    questions: Questions | None,
    *,
    bootstrap_samples: int,
    seed: int,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Asks models about labelled rows, a functional suite, or both; the first is compared with each other one.

    Args:
        models: who answers; each with a name of its own.
        asked: labelled rows, or None.
        questions: a suite, or None.
        bootstrap_samples, seed: of the resamples.
        log: takes words on progress.

    Returns:
        The report, see :func:`report_of`.

    Raises:
        InputError: the models' labels differ, or a file does not fit them. Found before anything is scored.
    """
    first = models[0]
    prepared, groups = [], {}
    if asked:
        groups = {column: asked.table.column(column) for column in asked.by}
        for model in models:
            if model.labels.names != first.labels.names:
                raise InputError(
                    f"{model.name} has the labels {', '.join(model.labels.names)}; "
                    f"{first.name} has {', '.join(first.labels.names)}",
                    "Models are compared on the same labels, in the same order.",
                )
            prepared.append(rows_for(model, asked.table, text=asked.text, label=asked.label, names=asked.names))
            read = {*model.text.choose_columns(list(asked.table.columns), asked.text)} & set(asked.by)
            if read:
                raise InputError(f"--group-by {read.pop()}: that column is part of the text, which no report may hold")
    if questions:
        for model in models:
            questions.check(model.labels, model.name)
    scored = []
    for model, rows in zip(models, prepared, strict=False):
        log(f"scoring {len(rows.texts):,} rows with {model.name}")
        scored.append(score(model, rows))
    suite = None
    if questions:
        log(f"asking {len(questions.cases.texts):,} cases of {questions.suite.title}")
        suite = suite_report(questions, models)
    where = asked.table.path.name if asked else ""
    return report_of(scored, where, suite, by=groups, bootstrap_samples=bootstrap_samples, seed=seed, log=log)


def report_of(
    scored: Sequence[Scored],
    where: str,
    suite: dict[str, Any] | None,
    *,
    by: Mapping[str, Sequence[str]] | None = None,
    bootstrap_samples: int,
    seed: int,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """The report of what was scored.

    Returns:
        Plain values: ``toxonnx`` (version), ``intervals`` (``bootstrap_samples``, ``seed``), ``file`` (``name``, ``rows``,
        ``distinct_texts``; None without rows), ``models`` (see :func:`model_report`), ``comparisons`` (see
        :func:`compare`) and ``suite`` (see :func:`suite_report`; None without one).
    """
    models, comparisons = [], []
    for one in scored:
        log(f"measuring {one.name} ({bootstrap_samples} resamples)")
        models.append(model_report(one, by, bootstrap_samples=bootstrap_samples, seed=seed))
    for one in scored[1:]:
        log(f"comparing {scored[0].name} with {one.name}")
        comparisons.append(compare(scored[0], one, bootstrap_samples=bootstrap_samples, seed=seed))
    file = None
    if models:
        file = {"name": where, "rows": models[0]["rows"], "distinct_texts": models[0]["distinct_texts"]}
    return {
        "toxonnx": toxonnx.__version__, "intervals": {"bootstrap_samples": bootstrap_samples, "seed": seed}, "file": file, "models": models,
        "comparisons": comparisons, "suite": suite,
    }  # fmt: skip
