"""What counting words scores on a random split, with identical texts together, and with groups together."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toxonnx.check.finding import Finding, found
from toxonnx.errors import InputError
from toxonnx.labels import Labels
from toxonnx.recipe import Split
from toxonnx.texts import fold
from toxonnx.train.baseline import baseline, majority
from toxonnx.train.data import Examples, split

__all__ = ["GroupBy", "measure", "split_findings"]

#: splits drawn of each kind: a class with few distinct texts makes a single one jump
SEEDS = 3
#: rows used at most, and rows under which nothing is measured
MOST, LEAST = 50_000, 20
#: characters of these rows at most: about half a minute for each time that words are learnt
MOST_CHARACTERS = 20_000_000
#: macro F1 that a split may flatter by before it is a warning
FLATTERY = 0.03
#: share of held-out rows that have to leak before a difference is put down to it
LEAKING = 0.01

RANDOM, TOGETHER = "random", "identical texts together"


@dataclass(frozen=True)
class GroupBy:
    """Columns in which rows have to agree to stay together.

    Attributes:
        columns: their names.
        values: what each row has in them, one string a row.
        asked: whether somebody asked for this group, or it was tried for being a text column.
        of_recipe: whether training keeps it together already.
    """

    columns: tuple[str, ...]
    values: tuple[str, ...]
    asked: bool
    of_recipe: bool

    @property
    def name(self) -> str:
        """For a table."""
        return f"same {', '.join(self.columns)} together"


def measure(
    examples: Examples, spec: Split, groups: Sequence[GroupBy], say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[str], list[Finding]]:
    """Scores of the majority guess and of counted words, on each kind of split.

    Args:
        examples: labelled rows.
        spec: shares (validation and test are held out as one) and the first seed.
        groups: the groups to try.
        say: takes words on progress.

    Returns:
        A row for each split that was possible; what was left out, in words; findings on splits that were not possible.
    """
    if len(examples) < LEAST:
        return [], [f"no baseline: {len(examples):,} usable rows are fewer than {LEAST}"], []
    left_out = []
    order = np.random.default_rng(spec.seed).permutation(len(examples))[:MOST]
    sizes = np.array([len(text) for text in examples.texts])
    order = order[np.cumsum(sizes[order]) <= MOST_CHARACTERS]
    if len(order) < len(examples):
        left_out.append(f"baselines were measured on {len(order):,} of {len(examples):,} rows, drawn at random")
        kept = np.sort(order)
        examples = dataclasses.replace(examples.subset(kept), groups=())
        groups = [dataclasses.replace(one, values=tuple(one.values[i] for i in kept)) for one in groups]
    examples, groups = _without_lone_texts(examples, groups, left_out)
    spec = Split(spec.validation + spec.test, seed=spec.seed)
    kinds: list[tuple[str, str, GroupBy | None]] = [(RANDOM, "random", None), (TOGETHER, "grouped", None)]
    kinds += [(one.name, "grouped", one) for one in groups]
    rows, findings = [], []
    for name, method, group in kinds:
        say(f"baseline: {name}")
        try:
            rows.append(_row(examples, dataclasses.replace(spec, method=method), name, group))
        except InputError as error:
            why = error.what.removeprefix(": ")
            if group:
                why = why.replace("distinct text", "distinct group")
            left_out.append(f"no baseline with {name}: {why}")
            findings.append(
                found(
                    "split-impossible", "note" if group and not group.asked else "warning",
                    f"No split with {name} could be drawn: {why}",
                    count=1,
                    advice="Add rows of that class, or leave the class or the group out." if not group or group.asked
                    else "Nothing has to be done, unless new rows will have other values in that column.",
                )
            )  # fmt: skip
    return rows, left_out, findings


def _without_lone_texts(
    examples: Examples, groups: Sequence[GroupBy], left_out: list[str]
) -> tuple[Examples, Sequence[GroupBy]]:
    """The rows without those of classes that have a single text, which cannot stand on both sides."""
    labels = examples.labels
    if labels.multi:
        return examples, groups
    texts: list[set[str]] = [set() for _ in labels.names]
    for text, number in zip(examples.texts, examples.truth.tolist(), strict=True):
        texts[number].add(fold(text))
    kept = [number for number, one in enumerate(texts) if len(one) > 1]
    if len(kept) == len(labels) or len(kept) < 2:
        return examples, groups
    lone = ", ".join(repr(labels.names[number]) for number in range(len(labels)) if number not in kept)
    left_out.append(f"baselines know nothing of the class {lone}, which has fewer than two distinct texts")
    at = np.flatnonzero(np.isin(examples.truth, kept))
    rest = dataclasses.replace(
        examples.subset(at),
        truth=np.searchsorted(kept, examples.truth[at]).astype(np.int64),
        labels=Labels(tuple(labels.names[number] for number in kept)),
    )
    return rest, [dataclasses.replace(one, values=tuple(one.values[i] for i in at)) for one in groups]


def _row(examples: Examples, spec: Split, name: str, group: GroupBy | None) -> dict[str, Any]:
    grouped = dataclasses.replace(examples, groups=group.values if group else ())
    figures: list[dict[str, Any]] = []
    for seed in range(spec.seed, spec.seed + SEEDS):
        parts = split(grouped, dataclasses.replace(spec, seed=seed), "")
        train, held = examples.subset(parts.train), examples.subset(parts.validation)
        guess = majority(train.truth, held.truth, examples.labels)
        words = baseline(train.texts, train.truth, held.texts, held.truth, examples.labels)
        figures.append(
            {
                "majority": guess, "baseline": words, "train": len(train), "held_out": len(held),
                "leaking": parts.leaking,
            }
        )  # fmt: skip
    return {
        "split": name,
        "columns": list(group.columns) if group else [],
        "train_rows": _median(one["train"] for one in figures),
        "held_out_rows": _median(one["held_out"] for one in figures),
        "leaking_rows": _median(one["leaking"] for one in figures),
        "majority": {key: _spread([one["majority"][key] for one in figures]) for key in ("accuracy", "macro_f1")},
        "baseline": {key: _spread([one["baseline"][key] for one in figures]) for key in ("accuracy", "macro_f1")},
    }


def _median(values: Any) -> int:
    return int(statistics.median(values))


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def split_findings(rows: list[dict[str, Any]], groups: Sequence[GroupBy]) -> list[Finding]:
    """Splits that flatter: a random one, or one by text alone where rows share a column."""
    by_name = {row["split"]: row for row in rows}
    shared = {one.name: len(one.values) - len(set(one.values)) for one in groups}
    findings = []
    clean = [row for row in rows if row["split"] != RANDOM]
    if RANDOM in by_name and clean:
        cleanest, random = min(clean, key=_f1), by_name[RANDOM]
        leaking = shared.get(cleanest["split"], random["leaking_rows"])
        if _flatters(random, cleanest) and leaking >= LEAKING * random["held_out_rows"]:
            findings.append(
                found(
                    "leaky-split", "warning",
                    f"A random split flatters: TF-IDF and logistic regression score macro F1 {_f1(random):.3f} on it "
                    f"and {_f1(cleanest):.3f} with {cleanest['split']}",
                    count=random["leaking_rows"],
                    details={"random": _f1(random), "clean": _f1(cleanest), "clean_split": cleanest["split"]},
                    advice="Report figures of the clean split, and compare with no figure that is from a random one.",
                )
            )  # fmt: skip
    for group in groups:
        by_text, together = by_name.get(TOGETHER), by_name.get(group.name)
        if by_text and together and _flatters(by_text, together):
            columns = ", ".join(map(repr, group.columns))
            findings.append(
                found(
                    "shared-column", "note" if group.of_recipe else "warning",
                    f"Rows that agree in column {columns} stand on both sides of a split by text alone; macro F1 falls "
                    f"from {_f1(by_text):.3f} to {_f1(together):.3f} when they are kept together",
                    count=shared[group.name], details={"by_text": _f1(by_text), "together": _f1(together)},
                    advice="Nothing has to be done: the recipe's split.group keeps them together." if group.of_recipe
                    else f"Set split.group to {columns} if new rows will have other values there.",
                )
            )  # fmt: skip
    return findings


def _flatters(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a split scores more than another by more than the draws of either differ."""
    high, low = one["baseline"]["macro_f1"], other["baseline"]["macro_f1"]
    return bool(high["median"] - low["median"] > FLATTERY and high["min"] > low["max"])


def _f1(row: dict[str, Any]) -> float:
    return float(row["baseline"]["macro_f1"]["median"])
