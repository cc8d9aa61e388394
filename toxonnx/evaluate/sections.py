"""An evaluation report as titled tables: the same ones on the terminal, in Markdown and on the HTML page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from toxonnx.evaluate.report import (
    Difference,
    EvaluationReport,
    GroupMetrics,
    MeasuredRows,
    ModelComparison,
    ModelReport,
)
from toxonnx.evaluate.suites import CaseAccuracy, FunctionalityAccuracy, SuiteReport
from toxonnx.evaluate.thresholds import ThresholdMetrics
from toxonnx.texts import replace_surrogates
from toxonnx.wording import plural

__all__ = [
    "CONFUSION",
    "Section",
    "comparison_sections",
    "headline",
    "markdown",
    "model_sections",
    "sections",
    "suite_sections",
    "threshold_section",
]

METRICS = {
    "accuracy": "accuracy", "macro_f1": "macro F1", "weighted_f1": "weighted F1", "roc_auc": "ROC-AUC, mean",
    "average_precision": "average precision, mean", "loss": "loss (nats)",
}  # fmt: skip
#: part of the training data -> how a model has seen a text there
SEEN_IN = {
    "training": "in training",
    "validation": "in validation, to choose the epoch",
    "fitted": "to fit scales, calibration or thresholds",
}
#: start of the titles of confusion matrices, which the page draws
CONFUSION = "Confusion matrix"
#: shown for an undefined value
UNDEFINED = "-"
#: with more labels than this, a table of groups has no columns per label
MAX_LABEL_COLUMNS = 4


@dataclass(frozen=True)
class Section:
    """A titled table.

    Attributes:
        title: title of the section.
        alerts: sentences that nobody should overlook, before the notes.
        notes: sentences between title and table.
        header, rows: the table; empty for a section without a table.
        left: number of left-aligned columns.
    """

    title: str
    notes: list[str] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    left: int = 1
    alerts: list[str] = field(default_factory=list)


def sections(report: EvaluationReport) -> list[Section]:
    """All tables of a report."""
    tables = [headline(report)] if report.models else []
    tables += comparison_sections(report.comparisons)
    for model in report.models:
        tables += model_sections(model)
    if report.suite:
        tables += suite_sections(report.suite)
    return tables


def headline(report: EvaluationReport) -> Section:
    """The metrics of all models side by side, with notes on how far they can be trusted."""
    columns: list[tuple[str, MeasuredRows]] = []
    notes: list[str] = []
    alerts: list[str] = []
    for model in report.models:
        for measured, rows in ((model.unseen, "unseen rows"), (model.all_rows, "rows, including seen ones: LEAKY")):
            if measured:
                title = f"{measured.rows:,} {rows if model.leaky_rows else 'rows'}"
                columns.append((f"{model.name}, {title}", measured))
        alerts += _alerts(model)
        notes += _notes(model)
    table = [
        [title, *(_metric(measured.metrics.defined(key), measured.intervals.get(key)) for _, measured in columns)]
        for key, title in METRICS.items()
    ]
    table.append(["calibration error", *(_calibration_error(measured) for _, measured in columns)])
    if any(measured.chance_ece for _, measured in columns):
        notes.append(
            "In parentheses: 95% intervals; for the calibration error, the 95% range that a perfectly calibrated model "
            "would show by chance on the same number of rows."
        )
    file = report.file
    where = [f"{file.name}: {plural(file.rows, 'row')}, {file.distinct_texts:,} distinct."] if file else []
    header = ["", *(title for title, _ in columns)]
    return Section("Metrics", [*where, *notes], header, table, alerts=alerts)


def _calibration_error(measured: MeasuredRows) -> str:
    chance = measured.chance_ece
    return f"{measured.metrics.ece:.4f}" + (f" (chance: {chance[0]:.3f} to {chance[1]:.3f})" if chance else "")


def _alerts(model: ModelReport) -> list[str]:
    """What makes a model's metrics worthless: rows seen in training, and predictions that do not depend on the text."""
    name, metrics, alerts = model.name, model.measured.metrics, []
    if model.leaky_rows:
        each = ", ".join(f"{count:,} {SEEN_IN[part]}" for part, count in model.leaks.items() if count)
        given = "metrics are given with and without them" if model.unseen else "no unseen row with a label is left"
        alerts.append(f"LEAKY: {name} has seen {model.leaky_rows:,} of {plural(model.rows, 'row')} ({each}); {given}.")
    predicted = [label for label, one in metrics.per_class.items() if one.predicted]
    if not predicted and any(one.support for one in metrics.per_class.values()):
        alerts.append(f"{name} predicts no label where one was judged.")
    elif metrics.confusion:
        most = max(one.support for one in metrics.per_class.values()) / max(model.measured.rows, 1)
        if len(predicted) == 1:
            alerts.append(f"{name} always predicts {predicted[0]}: it does not tell the labels apart.")
        elif metrics.accuracy <= most:
            alerts.append(
                f"The accuracy of {name}, {metrics.accuracy:.4f}, is not higher than that of always predicting the "
                f"most frequent label ({most:.4f})."
            )
    return alerts


