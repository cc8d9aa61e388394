"""What counting words scores on a random split, with identical texts together, and with groups together."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from toxonnx.check.finding import Finding, format_share, make_finding
from toxonnx.check.sampling import draw_to_learn
from toxonnx.data.examples import Examples
from toxonnx.data.splits import SplitRows, split
from toxonnx.errors import InputError
from toxonnx.evaluate.baseline import TfidfBaseline, majority
from toxonnx.labels import Labels
from toxonnx.recipe import Split
from toxonnx.texts import fold

__all__ = ["GroupBy", "leak", "measure", "random_draws", "refused", "split_findings", "without_lone_texts"]

#: splits drawn of each kind: a class with few distinct texts makes a single one jump
SEEDS = 3
#: rows under which nothing is measured
LEAST = 20
#: macro F1 that a split may flatter by before it is said
FLATTERY = 0.03
#: share of held-out rows that have to leak before a difference is put down to it
LEAKING = 0.01
#: accuracy of counted words from which the label may stand in the text
EASY = 0.99

RANDOM, TOGETHER = "random", "identical texts together"


@dataclass(frozen=True)
class GroupBy:
    """Columns in which rows have to agree to stay together.

    Attributes:
        columns: their names, as they may be shown.
        values: what each row has in them, one string a row.
        kept: whether the plan keeps it together; else it is tried for being a text column.
    """

    columns: tuple[str, ...]
    values: tuple[str, ...]
    kept: bool

    @property
    def name(self) -> str:
        """For a table."""
        return f"same {', '.join(self.columns)} together"


def refused(examples: Examples, spec: Split, groups: Sequence[str]) -> list[Finding]:
    """Whether the split that training would draw cannot be drawn."""
    try:
        split(replace(examples, groups=tuple(groups)), spec, "")
    except InputError as error:
        why = error.what.removeprefix(": ")
        return [
            make_finding(
                "split-impossible", "error",
                f"Training would refuse the split: {why.replace('distinct text', 'distinct group') if groups else why}",
                count=1, advice="Add rows of that class, or leave the class or the group out.",
            )
        ]  # fmt: skip
    return []


def without_lone_texts(examples: Examples, groups: Sequence[GroupBy]) -> tuple[Examples, Sequence[GroupBy], list[str]]:
    """The rows without those of classes that have a single text, which cannot stand on both sides; and who they are."""
    labels = examples.labels
    if labels.multi:
        return examples, groups, []
    texts: list[set[str]] = [set() for _ in labels.names]
    for text, number in zip(examples.texts, examples.y_true.tolist(), strict=True):
        texts[number].add(fold(text))
    kept = [number for number, one in enumerate(texts) if len(one) > 1]
    if len(kept) == len(labels) or len(kept) < 2:
        return examples, groups, []
    lone = ", ".join(repr(labels.names[number]) for number in range(len(labels)) if number not in kept)
    at = np.flatnonzero(np.isin(examples.y_true, kept))
    rest = replace(
        examples.subset(at),
        y_true=np.searchsorted(kept, examples.y_true[at]).astype(np.int64),
        labels=Labels(tuple(labels.names[number] for number in kept)),
    )
    said = [f"splits know nothing of the class {lone}, which has fewer than two distinct texts"]
    return rest, _of(groups, at.tolist()), said


def _of(groups: Sequence[GroupBy], rows: Sequence[int]) -> list[GroupBy]:
    return [replace(one, values=tuple(one.values[i] for i in rows)) for one in groups]


def random_draws(examples: Examples, spec: Split) -> list[SplitRows]:
    """Splits row by row; none where a class has too few rows. Validation and test are held out as one."""
    try:
        return _draws(examples, spec, "random", ())
    except InputError:
        return []


def _draws(examples: Examples, spec: Split, method: str, values: Sequence[str]) -> list[SplitRows]:
    one = Split(spec.validation + spec.test, method=method)
    grouped = replace(examples, groups=tuple(values))
    return [split(grouped, replace(one, seed=spec.seed + i), "") for i in range(SEEDS)]


def leak(draws: Sequence[SplitRows]) -> tuple[int, int] | None:
    """Rows that random splits hold out, and how many of these have their text in the training part."""
    if not draws:
        return None
    return _median(len(one.validation) for one in draws), _median(one.leaking for one in draws)


def measure(
    examples: Examples, spec: Split, groups: Sequence[GroupBy], random: Sequence[SplitRows], log: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Scores of the majority guess and of counted words, on each kind of split.

    Args:
        examples: labelled rows.
        spec: shares (validation and test are held out as one) and the first seed.
        groups: the groups to try.
        random: what :func:`random_draws` drew of these rows.
        log: takes words on progress.

    Returns:
        A row for each split that was possible; what was left out, in words.
    """
    if len(examples) < LEAST:
        return [], [f"baselines: {len(examples):,} usable rows are fewer than {LEAST}"]
    left_out = []
    kept = draw_to_learn(examples.texts, examples.labels, spec.seed)
    if len(kept) < len(examples):
        left_out.append(f"baselines were measured on {format_share(len(kept), len(examples))}, drawn at random")
        groups = _of(groups, kept.tolist())
        examples, groups, lone = without_lone_texts(replace(examples.subset(kept), groups=()), groups)
        random = random_draws(examples, spec)
        left_out += lone
    kinds: list[tuple[str, GroupBy | None]] = [(RANDOM, None), (TOGETHER, None), *((one.name, one) for one in groups)]
    rows: list[dict[str, Any]] = []
    by_text: Sequence[SplitRows] = ()
    for name, group in kinds:
        log(f"baseline: {name}")
        if name == TOGETHER and rows and not random[0].duplicates:
            rows.append({**rows[0], "split": name})  # it is the same draw
            by_text = random
            continue
        try:
            values = group.values if group else ()
            draws = random if name == RANDOM else _draws(examples, spec, "grouped", values)
            if not draws:
                raise InputError("a class has too few rows")
        except InputError as error:
            why = error.what.removeprefix(": ")
            left_out.append(f"baseline with {name}: {why.replace('distinct text', 'distinct group') if group else why}")
            continue
        if name == TOGETHER:
            by_text = draws
        columns = list(group.columns) if group else []
        rows.append({"split": name, "columns": columns, **_common(random, by_text, group), **_row(examples, draws)})
    return rows, left_out


