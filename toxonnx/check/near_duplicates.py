"""Texts that are nearly the same: MinHash LSH candidates, verified by Jaccard similarity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toxonnx.check.finding import Finding, format_share, make_finding
from toxonnx.check.sampling import sample
from toxonnx.wording import plural

__all__ = ["SIMILARITY", "NearDuplicates", "find_near_duplicates", "near_duplicate_findings", "similarity"]

#: Jaccard similarity of the shingles of two texts from which they are near duplicates
SIMILARITY = 0.8
#: characters per shingle
SHINGLE_LENGTH = 5
#: texts with fewer words and fewer characters than these are too short to be compared
MIN_WORDS, MIN_CHARACTERS = 3, 20
#: maximum texts compared, and maximum characters of them: about 30 seconds
MAX_TEXTS, MAX_CHARACTERS = 50_000, 20_000_000
#: maximum candidates verified per text, so that thousands of nearly equal rows do not take hours
MAX_CANDIDATES = 50
#: estimated similarity from which a candidate is verified: four standard errors below SIMILARITY
MIN_ESTIMATE = 0.65
#: 21 bands of 6 hash values find 99.8% of the pairs at the threshold
BANDS, BAND_SIZE = 21, 6
#: share of rows with a near duplicate from which the finding is a warning
WARNING_SHARE = 0.05


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of nearly equal texts.

    Attributes:
        pairs: positions of the two texts, each pair once; the earlier text first if one list was searched.
        compared: number of texts compared.
        too_short: number of texts too short to be compared.
        limitation: what was sampled or skipped to bound the time, as a message; empty if nothing was.
    """

    pairs: list[tuple[int, int]]
    compared: int
    too_short: int
    limitation: str = ""


