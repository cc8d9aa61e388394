"""The reference of findings: every problem that ``toxonnx check`` can report, from its registry."""

from __future__ import annotations

from toxonnx.check.kinds import KINDS

__all__ = ["page"]


def page() -> str:
    """A section for each kind: what is wrong, an example, what to do."""
    parts = []
    for kind in KINDS.values():
        severity = kind.severity or "depends on the data"
        parts += [f"## {kind.id}\n", f"{kind.description} Severity: {severity}.\n"]
        parts += [f"Example: {kind.example}\n", f"What to do: {kind.advice}\n"]
    return "\n".join(parts)
