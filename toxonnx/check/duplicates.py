"""Texts that stand in a file more than once: the same, or nearly the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toxonnx.check.finding import Finding, format_share, make_finding, plural
from toxonnx.check.sampling import draw

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
#: share of the rows that have a near twin, from which it is a warning
MANY = 0.05


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
        ceiling: share of rows that a model which sees no case can get right at most, since it says the same for the
            same text.
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
        keys: folded texts, one at least.
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
        right / len(keys),
    )


def _most(labels: Sequence[object], group: list[int]) -> int:
    return max(Counter(labels[i] for i in group).values())


def repeat_findings(same: Repeats, lines: Sequence[int], leak: tuple[int, int] | None, *, kept: bool) -> list[Finding]:
    """What repeated texts mean for a split that is drawn row by row.

    Args:
        same: the repeats.
        lines: line of each row.
        leak: rows that a random split holds out, and how many of them have their text in the training part; None where
            none could be drawn.
        kept: whether training keeps identical texts on one side.
    """
    findings = []
    if same.rows:
        leak_note = "; no random split could be drawn to see how many would leak"
        if leak:
            leak_note = f"; in a random split {format_share(leak[1], leak[0], 'held-out row')} would have their text in training"
        findings.append(
            make_finding(
                "duplicate-texts", "note" if kept else "warning",
                f"{format_share(len(same.rows), len(lines))} repeat the text of an earlier one, in "
                f"{plural(same.groups, 'group')}; {same.same_label:,} repeat its label too, {same.identical:,} the "
                f"whole row{leak_note}",
                [lines[i] for i in same.rows],
                advice="Nothing has to be done: toxonnx train keeps identical texts on one side of a split." if kept
                else "Keep identical texts on one side of every split (split.method grouped), or take them out.",
            )
        )  # fmt: skip
    if same.conflicts:
        findings.append(
            make_finding(
                "conflicting-labels", "warning",
                f"The same text stands with different labels, for {plural(same.conflict_texts, 'text')} in "
                f"{plural(len(same.conflicts), 'row')}; a model that is blind to case is right at most on "
                f"{same.ceiling:.2%}",
                [lines[i] for i in same.conflicts],
                advice="Decide on one label for each of these texts, or give the model what tells the rows apart.",
            )
        )  # fmt: skip
    return findings


@dataclass(frozen=True)
class Near:
    """Pairs of texts that are nearly the same.

    Attributes:
        pairs: positions of the two texts, each pair once; the earlier first where all were compared.
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


def near(keys: Sequence[str], against: Sequence[str] = (), seed: int = 0) -> Near:
    """Near twins among distinct folded texts, or between them and those of another file.

    Args:
        keys: distinct folded texts.
        against: distinct folded texts to compare them with; the first of a pair is then a position in these.
        seed: of the draw, where there are too many.
    """
    limits = []
    mine, theirs = (draw(some, MOST, MOST_CHARACTERS, seed).tolist() for some in (keys, against))
    for what, some, drawn in (("", keys, mine), ("of the other file ", against, theirs)):
        if len(drawn) < len(some):
            limits.append(f"{len(drawn):,} of {len(some):,} distinct texts {what}were compared, drawn at random")
    others = against or keys
    index = _Index(len(others))
    for i, sketch in _sketches(against, theirs):
        # In a crowd of twins the index has enough of them.
        if len(index.like(sketch)) < CANDIDATES:
            index.add(i, sketch)
    pairs: list[tuple[int, int]] = []
    compared, crowded = 0, False
    for i, sketch in _sketches(keys, mine):
        compared += 1
        close = [j for j in index.like(sketch) if similarity(others[j], keys[i]) >= NEAR]
        pairs += [(j, i) for j in sorted(close)]
        if len(close) == CANDIDATES:
            crowded = True
        elif not against:
            index.add(i, sketch)
    if crowded:
        limits.append(f"pairs are counted up to {CANDIDATES} for a text")
    return Near(pairs, compared, len(mine) - compared, "; ".join(limits))


def _sketches(keys: Sequence[str], rows: Sequence[int]) -> Iterator[tuple[int, Any]]:
    from datasketch import MinHash

    # Some scripts put no space between words.
    wanted = [i for i in rows if len(keys[i].split()) >= WORDS or len(keys[i]) >= CHARACTERS]
    data = ([one.encode("utf-8", "surrogatepass") for one in shingles(keys[i])] for i in wanted)
    yield from zip(wanted, MinHash.generator(data, num_perm=BANDS * VALUES), strict=True)


def near_findings(
    twins: Near, keys: Sequence[str], row_keys: Sequence[str], labels: Sequence[object], lines: Sequence[int],
    groups: Sequence[str] = (),
) -> list[Finding]:  # fmt: skip
    """What near twins mean.

    Args:
        twins: pairs among ``keys``.
        keys: the distinct folded texts.
        row_keys: the folded text of each row.
        labels: the label of each row, comparable.
        lines: the line of each row.
        groups: what else keeps rows on one side of a split, for each row; empty for nothing.
    """
    if not twins.pairs:
        return []
    concerned = {keys[i] for pair in twins.pairs for i in pair}
    rows = [i for i, key in enumerate(row_keys) if key in concerned]
    of_text: dict[str, set[object]] = {}
    for i in rows:
        of_text.setdefault(row_keys[i], set()).add(labels[i])
    differ = sum(of_text[keys[a]] != of_text[keys[b]] for a, b in twins.pairs)
    together = bool(groups) and _agree(twins, keys, row_keys, groups)
    share = len(rows) / len(lines)
    advice = "Look at those that differ in label; a split.group column can keep near twins on one side."
    return [
        make_finding(
            "near-duplicates", "warning" if share >= MANY and not together else "note",
            f"{format_share(len(rows), len(lines))} have a near twin: {plural(len(concerned), 'text')} in "
            f"{plural(len(twins.pairs), 'pair')}, {differ:,} of the pairs with different labels"
            f"{f' ({twins.bounded})' if twins.bounded else ''}",
            [lines[i] for i in rows], details={"pairs_with_different_labels": differ},
            advice="Nothing has to be done: the group keeps all of them together." if together else advice,
        )
    ]  # fmt: skip


def _agree(twins: Near, keys: Sequence[str], row_keys: Sequence[str], groups: Sequence[str]) -> bool:
    """Whether each pair of near twins shares a group, which keeps it on one side of a split."""
    of_text: dict[str, set[str]] = {}
    for key, group in zip(row_keys, groups, strict=True):
        of_text.setdefault(key, set()).add(group)
    return all(of_text[keys[a]] & of_text[keys[b]] for a, b in twins.pairs)
