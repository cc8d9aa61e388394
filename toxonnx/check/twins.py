"""Texts that stand in a file more than once: the same, or nearly the same."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toxonnx.check.finding import Finding, found, plural

__all__ = ["NEAR", "Near", "Repeats", "near", "near_findings", "repeat_findings", "repeats", "similarity"]

#: Jaccard similarity of two texts' shingles from which they are near twins
NEAR = 0.8
#: characters of a shingle; a text with fewer words and characters than these is too short to be compared
SHINGLE, WORDS, CHARACTERS = 5, 3, 20
#: texts compared at most, and characters of them: about half a minute's work
MOST, MOST_CHARACTERS = 50_000, 20_000_000
#: candidates looked at for one text at most, so that thousands of nearly equal rows do not take hours
CANDIDATES = 50
#: estimated similarity from which a candidate is looked at: four standard errors under NEAR
LIKELY = 0.65
#: 21 bands of 6 values find 99.8% of the pairs at the threshold, and every one that they find is verified
BANDS, VALUES = 21, 6
#: share of the rows that repeat another, from which it is a warning
MANY = 0.01


@dataclass(frozen=True)
class Repeats:
    """Rows whose folded text stands in an earlier row.

    Attributes:
        rows: positions of the rows beyond the first of their text.
        groups: texts that stand more than once.
        same_label: how many of ``rows`` repeat both text and label.
        identical: rows beyond the first that repeat an earlier row in every column.
        conflicts: positions of all rows of the texts that have different labels.
        conflict_texts: how many texts these are.
        ceiling: share of rows that a model can get right at most, since it says the same for the same text.
    """

    rows: list[int]
    groups: int
    same_label: int
    identical: int
    conflicts: list[int]
    conflict_texts: int
    ceiling: float


def repeats(keys: Sequence[str], labels: Sequence[object], records: Sequence[object]) -> Repeats:
    """Counts equal texts.

    Args:
        keys: folded texts.
        labels: the label of each row, comparable.
        records: all fields of each row, comparable.
    """
    places: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        places.setdefault(key, []).append(i)
    several = [group for group in places.values() if len(group) > 1]
    torn = [group for group in several if len({labels[i] for i in group}) > 1]
    right = len(keys) - sum(map(len, torn)) + sum(_most(labels, group) for group in torn)
    return Repeats(
        sorted(i for group in several for i in group[1:]),
        len(several),
        len(keys) - len(set(zip(keys, labels, strict=True))),
        len(records) - len(set(records)),
        sorted(i for group in torn for i in group),
        len(torn),
        right / len(keys) if keys else 1.0,
    )


def _most(labels: Sequence[object], group: list[int]) -> int:
    return max(Counter(labels[i] for i in group).values())


def repeat_findings(found_: Repeats, lines: Sequence[int], held_out: int | None, leaked: int | None) -> list[Finding]:
    """What repeated texts mean for a split that is drawn row by row.

    Args:
        found_: the repeats.
        lines: line of each row.
        held_out: rows that a split holds out, or None where none could be drawn.
        leaked: how many of them have their text in the training part when drawn row by row.
    """
    findings = []
    if found_.rows:
        share = len(found_.rows) / len(lines)
        leak = ""
        if held_out and leaked is not None:
            leak = f"; in a random split {leaked:,} of {held_out:,} held-out rows ({leaked / held_out:.1%}) would leak"
        findings.append(
            found(
                "duplicate-texts", "warning" if share >= MANY else "note",
                f"{len(found_.rows):,} of {plural(len(lines), 'row')} ({share:.2%}) repeat the text of an earlier one, "
                f"in {plural(found_.groups, 'group')}; {found_.same_label:,} repeat its label too, "
                f"{found_.identical:,} the whole row{leak}",
                [lines[i] for i in found_.rows],
                advice="Keep identical texts on one side of every split (toxonnx train does), or take them out.",
                details={
                    "groups": found_.groups, "same_text_and_label": found_.same_label,
                    "identical_rows": found_.identical, "held_out_rows": held_out, "would_leak": leaked,
                },
            )
        )  # fmt: skip
    if found_.conflicts:
        findings.append(
            found(
                "conflicting-labels", "warning",
                f"The same text stands with different labels, for {plural(found_.conflict_texts, 'text')} in "
                f"{plural(len(found_.conflicts), 'row')}; no model that reads this text can be right on more than "
                f"{found_.ceiling:.2%}",
                [lines[i] for i in found_.conflicts],
                advice="Decide on one label for each of these texts, or give the model what tells the rows apart.",
                details={"texts": found_.conflict_texts, "best_accuracy": found_.ceiling},
            )
        )  # fmt: skip
    return findings


@dataclass(frozen=True)
class Near:
    """Pairs of texts that are nearly the same.

    Attributes:
        pairs: positions of the two texts, the earlier first, each pair once.
        compared: texts that were compared.
        short: texts too short for that.
        bounded: what was left out to keep it fast, in words; empty for nothing.
    """

    pairs: list[tuple[int, int]]
    compared: int
    short: int
    bounded: str = ""


def shingles(key: str) -> set[str]:
    """Runs of :data:`SHINGLE` characters of a folded text."""
    return {key[i : i + SHINGLE] for i in range(max(1, len(key) - SHINGLE + 1))}


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of two folded texts' shingles."""
    a, b = shingles(one), shingles(other)
    both = len(a & b)
    return both / (len(a) + len(b) - both)


