"""The HTML page of ``toxonnx bench``."""

from __future__ import annotations

import statistics
from html import escape
from typing import Any

import numpy as np

from toxonnx.bench.report import PERCENTILES
from toxonnx.html import axes as new_axes
from toxonnx.html import bars, document, facts, figure, table

__all__ = ["page"]

#: the bundle's colour, then the others'
COLOURS = ("#0b6e4f", "#8a94a6", "#c98a2b", "#5b7db1", "#a0527a", "#6b8e23")


def page(report: dict[str, Any]) -> str:
    """One self-contained page of a report that the bench verb made. Needs matplotlib."""
    entries, texts, machine = report["candidates"], report["texts"], report["machine"]
    first = entries[0]
    title = f"{report['bundle']}: throughput and latency"
    again = texts["rows"] - texts["distinct"]
    repeats = f"{again:,} rows repeat an earlier one: toxonnx scores them once, the others each time." if again else ""
    lead = "".join(f"<p class='lead'>{escape(_verdict(first, entry))}</p>" for entry in entries[1:])
    where = (
        f"{texts['from']}: {texts['rows']:,} rows, {texts['distinct']:,} distinct, {texts['tokens_mean']} tokens on "
        f"average, 95% under {texts['tokens_p95'] + 1}, {texts['truncated']} cut at the limit. "
        f"{report['cores']} cores for each, {report['rounds']} interleaved rounds after a warm-up."
    )
    return document(
        title,
        f"<h1>{escape(title)}</h1><p class='dim'>{escape(where)} {repeats}</p>{lead}",
        "<h2>Throughput</h2>",
        figure(_throughput(entries), "rows a second of each candidate"),
        "<p class='dim'>Bars are medians, whiskers the slowest and the fastest round. Tokenizing is part of it.</p>",
        "<h2>Latency of one text at a time, back to back</h2>",
        figure(_latency(entries), "share of lone texts that were answered within a time"),
        _latency_table(entries),
        "<h2>Padding</h2>",
        figure(_padding(texts["padding"]), "share of tokens that are padding"),
        "<p class='dim'>Work that is done on nothing, for these texts in this order.</p>",
        "<h2>All metrics</h2>",
        _figures(entries, report["price_per_hour"]),
        "<p class='dim'>Cold start is a process from nothing to the score of one text. Load is the "
        "model, after the imports; memory is the most a process took. Files had been read before.</p>",
        "<h2>Agreement</h2>",
        _agreement(entries),
        "<h2>Machine</h2>",
        _machine(machine),
    )


def _verdict(first: dict[str, Any], entry: dict[str, Any]) -> str:
    ratio = entry["ratio"]
    spread = f"(rounds {ratio['min']:.2f} to {ratio['max']:.2f})"
    if ratio["median"] < 1:
        return f"{first['name']} is slower than {entry['name']}: {ratio['median']:.2f} times as fast {spread}."
    return f"{first['name']} is {ratio['median']:.2f} times as fast as {entry['name']} {spread}."


def _bars(names: list[str], values: list[float], colours: list[str], texts: list[str]) -> tuple[Any, Any]:
    longest = max(values) or 1
    drawing, axes = bars(names, longest, 0.18)
    axes.barh(range(len(names)), values, color=colours, height=0.62)
    for at, (value, text) in enumerate(zip(values, texts, strict=True)):
        axes.text(value + longest * 0.02, at, text, va="center", fontsize=10)
    return drawing, axes


def _colours(count: int) -> list[str]:
    return [COLOURS[0], *(COLOURS[1 + i % (len(COLOURS) - 1)] for i in range(count - 1))]


def _throughput(entries: list[dict[str, Any]]) -> Any:
    rates = [entry["rows_per_second"] for entry in entries]
    highest = [rate["max"] for rate in rates]
    texts = [f"{rate['median']:,.0f} rows/s" for rate in rates]
    names = [entry["name"] for entry in entries]
    drawing, axes = _bars(names, highest, ["none"] * len(names), texts)
    axes.barh(range(len(names)), [rate["median"] for rate in rates], color=_colours(len(names)), height=0.62)
    for at, rate in enumerate(rates):
        axes.plot([rate["min"], rate["max"]], [at, at], color="#1c2330", linewidth=1.2, solid_capstyle="butt")
    return drawing


def _latency(entries: list[dict[str, Any]]) -> Any:
    drawing, axes = new_axes(9, 3.6)
    for entry, colour in zip(entries, _colours(len(entries)), strict=True):
        values = np.sort(np.array(entry["samples"]["latency_seconds"]) * 1e3)
        axes.step(values, np.arange(1, len(values) + 1) / len(values), where="post", color=colour, label=entry["name"])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if str(f"{value:.0e}")[0] in "25" else "")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("milliseconds, logarithmic")
    axes.set_ylabel("answered within")
    axes.grid(axis="both", color="#dfe3ea", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return drawing


def _latency_table(entries: list[dict[str, Any]]) -> str:
    rows = [[entry["name"], *(f"{entry['latency_ms'][f'p{p}']:.2f} ms" for p in PERCENTILES)] for entry in entries]
    return table(["", *(f"p{p}" for p in PERCENTILES)], rows, mark_first=True)


def _padding(shares: dict[str, float]) -> Any:
    names, values = list(shares), [100 * share for share in shares.values()]
    colours = [COLOURS[0] if name.startswith("toxonnx") else COLOURS[1] for name in names]
    return _bars(names, values, colours, [f"{value:.1f}%" for value in values])[0]


def _figures(entries: list[dict[str, Any]], price: float | None) -> str:
    header = ["", "rows/s", "of rounds", "load", "memory", "busy cores", "cold start", "its memory"]
    rows = []
    for entry in entries:
        rate, cold = entry["rows_per_second"], entry["cold_start"]
        row = [
            entry["name"], f"{rate['median']:,.0f}", f"{rate['min']:,.0f} to {rate['max']:,.0f}",
            f"{entry['load_seconds']:.2f} s", f"{entry['peak_memory_mb']:,.0f} MB", f"{entry['busy_cores']:.2f}",
            f"{statistics.median(cold['seconds']):.2f} s", f"{cold['peak_memory_mb']:,.0f} MB",
        ]  # fmt: skip
        if price is not None:
            row.append(f"{entry['cost_per_million_rows']:.3f}")
        rows.append(row)
    if price is not None:
        header.append("a million rows")
    return table(header, rows, mark_first=True)


def _agreement(entries: list[dict[str, Any]]) -> str:
    rows = [
        [
            entry["name"], f"{entry['agreement']['same_label']:.2%}",
            f"{entry['agreement']['largest_probability_difference']:.4f}",
        ]
        for entry in entries[1:]
        if entry["agreement"]
    ]  # fmt: skip
    if not rows:
        return (
            "<p>Nothing was compared: no candidate has this model's weights. Name the run or checkpoint that the "
            "bundle was made from with <code>--compare</code> to see it.</p>"
        )
    return table([f"{entries[0]['name']} and", "same label", "largest probability difference"], rows)


def _machine(machine: dict[str, Any]) -> str:
    return facts(
        {
            "CPU": machine["cpu"] + (" (virtual machine)" if machine["virtual"] else ""),
            "instruction sets": ", ".join(machine["instruction_sets"]),
            "cores allowed": f"{machine['cores']} of {machine['host_cores']}",
            "frequency governor, boost": f"{machine['governor'] or 'not told'}, {machine['boost'] or 'not told'}",
            "load before": str(machine["load_average"]),
            "memory": f"{machine['memory_gb']} GB",
            "system": machine["platform"],
            "versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        }
    )
