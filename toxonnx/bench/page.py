"""The HTML page of ``toxonnx bench``."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from toxonnx.bench.render import repeats_sentence, speedup_sentence
from toxonnx.bench.report import PERCENTILES, BenchReport, CandidateReport
from toxonnx.html import document, horizontal_bars, key_value_table, new_figure, svg_figure, table
from toxonnx.system import System

__all__ = ["page"]

#: of the bundle, then of the other candidates
COLORS = ("#0b6e4f", "#8a94a6", "#c98a2b", "#5b7db1", "#a0527a", "#6b8e23")


def page(report: BenchReport) -> str:
    """A report as one self-contained HTML page. Needs matplotlib."""
    entries = report.candidates
    title = f"{report.bundle}: throughput and latency"
    verdicts = [speedup_sentence(entries[0], entry) for entry in entries[1:]]
    repeats = repeats_sentence(report) if len(entries) > 1 else ""
    return document(
        title,
        f"<h1>{escape(title)}</h1><p class='dim'>{escape(_setup(report))}</p>",
        *(f"<p class='lead'>{escape(verdict)}.</p>" for verdict in verdicts),
        f"<p class='dim'>{escape(repeats)}.</p>" if repeats else "",
        "<h2>Throughput</h2>",
        svg_figure(_throughput(entries), "rows per second of each candidate"),
        "<p class='dim'>Median of the rounds; lines from the slowest to the fastest round. Includes tokenization.</p>",
        "<h2>Latency of a single text</h2>",
        svg_figure(_latency(entries), "share of single texts that were scored within a time"),
        _latency_table(entries),
        "<h2>Padding</h2>",
        svg_figure(_padding(report.texts.padding), "share of tokens that are padding"),
        "<p class='dim'>Share of tokens that are padding when these texts are batched in different ways.</p>",
        "<h2>All measurements</h2>",
        _measurements(entries, report.price_per_hour),
        "<p class='dim'>Load time: importing the engine and loading the model. Peak memory: resident memory of "
        "the process that scores all rows. Busy cores: CPU time divided by wall time. Cold start: a new process until "
        "it has scored one text, with the files in the page cache.</p>",
        "<h2>Agreement</h2>",
        _agreement(entries),
        "<h2>Machine</h2>",
        _machine(report.machine),
    )


def _setup(report: BenchReport) -> str:
    texts = report.texts
    rounds = "1 round" if report.rounds == 1 else f"{report.rounds} interleaved rounds"
    return (
        f"{texts.source}: {texts.rows:,} rows, {texts.distinct:,} distinct, {texts.tokens_mean} tokens on average "
        f"(95th percentile {texts.tokens_p95}), {texts.truncated:,} truncated. Cores for each candidate: "
        f"{report.cores}. {rounds} after a warm-up."
    )


def _bars(names: list[str], values: list[float], colors: list[str], texts: list[str]) -> tuple[Any, Any]:
    longest = max(values) or 1
    figure, axes = horizontal_bars(names, longest, 0.18)
    axes.barh(range(len(names)), values, color=colors, height=0.62)
    for position, (value, text) in enumerate(zip(values, texts, strict=True)):
        axes.text(value + longest * 0.02, position, text, va="center", fontsize=10)
    return figure, axes


def _colors(count: int) -> list[str]:
    return [COLORS[0], *(COLORS[1 + i % (len(COLORS) - 1)] for i in range(count - 1))]


def _throughput(entries: Sequence[CandidateReport]) -> Any:
    rates = [entry.rows_per_second for entry in entries]
    names, texts = [entry.name for entry in entries], [f"{rate.median:,.0f} rows/s" for rate in rates]
    figure, axes = _bars(names, [rate.max for rate in rates], ["none"] * len(names), texts)
    axes.barh(range(len(names)), [rate.median for rate in rates], color=_colors(len(names)), height=0.62)
    for position, rate in enumerate(rates):
        axes.plot([rate.min, rate.max], [position] * 2, color="#1c2330", linewidth=1.2, solid_capstyle="butt")
    return figure


def _latency(entries: Sequence[CandidateReport]) -> Any:
    figure, axes = new_figure(9, 3.6)
    for entry, color in zip(entries, _colors(len(entries)), strict=True):
        values = np.sort(np.array(entry.samples["latency_seconds"]) * 1e3)
        axes.step(values, np.arange(1, len(values) + 1) / len(values), where="post", color=color, label=entry.name)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if str(f"{value:.0e}")[0] in "25" else "")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("milliseconds (log scale)")
    axes.set_ylabel("share of texts")
    axes.grid(axis="both", color="#dfe3ea", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def _latency_table(entries: Sequence[CandidateReport]) -> str:
    rows = [[entry.name, *(f"{entry.latency_ms[f'p{p}']:.2f} ms" for p in PERCENTILES)] for entry in entries]
    return table(["", *(f"p{p}" for p in PERCENTILES)], rows, mark_first=True)


def _padding(shares: dict[str, float]) -> Any:
    names, values = list(shares), [100 * share for share in shares.values()]
    colors = [COLORS[0] if name.startswith("toxonnx") else COLORS[1] for name in names]
    return _bars(names, values, colors, [f"{value:.1f}%" for value in values])[0]


def _measurements(entries: Sequence[CandidateReport], price: float | None) -> str:
    header = [
        "", "rows/s", "slowest to fastest round", "load time", "peak memory", "busy cores", "cold start",
        "cold start memory",
    ]  # fmt: skip
    if price is not None:
        header.append("cost per million rows")
    rows = []
    for entry in entries:
        rate, cold = entry.rows_per_second, entry.cold_start
        row = [
            entry.name, f"{rate.median:,.0f}", f"{rate.min:,.0f} to {rate.max:,.0f}", f"{entry.load_seconds:.2f} s",
            f"{entry.peak_memory_mb:,.0f} MB", f"{entry.busy_cores:.2f}",
            f"{statistics.median(cold.seconds):.2f} s" if cold else "",
            f"{cold.peak_memory_mb:,.0f} MB" if cold else "",
        ]  # fmt: skip
        if entry.cost_per_million_rows is not None:
            row.append(f"{entry.cost_per_million_rows:.3f}")
        rows.append(row)
    return table(header, rows, mark_first=True)


def _agreement(entries: Sequence[CandidateReport]) -> str:
    rows = [
        [
            entry.name, f"{entry.agreement.same_label:.2%}",
            f"{entry.agreement.largest_probability_difference:.4f}",
        ]
        for entry in entries[1:]
        if entry.agreement
    ]  # fmt: skip
    if not rows:
        return (
            "<p>Not measured: no other candidate has trained weights. Give the run or checkpoint that the bundle was "
            "exported from with <code>--compare</code>.</p>"
        )
    return table([f"compared with {entries[0].name}", "same label", "largest difference of a probability"], rows)


def _machine(machine: System) -> str:
    boost = {"1": "on", "0": "off"}.get(machine.boost or "", "not reported")
    return key_value_table(
        {
            "CPU": machine.cpu + (" (virtual machine)" if machine.virtual else ""),
            "instruction sets": ", ".join(machine.instruction_sets),
            "available cores": f"{machine.cores} of {machine.host_cores}",
            "frequency governor": machine.governor or "not reported",
            "frequency boost": boost,
            "load average before": "not reported" if machine.load_average is None else f"{machine.load_average}",
            "memory": f"{machine.memory_gb} GB" if machine.memory_gb else "not reported",
            "operating system": machine.platform,
            "versions": ", ".join(f"{name} {version}" for name, version in machine.versions.items()),
        }
    )
