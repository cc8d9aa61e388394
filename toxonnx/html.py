"""Building blocks of self-contained HTML reports: no scripts, no external resources, plots as inline SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["axes", "bars", "document", "drawn", "facts", "figure", "table"]

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
th { color: var(--dim); font-weight: 600; vertical-align: bottom; } .words { text-align: left; }
tr.first td { font-weight: 600; color: var(--mark); }
table.facts td { text-align: left; white-space: normal; }
figure { margin: .5rem 0; } figure svg { max-width: 100%; height: auto; }
details { margin: .75rem 0; } summary { cursor: pointer; }
"""


def document(title: str, *parts: str) -> str:
    """A complete page.

    Args:
        title: of the page, as plain text.
        parts: HTML fragments.
    """
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, mark_first: bool = False, left: int = 1) -> str:
    """A table.

    Args:
        header, rows: cells as plain text.
        mark_first: whether to highlight the first row.
        left: number of left-aligned columns; the others are right-aligned.
    """

    def cells(kind: str, row: Sequence[str]) -> str:
        words = f'<{kind} class="words">'
        return "".join(
            f"{words if column < left else f'<{kind}>'}{_unbroken(cell)}</{kind}>" for column, cell in enumerate(row)
        )

    lines = []
    for number, row in enumerate(rows):
        kind = ' class="first"' if mark_first and number == 0 else ""
        lines.append(f"<tr{kind}>{cells('td', row)}</tr>")
    return f'<div class="scroll"><table><tr>{cells("th", header)}</tr>{"".join(lines)}</table></div>'


def _unbroken(cell: str) -> str:
    """An escaped cell with non-breaking spaces in its intervals: a line breaks before an interval, not in it."""
    return re.sub(r"\((?:chance: )?[-+]?\d[^()]*\)", lambda interval: interval[0].replace(" ", "&nbsp;"), escape(cell))


def facts(values: Mapping[str, str]) -> str:
    """A table with one row per name and value, both as plain text."""
    lines = (f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in values.items())
    return f'<table class="facts">{"".join(lines)}</table>'


def drawn(name: str) -> str:
    """A name from a file, escaped for matplotlib and truncated to 80 characters.

    Matplotlib leaves names with a leading ``_`` out of a legend, and renders text between ``$`` as a formula.
    """
    short = name if len(name) <= 80 else f"{name[:77]}..."
    return ("\u200b" if short.startswith("_") else "") + short.replace("$", r"\$")


def axes(width: float, height: float) -> tuple[Any, Any]:
    """A figure and its axes.

    Args:
        width, height: in inches.
    """
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height))
    subplot = drawing.subplots()
    subplot.spines[["top", "right"]].set_visible(False)
    subplot.tick_params(length=0)
    return drawing, subplot


def bars(names: Sequence[str], longest: float, room: float) -> tuple[Any, Any]:
    """A figure and its axes for horizontal bars at 0, 1, ..., the first at the top.

    Args:
        names: names of the bars.
        longest: length of the longest bar.
        room: space to the right of the longest bar for a text, as a share of its length.
    """
    drawing, subplot = axes(9, 0.5 + 0.45 * len(names))
    subplot.set_yticks(range(len(names)), list(map(drawn, names)))
    subplot.set_ylim(len(names) - 0.5, -0.5)
    subplot.set_xlim(0, longest * (1 + room))
    subplot.xaxis.set_visible(False)
    subplot.spines["bottom"].set_visible(False)
    return drawing, subplot


def figure(drawing: Figure, caption: str) -> str:
    """A matplotlib figure as inline SVG with selectable text.

    Args:
        drawing: the figure.
        caption: description for screen readers.
    """
    import matplotlib

    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "toxonnx", "font.family": "sans-serif"}
    with matplotlib.rc_context(settings):
        drawing.savefig(buffer, format="svg", transparent=True, metadata={"Date": None}, bbox_inches="tight")
    svg = buffer.getvalue()
    label = f'<svg role="img" aria-label="{escape(caption, quote=True)}"'
    return f"<figure>{svg[svg.index('<svg') :].replace('<svg', label, 1)}</figure>"
