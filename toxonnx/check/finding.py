"""One trouble of a file: what, how much, where, what to do. Never the text of a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["LINES", "LONGEST", "SEVERITIES", "Finding", "format_share", "listing", "make_finding", "plural"]

#: from bad to harmless
SEVERITIES = ("error", "warning", "note")
#: line numbers that a finding keeps
LINES = 20
#: characters of a label or of a column's name that are shown at most: what is longer may be a text in the wrong place
LONGEST = 40


@dataclass(frozen=True)
class Finding:
    """One trouble.

    Attributes:
        kind: a name that stays the same from version to version.
        severity: one of :data:`SEVERITIES`.
        message: one sentence with counts and shares.
        count: how many rows, texts or columns it is about.
        lines: numbers of the first lines concerned, :data:`LINES` at most; empty where it is about no line.
        more: how many lines there are beyond these.
        advice: what to do, one sentence.
        file: name of the file, where it is not the one that is checked.
        details: further plain values.
    """

    kind: str
    severity: str
    message: str
    count: int
    lines: tuple[int, ...] = ()
    more: int = 0
    advice: str = ""
    file: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "lines": list(self.lines)}


def make_finding(
    kind: str,
    severity: str,
    message: str,
    lines: Iterable[int] = (),
    *,
    count: int | None = None,
    advice: str = "",
    file: str = "",
    details: dict[str, Any] | None = None,
) -> Finding:
    """A finding at these lines; it counts them where no count is given."""
    every = sorted(set(lines))
    how_many = len(every) if count is None else count
    first = tuple(every[:LINES])
    return Finding(kind, severity, message, how_many, first, len(every) - len(first), advice, file, details or {})


def plural(count: int, what: str, many: str = "") -> str:
    """``1 row``, ``2 rows``."""
    return f"{count:,} {what if count == 1 else many or what + 's'}"


def format_share(count: int, whole: int, what: str = "row") -> str:
    """``3 of 1,000 rows (0.30%)``."""
    return f"{count:,} of {plural(whole, what)} ({count / whole:.2%})"


def listing(names: Sequence[str], most: int = 10) -> str:
    """Names for a sentence, the first few of them."""
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
