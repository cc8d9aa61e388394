"""The HTML page of ``toxonnx check``."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Any

from toxonnx.check.class_sizes import ClassSize
from toxonnx.check.column_predictors import ColumnResult
from toxonnx.check.finding import Finding, plural
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
from toxonnx.html import document, escape_label, horizontal_bars, key_value_table, new_figure, svg_figure, table

__all__ = ["page"]

INK, MARK, DIM, WARM, COLD = "#1c2330", "#0b6e4f", "#c3c9d4", "#c98a2b", "#5b7db1"
SEVERITY_COLOURS = {"error": "#a3262a", "warning": "#8a5a00", "note": "#4a5568"}


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
        colour = SEVERITY_COLOURS[finding.severity]
        parts.append(
            f"<p><strong style='color:{colour}'>{finding.severity}</strong> {escape(first)}"
            + "".join(f"<br><span class='dim'>{escape(line)}</span>" for line in others)
            + "</p>"
        )
    return "".join(parts) if findings else "<h2>Findings</h2><p>None.</p>"


def _classes(report: CheckReport) -> list[str]:
    if not report.classes:
        return []
    return [
        f"<h2>{'Labels' if report.multi_label else 'Classes'}</h2>",
        svg_figure(_class_bars(report.classes), "rows and distinct texts per class"),
        "<details><summary>Table</summary>" + table(*class_table(report)) + "</details>",
    ]


def _class_bars(classes: Sequence[ClassSize]) -> Any:
    largest = sorted(classes, key=lambda size: -size.rows)[:MAX_TABLE_ROWS]
    longest = max(size.rows for size in largest) or 1
    figure, axes = horizontal_bars([size.name for size in largest], longest, 0.3)
    positions = range(len(largest))
    axes.barh(positions, [size.rows for size in largest], color=DIM, height=0.62, label="rows")
    axes.barh(positions, [size.distinct_texts for size in largest], color=MARK, height=0.3, label="distinct texts")
    for i, size in enumerate(largest):
        text = f"{size.rows:,} rows, {size.distinct_texts:,} texts"
        axes.text(size.rows + longest * 0.01, i, text, va="center", fontsize=10)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)
    return figure


def _lengths(tokens: TokenLengths | None) -> list[str]:
    if not tokens:
        return []
    edges, counts, limit = tokens.histogram.edges, tokens.histogram.counts, tokens.max_length
    figure, axes = new_figure(9, 2.8)
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
        parts.append(svg_figure(_baseline_bars(report.baselines), "macro F1 of the TF-IDF baseline per kind of split"))
    return [
        *parts,
        "<p class='dim'>Macro F1 of logistic regression on TF-IDF features of words and pairs of words. Bars are the "
        f"median of {SPLITS_PER_KIND} splits, whiskers the range, dotted lines the majority class. A transformer is "
        "worth its cost only if it scores higher on the same split.</p>",
        table(header, rows),
    ]


def _baseline_bars(results: Sequence[SplitResult]) -> Any:
    figure, axes = horizontal_bars([result.split for result in results], 1, 0.3)
    colours = [WARM if result.split == RANDOM else MARK for result in results]
    axes.barh(range(len(results)), [result.baseline.macro_f1.median for result in results], color=colours, height=0.62)
    for i, result in enumerate(results):
        score, majority = result.baseline.macro_f1, result.majority.macro_f1.median
        axes.plot([score.min, score.max], [i, i], color=INK, linewidth=1.2, solid_capstyle="butt")
        axes.plot([majority, majority], [i - 0.31, i + 0.31], color=INK, linewidth=1, linestyle=":")
        axes.text(score.max + 0.015, i, f"{score.median:.3f}", va="center", fontsize=10)
    return figure


def _columns(report: CheckReport) -> list[str]:
    columns = report.single_columns[:MAX_TABLE_ROWS]
    if not columns:
        return []
    return [
        "<h2>Single columns</h2>",
        svg_figure(_column_bars(columns), "share of the majority class's errors that each column avoids"),
        "<p class='dim'>How well each column predicts the label on its own: the share of the majority class's "
        "errors on held-out rows that it avoids, for all classes, and for the class that it separates best from the "
        "rest. A column outside the text with a high value contains the label in another form. If one of several text "
        "columns has a high value, a model may rely on that column only.</p>",
        table(*column_table(report)),
    ]


def _column_bars(columns: Sequence[ColumnResult]) -> Any:
    figure, axes = horizontal_bars(
        [column.column + (" (text)" if column.in_text else "") for column in columns], 1, 0.3
    )
    legend: dict[str, Any] = {}
    for i, column in enumerate(columns):
        end = 0.0
        texts: list[str] = []
        for target, name, colour, height in (
            (column.best_class, "best class", DIM, 0.62),
            (column.all_classes, "all classes", COLD, 0.3),
        ):
            if target:
                share = max(target.error_reduction, 0)
                legend[name] = axes.barh(i, share, color=colour, height=height)
                end = max(end, share)
                texts.insert(0, f"{target.class_name} {share:.0%}".strip())
        axes.text(end + 0.015, i, escape_label("; ".join(texts)), va="center", fontsize=10)
    axes.legend(legend.values(), legend.keys(), frameon=False, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)
    return figure
