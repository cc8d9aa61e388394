"""The HTML page of ``toxonnx check``."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import Any

from toxonnx.check.finding import plural
from toxonnx.check.render import MOST, baseline_table, class_table, column_table, fact_lines, finding_lines, verdict
from toxonnx.html import axes as new_axes
from toxonnx.html import bars, document, drawn, facts, figure, table

__all__ = ["page"]

INK, MARK, DIM, WARM, COLD = "#1c2330", "#0b6e4f", "#c3c9d4", "#c98a2b", "#5b7db1"
SEVERITY = {"error": "#a3262a", "warning": "#8a5a00", "note": "#4a5568"}


def page(report: dict[str, Any]) -> str:
    """One self-contained page of a report that the check verb made. Needs matplotlib."""
    title = f"{report['file']}: what makes its metrics lie"
    return document(
        title,
        f"<h1>{escape(title)}</h1><p class='lead'>{escape(verdict(report))}</p>",
        facts(fact_lines(report)),
        _findings(report["findings"]),
        *_classes(report),
        *_lengths(report["tokens"]),
        *_baselines(report),
        *_columns(report),
        *(f"<p class='dim'>Left out: {escape(line)}.</p>" for line in report["left_out"]),
    )


def _findings(findings: list[dict[str, Any]]) -> str:
    lines = ["<h2>Findings</h2>"]
    for one in findings:
        first, *others = finding_lines(one)
        colour = SEVERITY[one["severity"]]
        lines.append(
            f"<p><strong style='color:{colour}'>{one['severity']}</strong> {escape(first)}"
            + "".join(f"<br><span class='dim'>{escape(line)}</span>" for line in others)
            + "</p>"
        )
    return "".join(lines) if findings else "<h2>Findings</h2><p>None.</p>"


def _classes(report: dict[str, Any]) -> list[str]:
    classes = report["classes"]
    if not classes:
        return []
    return [
        f"<h2>{'Labels' if report['multi_label'] else 'Classes'}</h2>",
        figure(_class_bars(classes), "rows and distinct texts of each class"),
        "<details><summary>Metrics</summary>" + table(*class_table(report)) + "</details>",
    ]


def _class_bars(classes: list[dict[str, Any]]) -> Any:
    first = sorted(classes, key=lambda one: -one["rows"])[:MOST]
    most = max(one["rows"] for one in first) or 1
    drawing, axes = bars([one["name"] for one in first], most, 0.3)
    at = range(len(first))
    axes.barh(at, [one["rows"] for one in first], color=DIM, height=0.62, label="rows")
    axes.barh(at, [one["distinct_texts"] for one in first], color=MARK, height=0.3, label="distinct texts")
    for i, one in enumerate(first):
        text = f"{one['rows']:,} rows, {one['distinct_texts']:,} texts"
        axes.text(one["rows"] + most * 0.01, i, text, va="center", fontsize=10)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)
    return drawing


def _lengths(tokens: dict[str, Any] | None) -> list[str]:
    if not tokens:
        return []
    edges, counts = tokens["histogram"]["edges"], tokens["histogram"]["counts"]
    drawing, axes = new_axes(9, 2.8)
    axes.bar(edges[:-1], counts, width=[b - a for a, b in pairwise(edges)], align="edge", color=MARK)
    axes.axvline(tokens["limit"], color=WARM, linewidth=1.5)
    axes.text(
        tokens["limit"] + edges[-1] * 0.008, max(counts), f"limit {tokens['limit']}", color=WARM, va="top", fontsize=10
    )
    axes.set_xlim(0, edges[-1] * 1.12)
    axes.set_xlabel("tokens, special ones included")
    axes.set_ylabel("rows")
    where = (
        f"Counted with the tokenizer of {tokens['tokenizer']}. {plural(tokens['rows_cut'], 'row')} "
        f"({tokens['share_of_rows_cut']:.2%}) cut at the limit, and {tokens['share_of_tokens_cut']:.2%} of all "
        f"tokens with them; the last bar holds all longer texts, up to {tokens['max']:,} tokens."
    )
    return [
        "<h2>Length</h2>",
        figure(drawing, "rows by their number of tokens"),
        f"<p class='dim'>{escape(where)}</p>",
    ]


def _baselines(report: dict[str, Any]) -> list[str]:
    header, rows = baseline_table(report)
    if not rows:
        return []
    parts = ["<h2>What needs no transformer</h2>"]
    if report["baselines"]:
        splits = report["baselines"]
        drawing, axes = bars([one["split"] for one in splits], 1, 0.3)
        values = [one["baseline"]["macro_f1"] for one in splits]
        colours = [WARM if one["split"] == "random" else MARK for one in splits]
        axes.barh(range(len(splits)), [one["median"] for one in values], color=colours, height=0.62)
        for i, (one, value) in enumerate(zip(splits, values, strict=True)):
            axes.plot([value["min"], value["max"]], [i, i], color=INK, linewidth=1.2, solid_capstyle="butt")
            guess = one["majority"]["macro_f1"]["median"]
            axes.plot([guess, guess], [i - 0.31, i + 0.31], color=INK, linewidth=1, linestyle=":")
            axes.text(value["max"] + 0.015, i, f"{value['median']:.3f}", va="center", fontsize=10)
        parts.append(figure(drawing, "macro F1 of counted words on each split"))
    return [
        *parts,
        "<p class='dim'>Macro F1 of TF-IDF over words and pairs of words with logistic regression: bars are the median "
        "of three draws, whiskers the lowest and the highest, dots the majority guess. A transformer has to be better "
        "than this on the same split to be worth its cost.</p>",
        table(header, rows),
    ]


def _columns(report: dict[str, Any]) -> list[str]:
    columns = report["columns_alone"][:MOST]
    if not columns:
        return []
    drawing, axes = bars([one["column"] + (" (text)" if one["in_text"] else "") for one in columns], 1, 0.3)
    legend: dict[str, Any] = {}
    for i, one in enumerate(columns):
        whole = next((target for target in one["targets"] if not target["class"]), None)
        single = [target for target in one["targets"] if target["class"]]
        best = max(single, key=lambda target: target["errors_removed"], default=None)
        reach = 0.0
        texts: list[str] = []
        for target, name, colour, height in ((best, "one class", DIM, 0.62), (whole, "all classes", COLD, 0.3)):
            if target:
                share = max(target["errors_removed"], 0)
                legend[name] = axes.barh(i, share, color=colour, height=height)
                reach = max(reach, share)
                texts.insert(0, f"{target['class']} {share:.0%}".strip())
        axes.text(reach + 0.015, i, drawn("; ".join(texts)), va="center", fontsize=10)
    axes.legend(legend.values(), legend.keys(), frameon=False, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)
    return [
        "<h2>Each column by itself</h2>",
        figure(drawing, "share of the majority guess's errors that each column takes away by itself"),
        "<p class='dim'>Share of the majority guess's errors on held-out rows that a column takes away by itself: in "
        "telling all classes apart, and in telling one class, the named one, from the rest. A column outside the text "
        "that reaches far holds the label in another form; one of several text columns may be all that a model "
        "reads.</p>",
        table(*column_table(report)),
    ]
