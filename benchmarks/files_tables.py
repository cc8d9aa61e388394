"""The tables of :mod:`files`."""

from __future__ import annotations

from typing import Any

from markdown_tables import describe_machine, markdown_table, read_reports, with_range

__all__ = ["files"]

_NAMES = {"csv": "CSV", "jsonl": "JSON lines", "parquet": "Parquet", "csv.gz": "CSV, gzip"}


def files() -> str:
    """Formats, the time that Ctrl-C takes, and Ray."""
    return "\n\n".join(map(_files, read_reports("files.json"))) or "Not measured yet."


def _files(report: dict[str, Any]) -> str:
    formats = report["formats"]
    counts = list(next(iter(formats.values()))["peak_mib"])
    rows = [
        [
            _NAMES[name], f"{one['input_bytes'] / 1e6:,.0f} MB",
            _rate(one["rows_per_second"]),
            *(f"{one['peak_mib'][count]:,.0f}" for count in counts),
        ]
        for name, one in formats.items()
    ]  # fmt: skip
    memory = [f"memory at {int(count):,} rows, MiB" for count in counts]
    interrupts = report["interrupts"]
    parts = [
        markdown_table(["format", "size", "rows/s without the model", *memory], rows),
        f"Ctrl-C while the model is busy, {interrupts['count']} times: {interrupts['median']:.2f} s until the command "
        f"has ended, at most {interrupts['max']:.2f} s.",
    ]
    if ray := report.get("ray"):
        engines = [[name, f"{one['rows_per_second']:,.0f}", f"{one['seconds']:.0f}"] for name, one in ray.items()]
        parts.append(markdown_table(["engine, all starts included", "rows/s", "seconds"], engines))
    return "\n\n".join([*parts, describe_machine(report["machine"])])


def _rate(values: dict[str, float]) -> str:
    return with_range(values) if values["min"] < values["max"] else f"{values['median']:,.0f}"
