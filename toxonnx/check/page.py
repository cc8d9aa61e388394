"""The HTML page of ``toxonnx check``."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from toxonnx.check.class_sizes import ClassSize
from toxonnx.check.column_predictors import ColumnResult
from toxonnx.check.finding import Finding
from toxonnx.check.leaky_splits import RANDOM, SPLITS_PER_KIND, SplitResult
from toxonnx.check.render import (
    MAX_TABLE_ROWS,
    baseline_table,
    class_table,
    column_table,
    fact_lines,
    finding_lines,
    summary_line,
)
from toxonnx.check.report import CheckReport
from toxonnx.check.token_lengths import TokenLengths
from toxonnx.html import Bar, bar_chart, document, key_value_table, new_figure, svg_figure, table
from toxonnx.wording import plural

__all__ = ["page"]

#: colours of bars
ALL_ROWS, CLEAN, LEAKY = "var(--c1)", "var(--c0)", "var(--c2)"
#: colours of the histogram and of the line at the maximum length
MARK, WARM = "#0b6e4f", "#b9761a"


def page(report: CheckReport) -> str:
    """The report as a self-contained HTML page. Needs matplotlib."""
    title = f"Check of {report.file}"
    return document(
        title,
        f"<h1>{escape(title)}</h1><p class='lead'>{escape(summary_line(report))}</p>",
        key_value_table(fact_lines(report)),
        _findings(report.findings),
        *_classes(report),
        *_lengths(report.tokens),
        *_baselines(report),
        *_columns(report),
        *(f"<p class='dim'>Limitation: {escape(limitation)}.</p>" for limitation in report.limitations),
    )


def _findings(findings: Sequence[Finding]) -> str:
    parts = ["<h2>Findings</h2>"]
    for finding in findings:
        first, *others = finding_lines(finding)
        parts.append(
            f"<p><strong class='{finding.severity}'>{finding.severity}</strong> {escape(first)}"
            + "".join(f"<br><span class='dim'>{escape(line)}</span>" for line in others)
            + "</p>"
        )
    return "".join(parts) if findings else "<h2>Findings</h2><p>None.</p>"


def _classes(report: CheckReport) -> list[str]:
    if not report.classes:
        return []
    return [
        f"<h2>{'Labels' if report.multi_label else 'Classes'}</h2>",
        _class_bars(report.classes),
        "<details><summary>Table</summary>" + table(*class_table(report)) + "</details>",
    ]


def _class_bars(classes: Sequence[ClassSize]) -> str:
    largest = sorted(classes, key=lambda size: -size.rows)[:MAX_TABLE_ROWS]
    rows = [
        (
            size.name,
            [
                Bar(size.rows, plural(size.rows, "row"), ALL_ROWS),
                Bar(size.distinct_texts, f"{size.distinct_texts:,} distinct texts"),
            ],
        )
        for size in largest
    ]
    return bar_chart(rows, max(size.rows for size in largest), "rows and distinct texts per class")


def _lengths(tokens: TokenLengths | None) -> list[str]:
    if not tokens:
        return []
    edges, counts, limit = tokens.histogram.edges, tokens.histogram.counts, tokens.max_length
    figure, axes = new_figure(6.4, 2.6)
    axes.bar(edges[:-1], counts, width=[b - a for a, b in pairwise(edges)], align="edge", color=MARK)
    axes.axvline(limit, color=WARM, linewidth=1.5)
    axes.text(
        limit + edges[-1] * 0.008, max(counts), f"maximum length {limit}", color=WARM, va="top", fontsize=10
    )  # fmt: skip
    axes.set_xlim(0, edges[-1] * 1.12)
    axes.set_xlabel("tokens, including special tokens")
    axes.set_ylabel("rows")
    caption = (
        f"Counted with the tokenizer of {tokens.tokenizer}. {plural(tokens.truncated_rows, 'row')} "
        f"({tokens.truncated_row_share:.2%}) and {tokens.truncated_token_share:.2%} of all tokens are cut off at the "
        f"maximum length. The last bar includes all longer texts, up to {tokens.max:,} tokens."
    )
    return [
        "<h2>Text length</h2>",
        svg_figure(figure, "rows by number of tokens"),
        f"<p class='dim'>{escape(caption)}</p>",
    ]


def _baselines(report: CheckReport) -> list[str]:
    header, rows = baseline_table(report)
    if not rows:
        return []
    parts = ["<h2>Baselines</h2>"]
    if report.baselines:
        parts.append(_baseline_bars(report.baselines))
    return [
        *parts,
        "<p class='dim'>Macro F1 of the TF-IDF baseline: logistic regression on words and pairs of words. Bars are the "
        f"median of {SPLITS_PER_KIND} splits, whiskers the range, dotted lines the majority class. A transformer is "
        "worth its cost only if it scores higher on the same split.</p>",
        table(header, rows),
    ]


def _baseline_bars(results: Sequence[SplitResult]) -> str:
    rows = []
    for result in results:
        score, colour = result.baseline.macro_f1, LEAKY if result.split == RANDOM else CLEAN
        bar = Bar(score.median, f"{score.median:.3f}", colour, (score.min, score.max), result.majority.macro_f1.median)
        rows.append((result.split, [bar]))
    return bar_chart(rows, 1, "macro F1 of the TF-IDF baseline per kind of split")


def _columns(report: CheckReport) -> list[str]:
    columns = report.single_columns[:MAX_TABLE_ROWS]
    if not columns:
        return []
    return [
        "<h2>Single columns</h2>",
        _column_bars(columns),
        "<p class='dim'>How well each column predicts the label on its own: the share of the majority class's "
        "errors on held-out rows that it avoids, for all classes, and for the class that it separates best from the "
        "rest. A column outside the text with a high value contains the label in another form. If one of several text "
        "columns has a high value, a model may rely on that column only.</p>",
        table(*column_table(report)),
    ]


def _column_bars(columns: Sequence[ColumnResult]) -> str:
    rows = []
    for column in columns:
        bars = []
        if column.all_classes:
            share = max(column.all_classes.error_reduction, 0.0)
            bars.append(Bar(share, f"all classes: {share:.0%}", CLEAN))
        if column.best_class:
            share = max(column.best_class.error_reduction, 0.0)
            bars.append(Bar(share, f"class {column.best_class.class_name!r}: {share:.0%}", ALL_ROWS))
        rows.append((column.column + (" (text)" if column.in_text else ""), bars))
    return bar_chart(rows, 1, "share of the majority class's errors that each column avoids")
