"""A single problem in a file: what it is, how many rows have it, where they are and what to do.

Findings never contain the text of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from toxonnx.check.kinds import KINDS
from toxonnx.wording import plural

__all__ = ["MAX_LINES", "MAX_NAME_LENGTH", "Finding", "format_names", "format_share", "make_finding"]

#: line numbers stored per finding
MAX_LINES = 20
#: characters of a label or column name that are shown; anything longer may be a text in the wrong place
MAX_NAME_LENGTH = 40


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem.

    Attributes:
        kind: an id of :data:`toxonnx.check.kinds.KINDS`.
        severity: one of :data:`toxonnx.check.kinds.SEVERITIES`.
        message: one sentence with counts and shares.
        count: number of rows, texts, classes or columns concerned.
        lines: the first line numbers concerned, at most :data:`MAX_LINES`; empty if the finding is not about lines.
        more_lines: number of further lines.
        advice: what to do.
        file: name of the file, unless it is the file being checked.
        details: further JSON values.
    """

    kind: str
    severity: str
    message: str
    count: int
    lines: tuple[int, ...] = ()
    more_lines: int = 0
    advice: str = ""
    file: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "lines": list(self.lines)}


def make_finding(
    kind: str,
    message: str,
    lines: Iterable[int] = (),
    *,
    severity: str | None = None,
    count: int | None = None,
    advice: str | None = None,
    file: str = "",
    details: Mapping[str, Any] | None = None,
) -> Finding:
    """Makes a finding of a registered kind.

    Args:
        kind: an id of :data:`toxonnx.check.kinds.KINDS`.
        message: see :class:`Finding`.
        lines: all lines concerned, in any order.
        severity: required if the kind has no fixed severity.
        count: the number of distinct lines when None.
        advice: the kind's default when None.
        file: see :class:`Finding`.
        details: see :class:`Finding`.
    """
    registered = KINDS[kind]
    severity = severity or registered.severity
    if severity is None:
        raise ValueError(f"a finding of kind {kind} needs a severity")
    every = sorted(set(lines))
    first = tuple(every[:MAX_LINES])
    return Finding(
        kind=kind, severity=severity, message=message, count=len(every) if count is None else count, lines=first,
        more_lines=len(every) - len(first), advice=registered.advice if advice is None else advice, file=file,
        details=details or {},
    )  # fmt: skip


def format_share(count: int, total: int, noun: str = "row") -> str:
    """``3 of 1,000 rows (0.30%)``."""
    return f"{count:,} of {plural(total, noun)} ({count / total:.2%})"


def format_names(names: Sequence[str], limit: int = 10) -> str:
    """The first ``limit`` names, separated by commas, and the number of further names."""
    rest = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
