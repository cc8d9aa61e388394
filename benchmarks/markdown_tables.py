"""What the generated tables have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["describe_machine", "markdown_table", "read_reports", "with_range"]

RESULTS = Path(__file__).parent / "results"


def read_reports(pattern: str) -> list[dict[str, Any]]:
    """The committed results whose file names match, sorted by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob(pattern))]


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def describe_machine(machine: dict[str, Any]) -> str:
    """CPU and versions, see :class:`toxonnx.system.System`."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    virtual = " (virtual machine)" if machine["virtual"] else ""
    return f"{machine['cpu']}{virtual}, {machine['cores']} cores, {', '.join(machine['instruction_sets'])}; {versions}."


def with_range(values: dict[str, float], digits: int = 0) -> str:
    """A median with the slowest and the fastest round."""
    return f"{values['median']:,.{digits}f} ({values['min']:,.{digits}f} to {values['max']:,.{digits}f})"
