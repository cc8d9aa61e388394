"""A benchmark report as text: a table and sentences, for the terminal and the HTML page."""

from __future__ import annotations

import statistics

from toxonnx.bench.report import BenchReport, CandidateReport
from toxonnx.wording import plural

__all__ = ["repeats_sentence", "speedup_sentence", "summary_lines", "summary_table"]


def summary_table(report: BenchReport) -> tuple[list[str], list[list[str]]]:
    """Header and rows, one per candidate."""
    header = ["", "rows/s", "min-max", "p50 ms", "p95 ms", "peak MB", "cold start s", "cold start MB"]
    if report.price_per_hour is not None:
        header.append("cost/million rows")
    return header, [_row(entry) for entry in report.candidates]


def _row(entry: CandidateReport) -> list[str]:
    rate, latency, cold = entry.rows_per_second, entry.latency_ms, entry.cold_start
    row = [
        entry.name, f"{rate.median:,.0f}", f"{rate.min:,.0f}-{rate.max:,.0f}", f"{latency['p50']:.2f}",
        f"{latency['p95']:.2f}", f"{entry.peak_memory_mb:,.0f}",
        f"{statistics.median(cold.seconds):.2f}" if cold else "", f"{cold.peak_memory_mb:,.0f}" if cold else "",
    ]  # fmt: skip
    if entry.cost_per_million_rows is not None:
        row.append(f"{entry.cost_per_million_rows:.3f}")
    return row


def summary_lines(report: BenchReport) -> list[str]:
    """What was measured, on what machine, and how the bundle compares with each other candidate."""
    texts, machine = report.texts, report.machine
    first, *others = report.candidates
    lines = [
        f"{texts.source}: {texts.distinct:,} distinct, {texts.tokens_mean} tokens on average, "
        f"{texts.truncated:,} truncated",
        f"{machine.cpu}, {report.cores} cores, {', '.join(machine.instruction_sets)}",
    ]
    if sentence := repeats_sentence(report):
        lines.append(sentence)
    for entry in others:
        lines.append(speedup_sentence(first, entry))
        if entry.agreement:
            lines.append(
                f"  same label for {entry.agreement.same_label:.2%} of the rows, largest difference of a probability "
                f"{entry.agreement.largest_probability_difference:.4f}"
            )
    return lines


def repeats_sentence(report: BenchReport) -> str:
    """That repeated texts favour toxonnx; empty if no text repeats, or all candidates are bundles."""
    repeats = report.texts.rows - report.texts.distinct
    if not repeats or all(entry.name.startswith("toxonnx (") for entry in report.candidates):
        return ""
    which = plural(repeats, "row repeats", "rows repeat")
    return f"{which} an earlier text: toxonnx scores it once, PyTorch scores it every time"


def speedup_sentence(first: CandidateReport, other: CandidateReport) -> str:
    """How many times as fast as another candidate the first one is."""
    speedup = other.speedup
    slower = "slower: " if speedup.median < 1 else ""
    return (
        f"{first.name} is {slower}{speedup.median:.2f} times as fast as {other.name} "
        f"(rounds: {speedup.min:.2f} to {speedup.max:.2f})"
    )