def shingles(key: str) -> set[str]:
    """The substrings of :data:`SHINGLE_LENGTH` characters of a folded text."""
    return {key[i : i + SHINGLE_LENGTH] for i in range(max(1, len(key) - SHINGLE_LENGTH + 1))}


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the shingles of two folded texts."""
    a, b = shingles(one), shingles(other)
    both = len(a & b)
    return both / (len(a) + len(b) - both)


class _Index:
    """An LSH index of MinHash signatures; texts are identified by their position."""

    def __init__(self, size: int) -> None:
        from datasketch import MinHashLSH

        self._lsh = MinHashLSH(num_perm=BANDS * BAND_SIZE, params=(BANDS, BAND_SIZE))
        self._values = np.zeros((size, BANDS * BAND_SIZE), dtype=np.uint64)

    def add(self, position: int, signature: Any) -> None:
        self._lsh.insert(position, signature)
        self._values[position] = signature.hashvalues

    def candidates(self, signature: Any) -> list[int]:
        """Positions of likely near duplicates, at most :data:`MAX_CANDIDATES`, the most similar first."""
        positions = np.array(sorted(self._lsh.query(signature)), dtype=np.int64)
        estimates = (self._values[positions] == signature.hashvalues).mean(axis=1)
        likely = np.flatnonzero(estimates >= MIN_ESTIMATE)
        order = likely[np.argsort(-estimates[likely], kind="stable")]
        return [int(position) for position in positions[order[:MAX_CANDIDATES]]]


def find_near_duplicates(keys: Sequence[str], others: Sequence[str] = (), seed: int = 0) -> NearDuplicates:
    """Finds near duplicates among distinct folded texts, or between them and the texts of another file.

    Args:
        keys: distinct folded texts.
        others: distinct folded texts of another file; if given, the first position of each pair refers to them.
        seed: seed of the sample if there are too many texts.
    """
    limitations = []
    key_rows, other_rows = (sample(texts, MAX_TEXTS, MAX_CHARACTERS, seed).tolist() for texts in (keys, others))
    for what, texts, rows in (("", keys, key_rows), ("of the other file ", others, other_rows)):
        if len(rows) < len(texts):
            limitations.append(f"a random sample of {len(rows):,} of {len(texts):,} distinct texts {what}was compared")
    indexed = others or keys
    index = _Index(len(indexed))
    for i, signature in _signatures(others, other_rows):
        # A text with many near duplicates in the index adds nothing to it.
        if len(index.candidates(signature)) < MAX_CANDIDATES:
            index.add(i, signature)
    pairs: list[tuple[int, int]] = []
    compared, too_many = 0, False
    for i, signature in _signatures(keys, key_rows):
        compared += 1
        close = [j for j in index.candidates(signature) if similarity(indexed[j], keys[i]) >= SIMILARITY]
        pairs += [(j, i) for j in sorted(close)]
        if len(close) == MAX_CANDIDATES:
            too_many = True
        elif not others:
            index.add(i, signature)
    if too_many:
        limitations.append(f"at most {MAX_CANDIDATES} pairs per text are counted")
    return NearDuplicates(pairs, compared, len(key_rows) - compared, "; ".join(limitations))


def _signatures(keys: Sequence[str], rows: Sequence[int]) -> Iterator[tuple[int, Any]]:
    from datasketch import MinHash

    # Some scripts have no spaces between words, so a long text without spaces is compared too.
    comparable = [i for i in rows if len(keys[i].split()) >= MIN_WORDS or len(keys[i]) >= MIN_CHARACTERS]
    data = ([shingle.encode("utf-8", "surrogatepass") for shingle in shingles(keys[i])] for i in comparable)
    yield from zip(comparable, MinHash.generator(data, num_perm=BANDS * BAND_SIZE), strict=True)


def near_duplicate_findings(
    near: NearDuplicates, keys: Sequence[str], labels: Sequence[object], lines: Sequence[int],
    groups: Sequence[str] = (),
) -> list[Finding]:  # fmt: skip
    """Reports near duplicates.

    Args:
        near: pairs of the distinct ``keys``, in the order in which they first occur.
        keys: the folded text of each row.
        labels: the label of each row, hashable.
        lines: the line of each row.
        groups: the group of each row that training keeps on one side of a split; empty for none.
    """
    if not near.pairs:
        return []
    distinct = list(dict.fromkeys(keys))
    concerned = {distinct[i] for pair in near.pairs for i in pair}
    rows = [i for i, key in enumerate(keys) if key in concerned]
    labels_of_text: dict[str, set[object]] = {}
    for i in rows:
        labels_of_text.setdefault(keys[i], set()).add(labels[i])
    different = sum(labels_of_text[distinct[a]] != labels_of_text[distinct[b]] for a, b in near.pairs)
    grouped = bool(groups) and _share_a_group(near, distinct, keys, groups)
    share = len(rows) / len(lines)
    message = (
        f"{format_share(len(rows), len(lines))} have a near duplicate: {plural(len(concerned), 'text')} in "
        f"{plural(len(near.pairs), 'pair')}, {different:,} of the pairs with different labels"
        f"{f' ({near.limitation})' if near.limitation else ''}"
    )
    return [
        make_finding(
            "near-duplicates", message, [lines[i] for i in rows],
            severity="warning" if share >= WARNING_SHARE and not grouped else "note",
            details={"pairs_with_different_labels": different},
            advice="No action needed: the group keeps near duplicates on one side of a split." if grouped else None,
        )
    ]  # fmt: skip


def _share_a_group(near: NearDuplicates, distinct: Sequence[str], keys: Sequence[str], groups: Sequence[str]) -> bool:
    """Whether the texts of each pair share a group, which keeps them on one side of a split."""
    groups_of_text: dict[str, set[str]] = {}
    for key, group in zip(keys, groups, strict=True):
        groups_of_text.setdefault(key, set()).add(group)
    return all(groups_of_text[distinct[a]] & groups_of_text[distinct[b]] for a, b in near.pairs)
