"""Building blocks of self-contained HTML reports: no scripts, nothing loaded from elsewhere, plots as inline SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from toxonnx.texts import replace_surrogates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Bar",
    "alert",
    "bar_chart",
    "document",
    "escape_label",
    "key_value_table",
    "new_figure",
    "paragraph",
    "svg_figure",
    "table",
]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --dim: #5d6778; --line: #dfe3ea; --paper: #fff; --track: #eef1f5;
        --c0: #0b6e4f; --c1: #8a94a6; --c2: #b9761a; --c3: #5b7db1; --c4: #a0527a; --c5: #6b8e23;
        --good: #0b6e4f; --fair: #a86a12; --bad: #b3261e; --plot: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ec; --dim: #a3adbb; --line: #39414d; --paper: #15191f; --track: #232932;
          --c0: #3fb68b; --c2: #d9a04f; --c3: #86a6dc; --c4: #cf87ab; --c5: #a3c35a;
          --good: #3fb68b; --fair: #d9a04f; --bad: #f0837b; --plot: #e6e9ee; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2.5rem auto;
       max-width: 60rem; padding: 0 1.25rem; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; } .dim { color: var(--dim); } .lead { font-size: 1.1rem; }
.alert { border-left: .3rem solid var(--bad); background: var(--track); padding: .6rem .9rem; font-weight: 600; }
.error { color: var(--bad); } .warning { color: var(--fair); } .note { color: var(--dim); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .84rem; }
th, td { padding: .35rem .7rem .35rem 0; text-align: right; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 600; vertical-align: bottom; } .left { text-align: left; }
tr.first td { font-weight: 600; color: var(--good); }
table.key-values td { text-align: left; white-space: normal; vertical-align: top; }
figure { margin: .5rem 0; } figure svg { max-width: 100%; height: auto; }
.plot { display: inline-block; max-width: 100%; box-sizing: border-box; background: var(--plot); border-radius: .4rem; }
.bars { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: .3rem .8rem; font-size: .84rem;
        max-width: 54rem; }
.bars .name { max-width: 22rem; } .bars .group { align-self: center; }
.bar { position: relative; display: flex; align-items: center; gap: .4rem; min-height: 1.3rem; line-height: 1.2; }
.bar i { flex: none; height: .8rem; background: var(--fill); border-radius: 0 .15rem .15rem 0; }
.bar b, .bar u { position: absolute; top: 50%; } .bar b { border-top: 1.5px solid var(--ink); }
.bar span { position: relative; background: var(--paper); padding: 0 .2rem; }
.bar u { height: 1.2rem; margin-top: -.6rem; border-left: 2px dotted var(--ink); }
details { margin: .75rem 0; } summary { cursor: pointer; }
@media (max-width: 40rem) {
  body { margin: 1.25rem auto; }
  .bars { grid-template-columns: 1fr; gap: .1rem; } .bars .group { margin-bottom: .5rem; }
  table.stacked, table.stacked tbody, table.stacked tr, table.stacked td { display: block; }
  table.stacked tr.header { display: none; }
  table.stacked tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  table.stacked td { border: 0; padding: .1rem 0; text-align: right; display: flex; gap: 1rem;
                     justify-content: space-between; }
  table.stacked td::before { content: attr(data-name); color: var(--dim); text-align: left; }
  table.stacked td:not([data-name])::before { content: none; }
  table.stacked td:empty { display: none; }
  table.stacked td:first-child { font-weight: 600; text-align: left; }
}
"""

#: width of the longest bar of a chart, in percent of its column; the rest is for the text behind it
LONGEST_BAR = 65


@dataclass(frozen=True)
class Bar:
    """A bar of a chart.

    Attributes:
        value: its length.
        text: after the bar.
        colour: a CSS colour.
        span: ends of a line over the bar, for a range or an interval.
        mark: where a dotted line crosses it, for comparison.
    """

    value: float
    text: str
    colour: str = "var(--c0)"
    span: tuple[float, float] | None = None
    mark: float | None = None


def document(title: str, *parts: str) -> str:
    """A complete page; ``parts`` are HTML and are not escaped. Names of files may have lone surrogates; it has none."""
    body = "\n".join(parts)
    return replace_surrogates(
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

    first = ' class="first"' if mark_first else ""
    names = [f' data-name="{escape(name, quote=True)}"' if name else "" for name in header]
    align = [' class="left"' if i < left else "" for i in range(len(header))]
    heads = "".join(f"<th{align[i]}>{_escape_cell(name)}</th>" for i, name in enumerate(header))
    lines = []
    for number, row in enumerate(rows):
        # On a narrow screen, each row becomes a block of lines with the name of the column and the value.
        cells = "".join(f"<td{align[i]}{names[i]}>{_escape_cell(cell)}</td>" for i, cell in enumerate(row))
        lines.append(f"<tr{first if number == 0 else ''}>{cells}</tr>")
    body = "".join(lines)
    kind = ' class="stacked"' if len(header) > 2 else ""
    return f'<div class="scroll"><table{kind}><tr class="header">{heads}</tr>{body}</table></div>'


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
    short = replace_surrogates(name if len(name) <= 80 else f"{name[:77]}...")
    return ("\u200b" if short.startswith("_") else "") + short.replace("$", r"\$")


def new_figure(width: float, height: float) -> tuple[Any, Any]:
    """A matplotlib figure and its axes; width and height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)
    return figure, axes


def bar_chart(rows: Sequence[tuple[str, Sequence[Bar]]], longest: float, caption: str) -> str:
    """A horizontal bar chart in HTML, which fits any width of a screen.

    Args:
        rows: a name and one bar or several.
        longest: the value that the longest possible bar has.
        caption: description of the chart for screen readers.
    """
    lines = []
    for name, bars in rows:
        drawn = "".join(_bar(bar, longest) for bar in bars)
        lines.append(f'<div class="name">{escape(name)}</div><div class="group">{drawn}</div>')
    return f'<figure class="bars" role="group" aria-label="{escape(caption, quote=True)}">{"".join(lines)}</figure>'


def _bar(bar: Bar, longest: float) -> str:
    def percent(value: float) -> str:
        return f"{LONGEST_BAR * max(value, 0.0) / (longest or 1):.2f}%"

    high = max(bar.value, bar.span[1]) if bar.span else bar.value
    parts = [f'<i style="width:{percent(bar.value)};--fill:{bar.colour}"></i>']
    if bar.span:
        low = bar.span[0]
        parts.append(f'<b style="left:{percent(low)};width:{percent(bar.span[1] - low)}"></b>')
    if bar.mark is not None:
        parts.append(f'<u style="left:{percent(bar.mark)}"></u>')
    gap = percent(high - bar.value)
    return f'<div class="bar">{"".join(parts)}<span style="margin-left:{gap}">{escape(bar.text)}</span></div>'


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def alert(text: str) -> str:
    """A paragraph that nobody should overlook."""
    return f'<p class="alert">{escape(text)}</p>'


def svg_figure(figure: Figure, caption: str) -> str:
    """A matplotlib figure as inline SVG, with its text kept as text."""
    import matplotlib

    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "toxonnx", "font.family": "sans-serif"}
    with matplotlib.rc_context(settings):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None}, bbox_inches="tight")
    svg = buffer.getvalue()
    label = f'<svg role="img" aria-label="{escape(caption, quote=True)}"'
    return f"<figure><div class='plot'>{svg[svg.index('<svg') :].replace('<svg', label, 1)}</div></figure>"
