"""Words that depend on a number, for messages."""

from __future__ import annotations

__all__ = ["plural"]


def exact_percent(share: float) -> str:
    """``99.75%``: all digits of a share that was promised, since rounding could promise more."""
    return f"{100 * share:.10g}%"


def plural(count: int, noun: str, plural_noun: str = "") -> str:
    """``1 row``, ``2 rows``; with a verb in both nouns: ``1 row is left out``, ``2 rows are left out``."""
    return f"{count:,} {noun if count == 1 else plural_noun or noun + 's'}"