def _notes(model: ModelReport) -> list[str]:
    """Notes on how far a model's metrics can be trusted."""
    name, notes = model.name, []
    if not model.training_is_known:
        notes.append(f"The training texts of {name} are unknown: rows that it has seen in training cannot be found.")
    elif not model.leaky_rows:
        notes.append(f"No text matches the fingerprints of {name} ({', '.join(model.leaks)}).")
    if model.truncated:
        notes.append(f"{name} truncated {plural(model.truncated, 'text')} to {model.max_length} tokens.")
    if model.empty:
        notes.append(f"{plural(model.empty, 'text is', 'texts are')} empty or without a known token ({name}).")
    if model.kind == "PyTorch":
        notes.append(f"{name} is scored without the calibration and thresholds of a bundle.")
    review = model.review
    if review.rows:
        rest = review.accuracy_of_the_rest
        of_rest = f"; the accuracy on the others is {rest:.4f}" if rest is not None else ""
        notes.append(f"{name} marks {plural(review.rows, 'row')} ({review.share:.1%}) for review{of_rest}.")
    return notes


def comparison_sections(comparisons: Sequence[ModelComparison]) -> list[Section]:
    """Comparisons of the first model with each other model; empty if there is only one model."""
    if not comparisons:
        return []

    def row(title: str, cell: Callable[[ModelComparison], str]) -> list[str]:
        return [title, *map(cell, comparisons)]

    def difference(key: str) -> list[str]:
        return row(f"{METRICS[key]}, difference", lambda one: _difference(one.differences[key]))

    rows = [
        row("rows", lambda one: f"{one.rows:,}" + (" (LEAKY: seen by a model)" if one.leaky else "")),
        row("left out, seen by a model", lambda one: f"{one.leaky_rows_left_out:,}"),
        row("same label", lambda one: f"{one.same_label:.2%}"),
        *(difference(key) for key in ("accuracy", "macro_f1", "loss")),
        row("texts that only the first model gets right", lambda one: str(one.mcnemar.only_first_correct)),
        row("texts that only the second model gets right", lambda one: str(one.mcnemar.only_second_correct)),
        row("p of McNemar's exact test", lambda one: _p(one.mcnemar.p)),
    ]
    note = (
        "Differences are the first model minus the second, with the 95% interval of the paired bootstrap; McNemar's "
        "test is over distinct texts. An interval that contains 0, or a p that is not small, means that these rows "
        "show no difference; it does not prove that there is none."
    )
    header = ["", *(f"{one.first} vs. {one.other}" for one in comparisons)]
    return [Section("Comparison", [note], header, rows)]


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def model_sections(model: ModelReport) -> list[Section]:
    """Labels, confusion matrix, thresholds and groups of one model."""
    measured = model.measured
    kind = "rows, all seen before: LEAKY" if model.unseen is None else "unseen rows" if model.leaky_rows else "rows"
    where = f"{model.name}, {measured.rows:,} {kind}"
    has_errors = any(metrics.ece is not None for metrics in measured.metrics.per_class.values())
    rows = []
    for label, metrics in measured.metrics.per_class.items():
        # Precision is undefined without predictions, recall without support.
        defined = {"precision": metrics.predicted, "recall": metrics.support, "f1": metrics.support + metrics.predicted}
        cells = [
            _metric(
                getattr(metrics, key) if defined.get(key, 1) else None,
                measured.intervals.get(f"per_class/{label}/{key}"),
            )
            for key in ("precision", "recall", "f1", "roc_auc", "average_precision")
        ]
        known = f"{metrics.known:,}" if metrics.known is not None else ""
        if has_errors:
            cells.append(f"{metrics.ece:.4f}" if metrics.ece is not None else "-")
        rows.append([label, *([known] if known else []), f"{metrics.support:,}", f"{metrics.predicted:,}", *cells])
    partial = any(metrics.known is not None for metrics in measured.metrics.per_class.values())
    header = ["label", *(["judged"] if partial else []), "rows", "predicted", "precision", "recall", "F1", "ROC-AUC"]
    header.append("average precision")
    if has_errors:
        header.append("calibration error")
    notes = ["A label counts only in the rows in which it was judged."] if partial else []
    tables = [Section(f"By label: {where}", notes, header, rows)]
    if confusion := measured.metrics.confusion:
        labels = list(measured.metrics.per_class)
        table = [[label, *(f"{cell:,}" for cell in row)] for label, row in zip(labels, confusion, strict=True)]
        tables.append(Section(f"{CONFUSION}: {where}", [], ["actual, predicted", *labels], table))
    if model.threshold_metrics:
        tables.append(threshold_section(f"Thresholds: {where}", model.threshold_metrics))
    tables += [_groups(f"By {column}: {where}", groups) for column, groups in model.groups.items()]
    return tables


