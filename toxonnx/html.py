"""Building blocks of self-contained HTML reports: no scripts, nothing loaded from elsewhere, plots as inline SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["document", "escape_label", "horizontal_bars", "key_value_table", "new_figure", "svg_figure", "table"]

STYLE = """
:root { color-scheme: light; --ink: #1c2330; --dim: #5d6778; --line: #dfe3ea; --mark: #0b6e4f; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; margin: 2.5rem auto;
       max-width: 60rem; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; } .dim { color: var(--dim); } .lead { font-size: 1.1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .84rem; }
th, td { padding: .35rem .7rem .35rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 600; vertical-align: bottom; } .left { text-align: left; }
tr.first td { font-weight: 600; color: var(--mark); }
table.key-values td { text-align: left; white-space: normal; }
figure { margin: .5rem 0; } figure svg { max-width: 100%; height: auto; }
details { margin: .75rem 0; } summary { cursor: pointer; }
"""


def document(title: str, *parts: str) -> str:
    """A complete page; ``parts`` are HTML and are not escaped."""
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, mark_first: bool = False, left: int = 1) -> str:
    """A table.

    Args:
        header: column names.
        rows: cells, as plain text.
        mark_first: highlight the first row.
        left: number of columns that are aligned to the left; the others are aligned to the right.
    """

    def cells(tag: str, row: Sequence[str]) -> str:
        aligned = f'<{tag} class="left">'
        return "".join(
            f"{aligned if i < left else f'<{tag}>'}{_escape_cell(cell)}</{tag}>" for i, cell in enumerate(row)
        )

    lines = []
    for number, row in enumerate(rows):
        attribute = ' class="first"' if mark_first and number == 0 else ""
        lines.append(f"<tr{attribute}>{cells('td', row)}</tr>")
    return f'<div class="scroll"><table><tr>{cells("th", header)}</tr>{"".join(lines)}</table></div>'


def _escape_cell(cell: str) -> str:
    """The cell, escaped, with no line breaks inside an interval."""
    return re.sub(r"\((?:chance: )?[-+]?\d[^()]*\)", lambda match: match[0].replace(" ", "&nbsp;"), escape(cell))


def key_value_table(values: Mapping[str, str]) -> str:
    """A table of names and values, without a header."""
    lines = (f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in values.items())
    return f'<table class="key-values">{"".join(lines)}</table>'


def escape_label(name: str) -> str:
    """A name from a file for matplotlib: shortened to 80 characters, with no math text, and never hidden in a legend.

    matplotlib parses text between dollar signs as a formula, and leaves labels that start with ``_`` out of legends.
    """
    short = name if len(name) <= 80 else f"{name[:77]}..."
    return ("\u200b" if short.startswith("_") else "") + short.replace("$", r"\$")


def new_figure(width: float, height: float) -> tuple[Any, Any]:
    """A matplotlib figure and its axes; width and height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)
    return figure, axes


def horizontal_bars(names: Sequence[str], longest: float, margin: float) -> tuple[Any, Any]:
    """A figure and its axes for a horizontal bar chart, with the first bar at the top. The bars are not drawn.

    Args:
        names: labels of the bars at 0, 1, ...
        longest: length of the longest bar.
        margin: share of it that is left free to the right of it, for text.
    """
    figure, axes = new_figure(9, 0.5 + 0.45 * len(names))
    axes.set_yticks(range(len(names)), [escape_label(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, longest * (1 + margin))
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return figure, axes


def svg_figure(figure: Figure, caption: str) -> str:
    """A matplotlib figure as inline SVG, with its text kept as text."""
    import matplotlib

    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "toxonnx", "font.family": "sans-serif"}
    with matplotlib.rc_context(settings):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None}, bbox_inches="tight")
    svg = buffer.getvalue()
    label = f'<svg role="img" aria-label="{escape(caption, quote=True)}"'
    return f"<figure>{svg[svg.index('<svg') :].replace('<svg', label, 1)}</figure>"
