"""The HTML page of ``toxonnx eval``."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from toxonnx.evaluate.metrics import Metrics
from toxonnx.evaluate.report import Curve, EvaluationReport, ModelReport
from toxonnx.evaluate.sections import (
    CONFUSION,
    Section,
    comparison_sections,
    headline,
    model_sections,
    suite_sections,
)
from toxonnx.evaluate.suites import SuiteReport
from toxonnx.html import Bar, alert, bar_chart, document, escape_label, new_figure, svg_figure, table

__all__ = ["page"]

COLOURS = ("#0b6e4f", "#c98a2b", "#5b7db1", "#a0527a", "#6b8e23", "#8a94a6", "#b5482f", "#2f7f8f", "#7a6a4f")
#: line styles; the next one is used when the colours repeat
LINES = ("solid", "dashed", "dotted", "dashdot")
#: accuracies on a functionality: of guessing, and from which a bar is green
GUESSING, GOOD = 0.5, 0.8


def page(report: EvaluationReport) -> str:
    """A report as one self-contained HTML page. Needs matplotlib."""
    models, suite = report.models, report.suite
    title = f"Evaluation of {models[0].name}" if models else f"Results on {suite.title if suite else ''}"
    parts = [f"<h1>{escape(title)}</h1>"]
    shared = [headline(report), *comparison_sections(report.comparisons)] if models else []
    parts += [_section(one) for one in shared]
    if models:
        parts += [
            "<h2>Calibration</h2>",
            "<p class='dim'>For texts whose most probable label has about this probability: the share that has this "
            "label. On the diagonal, both are equal; below it the model is overconfident, above it underconfident. "
            "Each dot stands for about the same number of texts; lines are 95% intervals.</p>",
            svg_figure(_reliability(models), "reliability diagram"),
        ]
    for model in models:
        parts.append(f"<h2>{escape(model.name)}</h2>")
        metrics = model.measured.metrics
        if metrics.confusion:
            parts.append("<h3>Confusion matrix</h3>")
            parts.append(svg_figure(_confusion(metrics), f"confusion matrix of {model.name}"))
            parts.append("<p class='dim'>Numbers of texts; the shade is the share of the row's actual label.</p>")
        parts.append("<h3>Precision and recall at every threshold</h3>")
        parts.append(svg_figure(_curves(model.curves), f"precision and recall of {model.name}"))
        parts += [_section(one, "h3") for one in model_sections(model) if not one.title.startswith(CONFUSION)]
    if suite:
        parts.append(f"<h2>{escape(suite.title)}</h2>")
        parts.append(
            "<p class='dim'>Accuracy by functionality. Green: at least 80%; amber: 50 to 80%; red: worse than "
            "guessing, which is the dotted line. Lines are 95% intervals.</p>"
        )
        parts.append(_suite(suite))
        parts += [_section(one, "h3") for one in suite_sections(suite)]
        parts.append(f"<p class='dim'>{escape(suite.source.strip())}</p>")
    if models and report.bootstrap.samples:
        parts.append(
            f"<p class='dim'>95% intervals of metrics are from {report.bootstrap.samples:,} bootstrap samples of the "
            "distinct texts; those of shares in a group, and of shares that are 0 or 1, are Wilson's, over distinct "
            "texts.</p>"
        )
    parts.append(f"<p class='dim'>Made by toxonnx {escape(report.toxonnx)}.</p>")
    return document(title, *parts)


def _section(part: Section, level: str = "h2") -> str:
    notes = "".join(map(alert, part.alerts)) + "".join(f"<p class='dim'>{escape(note)}</p>" for note in part.notes)
    body = table(part.header, part.rows, left=part.left) if part.rows else ""
    return f"<{level}>{escape(part.title)}</{level}>{notes}{body}"


def _line(number: int) -> dict[str, str]:
    return {
        "color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number // len(COLOURS) % len(LINES)],
    }  # fmt: skip


def _percent_axes(axes: Any) -> None:
    """Axes from 0 to 100% in both directions."""
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.grid(color="#dfe3ea", linewidth=0.7)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _reliability(models: Sequence[ModelReport]) -> Any:
    figure, axes = new_figure(5.4, 4.4)
    axes.plot([0, 1], [0, 1], color="#8a94a6", linewidth=1, linestyle="--")
    for number, model in enumerate(models):
        bins = model.reliability
        x, y = [one.probability for one in bins], [one.accuracy for one in bins]
        ends = [one.interval for one in bins]
        below = [share - low for share, (low, _) in zip(y, ends, strict=True)]
        above = [high - share for share, (_, high) in zip(y, ends, strict=True)]
        axes.errorbar(
            x, y, yerr=[below, above], fmt="o", markersize=5, elinewidth=1.2, color=COLOURS[number % len(COLOURS)],
            label=escape_label(model.name),
        )  # fmt: skip
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("share that is correct")
    _percent_axes(axes)
    axes.legend(frameon=False, loc="upper left")
    return figure


def _confusion(metrics: Metrics) -> Any:
    labels, cells = [escape_label(name) for name in metrics.per_class], metrics.confusion
    size = max(3.2, 0.75 * len(labels) + 1.6)
    figure, axes = new_figure(size + 1, size)
    axes.spines[:].set_visible(False)
    shares = [[cell / (sum(row) or 1) for cell in row] for row in cells]
    axes.pcolormesh(shares, cmap="Greens", vmin=0, vmax=1.25, edgecolors="#ffffff", linewidth=2)
    axes.invert_yaxis()
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            colour = "#ffffff" if shares[i][j] > 0.75 else "#1c2330"
            axes.text(j + 0.5, i + 0.5, f"{cell:,}", ha="center", va="center", color=colour, fontsize=9)
    positions = [at + 0.5 for at in range(len(labels))]
    rotation = {"rotation": 35, "ha": "right"} if len(labels) > 4 else {}
    axes.set_xticks(positions, labels, **rotation)
    axes.set_yticks(positions, labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    return figure


def _curves(curves: dict[str, Curve]) -> Any:
    figure, axes = new_figure(5.4, 4)
    for number, (label, curve) in enumerate(curves.items()):
        if not curve.recall:  # no row has this label
            continue
        axes.step(curve.recall, curve.precision, where="pre", label=escape_label(label), **_line(number))
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    _percent_axes(axes)
    if any(curve.recall for curve in curves.values()):
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(curves), 3))
    return figure


def _suite(suite: SuiteReport) -> str:
    models, gold = suite.models, {True: suite.positive, False: suite.negative}
    rows = []
    for index, kind in enumerate(models[0].functionalities):
        bars = []
        for model in models:
            one = model.functionalities[index]
            name = f" {model.name}" if len(models) > 1 else ""
            colour = "good" if one.accuracy >= GOOD else "fair" if one.accuracy >= GUESSING else "bad"
            bars.append(
                Bar(one.accuracy, f"{one.accuracy:.0%}{name}", f"var(--{colour})", (one.low, one.high), GUESSING)
            )
        rows.append((f"{kind.code} {kind.description} ({gold[kind.positive]})", bars))
    return bar_chart(rows, 1, f"accuracy by functionality of {suite.title}")
