"""The HTML page of ``toxonnx bench``."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from toxonnx.bench.render import repeats_sentence, speedup_sentence
from toxonnx.bench.report import PERCENTILES, BenchReport, CandidateReport
from toxonnx.html import Bar, bar_chart, document, escape_label, key_value_table, new_figure, svg_figure, table
from toxonnx.system import System
from toxonnx.wording import plural

__all__ = ["page"]

#: of the bundle, then of the other candidates
COLORS = ("#0b6e4f", "#8a94a6", "#c98a2b", "#5b7db1", "#a0527a", "#6b8e23")
#: fewer rounds show no spread
MIN_ROUNDS = 3


def page(report: BenchReport) -> str:
    """A report as one self-contained HTML page. Needs matplotlib."""
    entries = report.candidates
    title = f"{report.bundle}: throughput and latency"
    verdicts = [speedup_sentence(entries[0], entry) for entry in entries[1:]]
    repeats = repeats_sentence(report)
    return document(
        title,
        f"<h1>{escape(title)}</h1><p class='dim'>{escape(_setup(report))}</p>",
        *(f"<p class='lead'>{escape(verdict)}.</p>" for verdict in verdicts),
        f"<p class='dim'>{escape(repeats)}.</p>" if repeats else "",
        "<h2>Throughput</h2>",
        _throughput(report),
        f"<p class='dim'>{_rounds(report.rounds)} Includes tokenization.</p>",
        "<h2>Latency of a single text</h2>",
        svg_figure(_latency(entries), "share of single texts that were scored within a time"),
        _latency_table(entries),
        "<h2>Padding</h2>",
        *_padding(report.texts.padding),
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


def _rounds(rounds: int) -> str:
    if rounds == 1:
        return "One round: how much the rates vary is unknown."
    if rounds < MIN_ROUNDS:
        return f"Median of {rounds} rounds, which are too few to show how much the rates vary."
    return "Median of the rounds; lines from the slowest to the fastest round."


def _setup(report: BenchReport) -> str:
    texts = report.texts
    rounds = plural(report.rounds, "round", "interleaved rounds")
    return (
        f"{texts.source}: {texts.rows:,} rows, {texts.distinct:,} distinct, {texts.tokens_mean} tokens on average "
        f"(95th percentile {texts.tokens_p95}), {texts.truncated:,} truncated. Cores for each candidate: "
        f"{report.cores}. {rounds} after a warm-up."
    )


def _throughput(report: BenchReport) -> str:
    rows = []
    for number, entry in enumerate(report.candidates):
        rate = entry.rows_per_second
        span = (rate.min, rate.max) if report.rounds >= MIN_ROUNDS else None
        rows.append(
            (entry.name, [Bar(rate.median, f"{rate.median:,.0f} rows/s", f"var(--c{_color_number(number)})", span)])
        )
    longest = max(entry.rows_per_second.max for entry in report.candidates)
    return bar_chart(rows, longest, "rows per second of each candidate")


def _color_number(number: int) -> int:
    """The first one is of the bundle only; the others repeat."""
    return number and 1 + (number - 1) % (len(COLORS) - 1)


def _latency(entries: Sequence[CandidateReport]) -> Any:
    figure, axes = new_figure(6.4, 3.6)
    for entry, color in zip(entries, (COLORS[_color_number(number)] for number in range(len(entries))), strict=True):
        values = np.sort(np.array(entry.samples["latency_seconds"]) * 1e3)
        axes.step(
            values,
            np.arange(1, len(values) + 1) / len(values),
            where="post",
            color=color,
            label=escape_label(entry.name),
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if str(f"{value:.0e}")[0] in "25" else "")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("milliseconds (log scale)")
    axes.set_ylabel("share of texts")
    axes.grid(axis="both", color="#dfe3ea", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def _latency_table(entries: Sequence[CandidateReport]) -> str:
    rows = [[entry.name, *(f"{entry.latency_ms[f'p{p}']:.2f} ms" for p in PERCENTILES)] for entry in entries]
    return table(["", *(f"p{p}" for p in PERCENTILES)], rows, mark_first=True)


def _padding(shares: dict[str, float]) -> list[str]:
    if not any(shares.values()):
        return ["<p>None, however these texts are batched.</p>"]
    rows = [
        (name, [Bar(share, f"{share:.1%}", "var(--c0)" if name.startswith("toxonnx") else "var(--c1)")])
        for name, share in shares.items()
    ]
    return [
        bar_chart(rows, max(shares.values()), "share of tokens that are padding"),
        "<p class='dim'>Share of tokens that are padding when these texts are batched in different ways.</p>",
    ]


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
