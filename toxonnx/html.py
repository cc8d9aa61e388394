"""Reports as one HTML file: no script, nothing fetched, pictures inside."""

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
    """A whole page of parts that are HTML already."""
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, mark_first: bool = False, left: int = 1) -> str:
    """A table; its cells are plain text, those of the first ``left`` columns words."""

    def cells(kind: str, row: Sequence[str]) -> str:
        words = f'<{kind} class="words">'
        return "".join(f"{words if at < left else f'<{kind}>'}{_kept(cell)}</{kind}>" for at, cell in enumerate(row))

    lines = []
    for number, row in enumerate(rows):
        kind = ' class="first"' if mark_first and number == 0 else ""
        lines.append(f"<tr{kind}>{cells('td', row)}</tr>")
    return f'<div class="scroll"><table><tr>{cells("th", header)}</tr>{"".join(lines)}</table></div>'


def _kept(cell: str) -> str:
    """A cell that breaks before an interval, if it has to, and not inside."""
    return re.sub(r"\((?:chance: )?[-+]?\d[^()]*\)", lambda found: found[0].replace(" ", "&nbsp;"), escape(cell))


def facts(values: Mapping[str, str]) -> str:
    """A table of names and values."""
    lines = (f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in values.items())
    return f'<table class="facts">{"".join(lines)}</table>'


def drawn(name: str) -> str:
    """A name from a file as matplotlib draws it letter by letter: no formula, no hidden legend, no endless line."""
    short = name if len(name) <= 80 else f"{name[:77]}..."
    return ("\u200b" if short.startswith("_") else "") + short.replace("$", r"\$")


def axes(width: float, height: float) -> tuple[Any, Any]:
    """A drawing and its axes, of so many inches."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height))
    found = drawing.subplots()
    found.spines[["top", "right"]].set_visible(False)
    found.tick_params(length=0)
    return drawing, found


def bars(names: Sequence[str], longest: float, room: float) -> tuple[Any, Any]:
    """A drawing and its axes for lying bars, the first on top.

    Args:
        names: what the bars at 0, 1, ... are called.
        longest: of the bars.
        room: share of it that is kept free behind it, for a text.
    """
    drawing, found = axes(9, 0.5 + 0.45 * len(names))
    found.set_yticks(range(len(names)), list(map(drawn, names)))
    found.set_ylim(len(names) - 0.5, -0.5)
    found.set_xlim(0, longest * (1 + room))
    found.xaxis.set_visible(False)
    found.spines["bottom"].set_visible(False)
    return drawing, found


def figure(drawing: Figure, caption: str) -> str:
    """A matplotlib figure as SVG inside the page, its letters as text."""
    import matplotlib

    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "toxonnx", "font.family": "sans-serif"}
    with matplotlib.rc_context(settings):
        drawing.savefig(buffer, format="svg", transparent=True, metadata={"Date": None}, bbox_inches="tight")
    svg = buffer.getvalue()
    label = f'<svg role="img" aria-label="{escape(caption, quote=True)}"'
    return f"<figure>{svg[svg.index('<svg') :].replace('<svg', label, 1)}</figure>"
