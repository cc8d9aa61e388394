"""A report as lines of text and table cells, for the terminal and the HTML page."""

from __future__ import annotations

from toxonnx.check.finding import Finding, format_names
from toxonnx.check.leaky_splits import ScoreRange
from toxonnx.check.report import CheckReport
from toxonnx.wording import plural

__all__ = [
    "MAX_TABLE_ROWS",
    "baseline_table",
    "class_table",
    "column_table",
    "fact_lines",
    "finding_lines",
    "summary_line",
]

#: header and rows
TableContent = tuple[list[str], list[list[str]]]

#: classes and columns shown in tables and plots
MAX_TABLE_ROWS = 30


def fact_lines(report: CheckReport) -> dict[str, str]:
    """Facts about the file: name -> value."""
    names = format_names([repr(name) for name in report.columns], 20)
    normalisation = f"normalized: {', '.join(report.normalise)}" if report.normalise else "not normalized"
    facts = {
        "rows": f"{report.rows:,} in {report.file}, {report.usable_rows:,} with a text and a usable label",
        "columns": f"{len(report.columns)}: {names}",
        "text": f"{', '.join(map(repr, report.text_columns))}, {normalisation}",
        "label": ", ".join(map(repr, report.label_columns)),
    }
    if report.recipe:
        facts["recipe"] = report.recipe
    if report.tokens:
        tokens = report.tokens
        facts["tokens"] = (
            f"mean {tokens.mean:.1f}, median {tokens.p50:.0f}, 95th percentile {tokens.p95:.0f}, maximum "
            f"{tokens.max:,}; the model reads {tokens.max_length} (tokenizer of {tokens.tokenizer})"
        )
    if report.usable_rows:
        facts["distinct texts"] = f"{report.distinct_texts:,}"
    if report.blank_lines:
        facts["blank lines"] = f"{report.blank_lines:,}"
    return facts


def class_table(report: CheckReport) -> TableContent:
    """Rows, share and distinct texts of each class, and where it was judged; the largest ones if there are too many."""
    classes = list(report.classes)
    if len(classes) > MAX_TABLE_ROWS:
        classes = sorted(classes, key=lambda size: -size.rows)[:MAX_TABLE_ROWS]
    rows = [[size.name, f"{size.rows:,}", f"{size.share:.1%}", f"{size.distinct_texts:,}"] for size in classes]
    header = ["label" if report.multi_label else "class", "rows", "share", "distinct texts"]
    if any(size.known is not None for size in classes):
        header.append("judged in")
        for row, size in zip(rows, classes, strict=True):
            row.append(f"{report.usable_rows if size.known is None else size.known:,}")
    if len(report.classes) > MAX_TABLE_ROWS:
        rows.append([f"and {len(report.classes) - MAX_TABLE_ROWS:,} more", *[""] * (len(header) - 1)])
    return header, rows


def finding_lines(finding: Finding) -> list[str]:
    """A finding: the message, where it applies, and what to do."""
    lines = [f"{finding.kind}: {finding.message}"]
    if finding.lines:
        numbers = ", ".join(map(str, finding.lines))
        more = f" and {finding.more_lines:,} more" if finding.more_lines else ""
        where = f" of {finding.file}" if finding.file else ""
        lines.append(f"{'lines' if len(finding.lines) > 1 else 'line'} {numbers}{more}{where}")
    elif finding.file:
        lines[0] += f" ({finding.file})"
    if finding.advice:
        lines.append(finding.advice)
    return lines


def baseline_table(report: CheckReport) -> TableContent:
    """Scores of the TF-IDF baseline and of the majority class on each kind of split and on the validation file."""
    header = [
        "split", "held out", "leaking", "accuracy", "range", "macro F1", "range", "majority accuracy",
        "majority macro F1",
    ]  # fmt: skip
    rows = []
    for result in report.baselines:
        baseline, majority = result.baseline, result.majority
        rows.append(
            [
                result.split, f"{result.held_out_rows:,}", f"{result.leaking_rows:,}",
                f"{baseline.accuracy.median:.3f}", _format_range(baseline.accuracy),
                f"{baseline.macro_f1.median:.3f}", _format_range(baseline.macro_f1),
                f"{majority.accuracy.median:.3f}", f"{majority.macro_f1.median:.3f}",
            ]
        )  # fmt: skip
    for subset in report.validation.baselines if report.validation else ():
        rows.append(
            [
                subset.split, f"{subset.held_out_rows:,}", "", f"{subset.baseline.accuracy:.3f}", "",
                f"{subset.baseline.macro_f1:.3f}", "", f"{subset.majority.accuracy:.3f}",
                f"{subset.majority.macro_f1:.3f}",
            ]
        )  # fmt: skip
    return header, rows


def _format_range(scores: ScoreRange) -> str:
    return f"{scores.min:.3f}-{scores.max:.3f}"


def column_table(report: CheckReport) -> TableContent:
    """How well each column predicts the label: all classes, and the class that it predicts best."""
    header = [
        "column", "in text", "values", "accuracy", "majority", "errors avoided", "best class", "errors avoided",
    ]  # fmt: skip
    rows = []
    for column in report.single_columns[:MAX_TABLE_ROWS]:
        overall, best = column.all_classes, column.best_class
        row = [column.column, "yes" if column.in_text else "", f"{column.distinct:,}"]
        if overall:
            row += [f"{overall.accuracy:.1%}", f"{overall.majority:.1%}", _format_percent(overall.error_reduction)]
        else:
            row += ["", "", ""]
        row += [best.class_name, _format_percent(best.error_reduction)] if best else ["", ""]
        rows.append(row)
    return header, rows


def _format_percent(share: float) -> str:
    return f"{share:.0%}".replace("-0%", "0%") if share > -0.005 else f"{share:.0%}"


def summary_line(report: CheckReport) -> str:
    """The number of findings by severity."""
    return ", ".join(plural(count, severity) for severity, count in report.counts().items())
