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
from toxonnx.html import axes as new_axes
from toxonnx.html import document, drawn, figure, table

__all__ = ["page"]

COLOURS = ("#0b6e4f", "#c98a2b", "#5b7db1", "#a0527a", "#6b8e23", "#8a94a6", "#b5482f", "#2f7f8f", "#7a6a4f")
#: line styles; the next one is used when the colours repeat
LINES = ("solid", "dashed", "dotted", "dashdot")


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
            "<p class='dim'>Predicted probability of the most probable label, and the share of texts that have this "
            "label. On the diagonal both are equal; below it the model is overconfident, above it underconfident. The "
            "area of a dot grows with the number of texts.</p>",
            figure(_reliability(models), "reliability diagram"),
        ]
    for model in models:
        parts.append(f"<h2>{escape(model.name)}</h2>")
        metrics = model.measured.metrics
        if metrics.confusion:
            parts.append(figure(_confusion(metrics), f"confusion matrix of {model.name}"))
            parts.append("<p class='dim'>Number of texts; the shading is the share of the row.</p>")
        parts.append(figure(_curves(model.curves), f"precision and recall of {model.name}"))
        parts += [_section(one, "h3") for one in model_sections(model) if not one.title.startswith(CONFUSION)]
    if suite:
        parts.append(f"<h2>{escape(suite.title)}</h2>")
        parts.append(figure(_suite(suite), f"accuracy by functionality of {suite.title}"))
        parts.append("<p class='dim'>The dashed line is the accuracy of random guessing.</p>")
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
    notes = "".join(f"<p class='dim'>{escape(note)}</p>" for note in part.notes)
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
    _percent(axes)


def _percent(axes: Any, *, x: bool = True, y: bool = True) -> None:
    for wanted, axis in ((x, axes.xaxis), (y, axes.yaxis)):
        if wanted:
            axis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _reliability(models: Sequence[ModelReport]) -> Any:
    drawing, axes = new_axes(6, 4.6)
    axes.plot([0, 1], [0, 1], color="#8a94a6", linewidth=1, linestyle="--")
    for number, model in enumerate(models):
        bins, colour = model.reliability, COLOURS[number % len(COLOURS)]
        x, y = [one.probability for one in bins], [one.accuracy for one in bins]
        most = max(one.count for one in bins)
        axes.plot(x, y, color=colour, linewidth=1.4, label=drawn(model.name))
        axes.scatter(x, y, s=[12 + 120 * one.count / most for one in bins], color=colour, alpha=0.7, linewidths=0)
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("share that is correct")
    _percent_axes(axes)
    axes.legend(frameon=False, loc="upper left")
    return drawing


def _confusion(metrics: Metrics) -> Any:
    labels, cells = [drawn(name) for name in metrics.per_class], metrics.confusion
    size = max(3.2, 0.75 * len(labels) + 1.6)
    drawing, axes = new_axes(size + 1, size)
    axes.spines[:].set_visible(False)
    shares = [[cell / (sum(row) or 1) for cell in row] for row in cells]
    axes.pcolormesh(shares, cmap="Greens", vmin=0, vmax=1.25, edgecolors="#ffffff", linewidth=2)
    axes.invert_yaxis()
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            colour = "#ffffff" if shares[i][j] > 0.75 else "#1c2330"
            axes.text(j + 0.5, i + 0.5, f"{cell:,}", ha="center", va="center", color=colour, fontsize=9)
    places = [at + 0.5 for at in range(len(labels))]
    turn = {"rotation": 35, "ha": "right"} if len(labels) > 4 else {}
    axes.set_xticks(places, labels, **turn)
    axes.set_yticks(places, labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    return drawing


def _curves(curves: dict[str, Curve]) -> Any:
    drawing, axes = new_axes(7, 4.2)
    for number, (label, curve) in enumerate(curves.items()):
        axes.step(curve.recall, curve.precision, where="pre", label=drawn(label), **_line(number))
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    _percent_axes(axes)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return drawing


def _suite(suite: SuiteReport) -> Any:
    models = suite.models
    kinds = models[0].functionalities
    drawing, axes = new_axes(8, 0.9 + 0.3 * len(kinds))
    height = 0.8 / len(models)
    for number, model in enumerate(models):
        places = [at + (number - (len(models) - 1) / 2) * height for at in range(len(kinds))]
        shares = [one.accuracy for one in model.functionalities]
        colour = COLOURS[number % len(COLOURS)]
        axes.barh(places, shares, height=height * 0.9, color=colour, label=drawn(model.name))
        if len(models) == 1:
            for at, share in zip(places, shares, strict=True):
                axes.text(share + 0.01, at, f"{share:.0%}", va="center", fontsize=8)
    gold = {True: suite.positive, False: suite.negative}
    names = [f"{one.code} {one.description} ({gold[one.positive]})" for one in kinds]
    axes.set_yticks(range(len(kinds)), [drawn(name) for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0.5, color="#1c2330", linewidth=0.8, linestyle="--")
    axes.set_xlim(0, 1.08)
    _percent(axes, y=False)
    axes.set_xlabel("accuracy")
    if len(models) > 1:
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=2)
    return drawing