def threshold_section(title: str, thresholds: ThresholdMetrics) -> Section:
    """The effect of thresholds; see :func:`toxonnx.evaluate.thresholds.measure_thresholds`."""
    rows = [
        [label, f"{one.threshold:.4f}", f"{one.predicted:,}", _share(one.precision), _share(one.recall)]
        for label, one in thresholds.per_class.items()
    ]
    notes = [f"{thresholds.review:.1%} of the rows are marked for review."] if thresholds.review else []
    return Section(title, notes, ["label", "threshold", "rows predicted", "precision", "recall"], rows)


def _groups(title: str, groups: Sequence[GroupMetrics]) -> Section:
    labels = list(groups[0].per_class) if groups and len(groups[0].per_class) <= MAX_LABEL_COLUMNS else []
    header = ["value", "rows", "accuracy", "macro F1"]
    for label in labels:
        header += [f"{label}: recall", f"{label}: false positive rate"]
    rows = []
    for group in groups:
        row = [group.value or "(empty)", f"{group.rows:,}", _share(group.accuracy), _metric(group.macro_f1, None)]
        for label in labels:
            row += [_share(group.per_class[label].recall), _share(group.per_class[label].false_positive_rate)]
        rows.append(row)
    return Section(title, [], header, rows)


def suite_sections(suite: SuiteReport) -> list[Section]:
    """A functional suite: accuracy by gold label, functionality and group, with one column per model."""
    answers = suite.models
    names = [one.name for one in answers]
    positive_labels = "; ".join(f"{one.name}: {' or '.join(one.positive_labels)}" for one in answers)
    notes = [
        f"{suite.cases:,} cases. Labels that count as {suite.positive}: {positive_labels}. In parentheses: Wilson's "
        "95% intervals, which treat the cases as independent.",
        *(note for note in suite.notes if not note.startswith("LEAKY")),
    ]
    alerts = [note for note in suite.notes if note.startswith("LEAKY")]
    overall = []
    for key, title in (("positive", suite.positive), ("negative", suite.negative), ("all", "all")):
        sides: list[CaseAccuracy | None] = [getattr(one, key) for one in answers]
        if sides[0]:
            overall.append([title, f"{sides[0].cases:,}", *map(_accuracy, sides)])
    kinds = []
    for index, one in enumerate(answers[0].functionalities):
        gold = suite.positive if one.positive else suite.negative
        cells = [_accuracy(answer.functionalities[index]) for answer in answers]
        kinds.append([one.group, f"{one.code} {one.description}", gold, f"{one.cases:,}", *cells])
    header = ["class", "functionality", "gold label", "cases", *names]
    tables = [
        Section(f"{suite.title}: accuracy", notes, ["gold label", "cases", *names], overall, alerts=alerts),
        Section(f"{suite.title} by functionality", [], header, kinds, 3),
    ]
    groups = []
    for index, group in enumerate(answers[0].groups):
        for key, title in (("positive", suite.positive), ("negative", suite.negative)):
            sides = [getattr(answer.groups[index], key) for answer in answers]
            if sides[0]:
                groups.append([group.group, title, f"{sides[0].cases:,}", *map(_accuracy, sides)])
    if groups:
        tables.append(Section(f"{suite.title} by group", [], ["group", "gold label", "cases", *names], groups, 2))
    return tables


def _metric(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return UNDEFINED
    return f"{value:.4f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def _difference(difference: Difference) -> str:
    low, high = difference.low, difference.high
    interval = f" ({low:+.4f} to {high:+.4f})" if low is not None and high is not None else ""
    return f"{difference.value:+.4f}{interval}"


def _share(values: Sequence[float] | None) -> str:
    """A share with its interval, in percent."""
    if values is None:
        return UNDEFINED
    value, low, high = values
    return f"{value:.1%} ({100 * low:.0f} to {100 * high:.0f})"


def _accuracy(one: CaseAccuracy | FunctionalityAccuracy | None) -> str:
    return _share((one.accuracy, one.low, one.high) if one else None)


def markdown(parts: Sequence[Section], level: int = 2) -> str:
    """Sections as GitHub-flavoured Markdown."""
    lines: list[str] = []
    for part in parts:
        lines += [f"{'#' * level} {_escape(part.title)}", ""] if part.title else []
        lines += [line for text in part.alerts for line in (f"**{_escape(text)}**", "")]
        lines += [line for note in part.notes for line in (_escape(note), "")]
        if part.rows:
            rule = ["---"] * part.left + ["---:"] * (len(part.header) - part.left)
            table = [part.header, rule, *part.rows]
            lines += [f"| {' | '.join(map(_escape, row))} |" for row in table] + [""]
    return "\n".join(lines)


def _escape(cell: str) -> str:
    """Text with Markdown's special characters escaped, and no lone surrogates: labels and names come from files."""
    cell = replace_surrogates(cell)
    for mark in "\\|`*_<[":
        cell = cell.replace(mark, "\\" + mark)
    return cell.replace("\n", " ")