class _Index:
    """Sketches of texts, by the numbers of these."""

    def __init__(self, size: int) -> None:
        from datasketch import MinHashLSH

        self._lsh = MinHashLSH(num_perm=BANDS * VALUES, params=(BANDS, VALUES))
        self._values = np.zeros((size, BANDS * VALUES), dtype=np.uint64)

    def add(self, number: int, sketch: Any) -> None:
        self._lsh.insert(number, sketch)
        self._values[number] = sketch.hashvalues

    def like(self, sketch: Any) -> list[int]:
        """Numbers of the texts that are likely twins, the likeliest first."""
        numbers = np.array(sorted(self._lsh.query(sketch)), dtype=np.int64)
        estimates = (self._values[numbers] == sketch.hashvalues).mean(axis=1)
        likely = np.flatnonzero(estimates >= LIKELY)
        order = likely[np.argsort(-estimates[likely], kind="stable")]
        return [int(number) for number in numbers[order[:CANDIDATES]]]


def near(keys: Sequence[str], against: Sequence[str] = ()) -> Near:
    """Near twins among distinct folded texts, or between them and those of another file.

    Args:
        keys: distinct folded texts.
        against: distinct folded texts to compare them with; the first of a pair is then a position in these.
    """
    limits = []
    for what, some in (("", keys), ("of the other file ", against)):
        if _bound(some) < len(some):
            limits.append(f"the first {_bound(some):,} distinct texts {what}were compared")
    others = against or keys
    index = _Index(len(others))
    for i, sketch in _sketches(against):
        # In a crowd of twins the index has enough of them.
        if len(index.like(sketch)) < CANDIDATES:
            index.add(i, sketch)
    pairs: list[tuple[int, int]] = []
    compared, crowded = 0, False
    for i, sketch in _sketches(keys):
        compared += 1
        close = [j for j in index.like(sketch) if similarity(others[j], keys[i]) >= NEAR]
        pairs += [(j, i) for j in sorted(close)]
        if len(close) == CANDIDATES:
            crowded = True
        elif not against:
            index.add(i, sketch)
    if crowded:
        limits.append(f"pairs are counted up to {CANDIDATES} for a text")
    return Near(pairs, compared, _bound(keys) - compared, "; ".join(limits))


def _bound(keys: Sequence[str]) -> int:
    """How many of the texts are compared."""
    ends = itertools.accumulate(map(len, keys[:MOST]))
    return sum(end <= MOST_CHARACTERS for end in ends)


def _sketches(keys: Sequence[str]) -> Iterator[tuple[int, Any]]:
    from datasketch import MinHash

    # Some scripts put no space between words.
    wanted = [i for i, key in enumerate(keys[: _bound(keys)]) if len(key.split()) >= WORDS or len(key) >= CHARACTERS]
    data = ([one.encode("utf-8", "surrogatepass") for one in shingles(keys[i])] for i in wanted)
    yield from zip(wanted, MinHash.generator(data, num_perm=BANDS * VALUES), strict=True)


def near_findings(
    twins: Near, keys: Sequence[str], row_keys: Sequence[str], labels: Sequence[object], lines: Sequence[int]
) -> list[Finding]:
    """What near twins mean.

    Args:
        twins: pairs among ``keys``.
        keys: the distinct folded texts.
        row_keys: the folded text of each row.
        labels: the label of each row, comparable.
        lines: the line of each row.
    """
    if not twins.pairs:
        return []
    concerned = {keys[i] for pair in twins.pairs for i in pair}
    rows = [i for i, key in enumerate(row_keys) if key in concerned]
    of_text: dict[str, set[object]] = {}
    for i in rows:
        of_text.setdefault(row_keys[i], set()).add(labels[i])
    differ = sum(of_text[keys[a]] != of_text[keys[b]] for a, b in twins.pairs)
    share = len(rows) / len(lines)
    limit = f" ({twins.bounded})" if twins.bounded else ""
    return [
        found(
            "near-duplicates", "warning" if share >= 5 * MANY else "note",
            f"{len(rows):,} of {plural(len(lines), 'row')} ({share:.2%}) have a near twin: "
            f"{plural(len(concerned), 'text')} in {plural(len(twins.pairs), 'pair')}, {differ:,} of the pairs with "
            f"different labels{limit}",
            [lines[i] for i in rows],
            advice="Look at those that differ in label; a split.group column can keep near twins on one side.",
            details={
                "texts": len(concerned), "pairs": len(twins.pairs), "pairs_with_different_labels": differ,
                "similarity": NEAR, "compared": twins.compared, "too_short": twins.short, "bounded": twins.bounded,
            },
        )
    ]  # fmt: skip
