"""Values of a label column: which may be shown, and which are variants or typos of the same label."""

from __future__ import annotations

import difflib
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from toxonnx.check.finding import MAX_NAME_LENGTH, Finding, make_finding
from toxonnx.data.label_values import is_missing, whole_number
from toxonnx.wording import plural

__all__ = ["LabelValues", "normalise_label", "spelling_findings"]

#: a value with at least this many rows is a label; a rarer one may be a text in the wrong column
MIN_LABEL_ROWS = 3
#: rare values compared with the labels, at most
MAX_RARE_VALUES = 200


class LabelValues:
    """The values of a label column, stripped of surrounding white space as in training.

    Args:
        raw: the value of each row as in the file.
        lines: the line of each row.
        names: value -> label name, if the recipe names them.
    """

    def __init__(self, raw: Sequence[str], lines: Sequence[int], names: Mapping[str, str]) -> None:
        self.raw, self.lines, self.names = raw, lines, names
        self.stripped = [value.strip() for value in raw]
        self.counts = Counter(value for value in self.stripped if value in names or not is_missing(value))
        self._first_line = dict(zip(map(whole_number, reversed(self.stripped)), reversed(lines), strict=True))
        rows: Counter[str] = Counter()
        for value, count in self.counts.items():
            rows[normalise_label(value)] += count
        self._labels = {value for value, count in rows.items() if count >= MIN_LABEL_ROWS}
        self._labels |= {normalise_label(name) for name in names}

    def may_be_shown(self, value: str) -> bool:
        """Whether a value is certainly a label: it (or a variant) is frequent, or in the recipe."""
        return len(value) <= MAX_NAME_LENGTH and normalise_label(value) in self._labels

    def display(self, value: str, *, quote: bool = True) -> str:
        """The value, or its line number if the value may be a text."""
        if self.may_be_shown(value.strip()):
            return repr(value) if quote else value
        return f"(a value on line {self._first_line[whole_number(value.strip())]})"

    def lines_of(self, values: Collection[str]) -> list[int]:
        """Lines of all rows with one of these values."""
        return [line for line, value in zip(self.lines, self.stripped, strict=True) if value in values]


def normalise_label(value: str) -> str:
    """A label without differences of case, white space, invisible characters and a trailing ``.0`` of a number."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", value) if unicodedata.category(c) != "Cf")
    return whole_number(" ".join(visible.split()).casefold())


def spelling_findings(values: LabelValues, where: str, file: str) -> list[Finding]:
    """Labels with several variants (case, white space, ...), and rare values that may be typos of a label.

    Args:
        values: of the label column.
        where: the column, for messages.
        file: see :class:`toxonnx.check.finding.Finding`.
    """
    groups: dict[str, list[str]] = {}
    for value, _ in Counter(value for value in values.raw if value.strip() in values.counts).most_common():
        groups.setdefault(normalise_label(value), []).append(value)
    conflicting = [group for group in groups.values() if len({_label_name(values, value) for value in group}) > 1]
    findings = _typo_findings(values, where, file)
    if not conflicting:
        return findings
    counts = Counter(values.raw)
    less_frequent = {value.strip() for group in conflicting for value in group[1:]}
    variants = [{values.display(value): counts[value] for value in group} for group in conflicting]
    listing = "; ".join(", ".join(f"{value} ({count:,})" for value, count in group.items()) for group in variants[:10])
    return [
        make_finding(
            "label-variants", f"Labels in {where} are spelled in several ways: {listing}",
            values.lines_of(less_frequent), count=len(conflicting), file=file, details={"variants": variants},
        ),
        *findings,
    ]  # fmt: skip


def _label_name(values: LabelValues, value: str) -> str:
    name = whole_number(value.strip())  # as training reads it
    return values.names.get(value.strip(), values.names.get(name, name))


def _typo_findings(values: LabelValues, where: str, file: str) -> list[Finding]:
    frequent = [value for value, count in values.counts.items() if count >= MIN_LABEL_ROWS]
    frequent = [value for value in frequent if values.may_be_shown(value)]
    rare = [value for value, count in values.counts.items() if count < MIN_LABEL_ROWS and value not in values.names]
    corrections: dict[str, str] = {}
    for value in rare[:MAX_RARE_VALUES]:
        comparable = 3 < len(value) <= MAX_NAME_LENGTH
        close = difflib.get_close_matches(value.casefold(), frequent, 1, 0.8) if comparable else []
        if close and normalise_label(value) != normalise_label(close[0]) and not any(map(str.isdigit, value)):
            corrections[value] = close[0]
    if not corrections:
        return []
    lines = values.lines_of(corrections)
    labels = ", ".join(map(repr, dict.fromkeys(corrections.values())))
    has = "has" if len(lines) == 1 else "have"
    message = f"{plural(len(lines), 'row')} {has} a rare value in {where} that is spelled almost like {labels}"
    return [make_finding("label-typos", message, lines, file=file)]
