"""Values of a label column: which may be shown, and which are one label in two spellings."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from toxonnx.check.finding import LONGEST, Finding, make_finding, plural

__all__ = ["Values", "spelling_findings"]

#: rows of a value from which it is a label; a rarer one may be a text that stands in the wrong column
SHOWN_FROM = 3
#: rare values that are held beside the labels, at most
MOST_RARE = 200

_NUMBER = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")


class Values:
    """The values of a label column, white space around them taken off as training does.

    Args:
        raw: the value of each row, as it stands.
        lines: the line of each row.
        names: value -> label name, where a recipe names them.
    """

    def __init__(self, raw: Sequence[str], lines: Sequence[int], names: Mapping[str, str]) -> None:
        self.raw, self.lines, self.names = raw, lines, names
        self.stripped = [value.strip() for value in raw]
        self.counts = Counter(value for value in self.stripped if value)
        self._first = dict(zip(reversed(self.stripped), reversed(lines), strict=True))
        rows: Counter[str] = Counter()
        for value, count in self.counts.items():
            rows[plain(value)] += count
        self._labels = {value for value, count in rows.items() if count >= SHOWN_FROM} | {plain(one) for one in names}

    def may_be_shown(self, value: str) -> bool:
        """Whether a value is a label for sure: many rows have it, or the recipe names it, be it in another spelling."""
        return len(value) <= LONGEST and plain(value) in self._labels

    def shown(self, value: str, *, quote: bool = True) -> str:
        """A value, or where it stands if it may be a text."""
        if self.may_be_shown(value.strip()):
            return repr(value) if quote else value
        return f"(a value on line {self._first[value.strip()]})"

    def lines_of(self, values: Collection[str]) -> list[int]:
        """Lines of all rows that have one of these values."""
        return [line for line, value in zip(self.lines, self.stripped, strict=True) if value in values]


def plain(value: str) -> str:
    """What stays of a label's spelling when case, space, hidden characters and a number's ``.0`` do not count."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", value) if unicodedata.category(c) != "Cf")
    text = " ".join(visible.split()).casefold()
    number = _NUMBER.fullmatch(text)  # 1 and 1.0: a table program has been here
    return number[1] if number else text


def spelling_findings(values: Values, where: str, file: str) -> list[Finding]:
    """One label in several spellings, by case or form, or by what may be a slip."""
    groups: dict[str, list[str]] = {}
    for value, _ in Counter(value for value in values.raw if value.strip()).most_common():
        groups.setdefault(plain(value), []).append(value)
    several = [group for group in groups.values() if len({_label(values, value) for value in group}) > 1]
    findings = _slips(values, where, file)
    if not several:
        return findings
    counts = Counter(values.raw)
    rare = {value.strip() for group in several for value in group[1:]}
    spellings = [{values.shown(value): counts[value] for value in group} for group in several]
    what = "; ".join(", ".join(f"{value} ({count:,})" for value, count in group.items()) for group in spellings[:10])
    return [
        make_finding(
            "label-spellings", "error", f"Labels of {where} stand in several spellings: {what}",
            values.lines_of(rare), count=len(several), file=file,
            advice="Spell each label in one way, or name every spelling in the recipe's labels.names: each becomes a "
            "class of its own.",
            details={"spellings": spellings},
        ),
        *findings,
    ]  # fmt: skip


def _label(values: Values, value: str) -> str:
    return values.names.get(value.strip(), value.strip())


def _slips(values: Values, where: str, file: str) -> list[Finding]:
    """Rare values that look like a label with a slip of the finger."""
    common = [value for value, count in values.counts.items() if count >= SHOWN_FROM and values.may_be_shown(value)]
    rare = [value for value, count in values.counts.items() if count < SHOWN_FROM and value not in values.names]
    like: dict[str, str] = {}
    for value in rare[:MOST_RARE]:
        close = difflib.get_close_matches(value.casefold(), common, 1, 0.8) if 3 < len(value) <= LONGEST else []
        if close and plain(value) != plain(close[0]) and not any(map(str.isdigit, value)):
            like[value] = close[0]
    if not like:
        return []
    lines = values.lines_of(like)
    labels = ", ".join(map(repr, dict.fromkeys(like.values())))
    return [
        make_finding(
            "label-slips", "warning",
            f"{plural(len(lines), 'row')} {'has' if len(lines) == 1 else 'have'} a rare value in {where} that is "
            f"spelled almost like {labels}",
            lines, file=file, advice="Look at these rows: a slip of the finger makes a class of its own.",
        )
    ]  # fmt: skip