def _common(random: Sequence[SplitRows], by_text: Sequence[SplitRows], group: GroupBy | None) -> dict[str, int | None]:
    """How many held-out rows of laxer splits agree with a training row in what a split keeps together."""

    def count(parts: SplitRows) -> int:
        if group is None:
            return parts.leaking
        there = {group.values[i] for i in parts.train}
        return sum(group.values[i] in there for i in parts.validation)

    return {
        key: _median(map(count, draws)) if draws else None
        for key, draws in (("agreeing_at_random", random), ("agreeing_by_text", by_text))
    }


def _row(examples: Examples, draws: Sequence[SplitRows]) -> dict[str, Any]:
    metrics = []
    for parts in draws:
        train, held = examples.subset(parts.train), examples.subset(parts.validation)
        words = TfidfBaseline(train.texts, train.y_true, examples.labels).score(held.texts, held.y_true)
        metrics.append((words, majority(train.y_true, held.y_true, examples.labels)))
    return {
        "train_rows": _median(len(one.train) for one in draws),
        "held_out_rows": _median(len(one.validation) for one in draws),
        "leaking_rows": _median(one.leaking for one in draws),
        **{
            who: {key: _spread([one[i][key] for one in metrics]) for key in ("accuracy", "macro_f1")}
            for i, who in enumerate(("baseline", "majority"))
        },
    }


def _median(values: Iterable[int]) -> int:
    return int(statistics.median(values))


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def split_findings(rows: list[dict[str, Any]], groups: Sequence[GroupBy], *, grouped: bool) -> list[Finding]:
    """A random split that flatters, and why; texts that give the label away.

    Args:
        rows: of :func:`measure`.
        groups: those that were tried.
        grouped: whether training keeps identical texts, and the groups that are kept, on one side.
    """
    by_name = {row["split"]: row for row in rows}
    findings = _easy(min(rows, key=_f1)) if rows else []
    random, by_text = by_name.get(RANDOM), by_name.get(TOGETHER)
    if random is None:
        return findings
    enough = LEAKING * random["held_out_rows"]
    clean = [row for row in rows if _flatters(random, row) and (row["agreeing_at_random"] or 0) >= enough]
    if not clean:
        return findings
    worst = min(clean, key=_f1)
    if by_text in clean and not _flatters(by_text, worst):
        worst = by_text  # keeping identical texts together is all it takes
    group = next((one for one in groups if one.name == worst["split"]), None)
    kept = grouped and (group is None or group.kept)
    columns = ", ".join(map(repr, worst["columns"]))
    between = f", {_f1(by_text):.3f} with {TOGETHER}" if group and by_text else ""
    shares = f"{format_share(worst['agreeing_at_random'], random['held_out_rows'], 'held-out row')} of a random split"
    if group and by_text and worst["agreeing_by_text"] is not None:
        shares += f", and {worst['agreeing_by_text']:,} of {by_text['held_out_rows']:,} with {TOGETHER},"
    where = f"agree with a training row in {columns}" if group else "have their text in the training part"
    findings.append(
        make_finding(
            "leaky-split", "note" if kept else "warning",
            f"A random split flatters: counted words score macro F1 {_f1(random):.3f} on it{between}, and "
            f"{_f1(worst):.3f} with {worst['split']}; {shares} {where}",
            count=worst["agreeing_at_random"],
            details={"random": _f1(random), "clean": _f1(worst), "clean_split": worst["split"]},
            advice="The split of this plan keeps them together; compare with no figure that is from a random split."
            if kept else "Report metrics of the clean split, and compare with no figure that is from a random one."
            + (f" Set split.group to {columns} if new rows will have other values there." if group else ""),
        )
    )  # fmt: skip
    return findings


def _easy(row: dict[str, Any]) -> list[Finding]:
    accuracy = row["baseline"]["accuracy"]["median"]
    if accuracy < EASY or accuracy - row["majority"]["accuracy"]["median"] < FLATTERY:
        return []
    return [
        make_finding(
            "easy-texts", "note", f"Counted words are right on {accuracy:.1%} of held-out rows ({row['split']})",
            count=row["held_out_rows"],
            advice="See whether the label, or the name of a source, stands in the text; no transformer is needed here.",
        )
    ]  # fmt: skip


def _flatters(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a split scores more than another by more than the draws of either differ."""
    high, low = one["baseline"]["macro_f1"], other["baseline"]["macro_f1"]
    return bool(high["median"] - low["median"] > FLATTERY and high["min"] > low["max"])


def _f1(row: dict[str, Any]) -> float:
    return float(row["baseline"]["macro_f1"]["median"])
