"""Baseline scores on a random split, with identical texts together, and with groups together: how much leakage adds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from toxonnx.check.finding import Finding, format_share, make_finding
from toxonnx.check.sampling import sample_for_baseline
from toxonnx.data.examples import Examples
from toxonnx.data.splits import SplitRows, split
from toxonnx.errors import InputError
from toxonnx.evaluate.baseline import TfidfBaseline, majority
from toxonnx.labels import Labels
from toxonnx.recipe import Split
from toxonnx.texts import fold

__all__ = [
    "Grouping",
    "Leakage",
    "ScoreRange",
    "SplitResult",
    "SplitScores",
    "draw_random_splits",
    "drop_single_text_classes",
    "infeasible_split_findings",
    "measure_leakage",
    "score_splits",
    "split_findings",
]

#: splits drawn of each kind, since a class with few distinct texts makes the score of a single split noisy
SPLITS_PER_KIND = 3
#: fewer rows are not scored
MIN_ROWS = 20
#: difference in macro F1 between a random and a clean split that is reported
INFLATION = 0.03
#: share of held-out rows that must leak before a difference is attributed to leakage
MIN_LEAKING_SHARE = 0.01
#: accuracy of the baseline from which the text may contain the label
NEAR_PERFECT = 0.99

RANDOM, TEXTS_TOGETHER = "random", "identical texts together"


@dataclass(frozen=True)
class Grouping:
    """Columns that keep rows with equal values on one side of a split.

    Attributes:
        columns: column names as they may be shown.
        values: the combined value of each row.
        in_recipe: whether training keeps the groups together; otherwise the grouping is tried as a text column.
    """

    columns: tuple[str, ...]
    values: tuple[str, ...]
    in_recipe: bool

    @property
    def name(self) -> str:
        """Name of the split in tables."""
        return f"same {', '.join(self.columns)} together"

    def subset(self, rows: Sequence[int]) -> Grouping:
        """The grouping of these rows."""
        return replace(self, values=tuple(self.values[i] for i in rows))


@dataclass(frozen=True)
class Leakage:
    """Leakage of a random split.

    Attributes:
        held_out_rows: number of held-out rows.
        leaking_rows: how many of these have their text in the training set.
    """

    held_out_rows: int
    leaking_rows: int


@dataclass(frozen=True)
class ScoreRange:
    """A score on several splits of the same kind."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, scores: Sequence[float]) -> ScoreRange:
        """The median and range of the scores."""
        return cls(statistics.median(scores), min(scores), max(scores))


@dataclass(frozen=True)
class SplitScores:
    """Scores of a baseline on several splits of the same kind."""

    accuracy: ScoreRange
    macro_f1: ScoreRange


@dataclass(frozen=True, kw_only=True)
class SplitResult:
    """Baseline scores on a kind of split. Counts are medians over the splits drawn.

    Attributes:
        split: the kind of split.
        columns: columns whose groups are kept together.
        train_rows: training rows.
        held_out_rows: held-out rows.
        leaking_rows: held-out rows whose text (or group) is in the training set.
        leaking_in_random_split: held-out rows of a random split that have the same text (or group) as a training
            row; None if no random split could be drawn.
        leaking_in_text_split: the same for a split that keeps only identical texts together.
        baseline: scores of the TF-IDF baseline.
        majority: scores of the majority class.
    """

    split: str
    columns: tuple[str, ...]
    train_rows: int
    held_out_rows: int
    leaking_rows: int
    leaking_in_random_split: int | None
    leaking_in_text_split: int | None
    baseline: SplitScores
    majority: SplitScores

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "columns": list(self.columns)}


def infeasible_split_findings(examples: Examples, spec: Split, groups: Sequence[str]) -> list[Finding]:
    """Whether the split that training would draw cannot be drawn.

    Args:
        examples: the rows.
        spec: shares and seed.
        groups: the group of each row; empty for none.
    """
    try:
        split(replace(examples, groups=tuple(groups)), spec, "")
    except InputError as error:
        reason = _reason(error, grouped=bool(groups))
        return [make_finding("infeasible-split", f"Training would refuse the split: {reason}", count=1)]
    return []


def _reason(error: InputError, *, grouped: bool) -> str:
    reason = error.what.removeprefix(": ")
    return reason.replace("distinct text", "distinct group") if grouped else reason


def drop_single_text_classes(
    examples: Examples, groupings: Sequence[Grouping]
) -> tuple[Examples, Sequence[Grouping], list[str]]:
    """The rows without the classes that have a single text, which cannot be on both sides of a split.

    Returns:
        The remaining rows, their groupings, and limitations that name the dropped classes.
    """
    labels = examples.labels
    if labels.multi:
        return examples, groupings, []
    texts: list[set[str]] = [set() for _ in labels.names]
    for text, label in zip(examples.texts, examples.y_true.tolist(), strict=True):
        texts[label].add(fold(text))
    kept = [label for label, distinct in enumerate(texts) if len(distinct) > 1]
    if len(kept) == len(labels) or len(kept) < 2:
        return examples, groupings, []
    dropped = [repr(name) for label, name in enumerate(labels.names) if label not in kept]
    rows = np.flatnonzero(np.isin(examples.y_true, kept))
    rest = replace(
        examples.subset(rows),
        y_true=np.searchsorted(kept, examples.y_true[rows]).astype(np.int64),
        labels=Labels(tuple(labels.names[label] for label in kept)),
    )
    classes = f"class{'es' if len(dropped) > 1 else ''} {', '.join(dropped)}"
    limitation = f"splits: drawn without the {classes}, with fewer than two distinct texts"
    return rest, [grouping.subset(rows.tolist()) for grouping in groupings], [limitation]


def draw_random_splits(examples: Examples, spec: Split) -> list[SplitRows]:
    """Splits drawn row by row, with validation and test rows held out together; empty if a class has too few rows."""
    try:
        return _draw_splits(examples, spec, "random", ())
    except InputError:
        return []


def _draw_splits(examples: Examples, spec: Split, method: str, groups: Sequence[str]) -> list[SplitRows]:
    holdout = Split(spec.validation + spec.test, method=method)
    grouped = replace(examples, groups=tuple(groups))
    return [split(grouped, replace(holdout, seed=spec.seed + i), "") for i in range(SPLITS_PER_KIND)]


def measure_leakage(splits: Sequence[SplitRows]) -> Leakage | None:
    """The median leakage of random splits; None without splits."""
    if not splits:
        return None
    return Leakage(_median(len(rows.validation) for rows in splits), _median(rows.leaking for rows in splits))


def score_splits(
    examples: Examples,
    spec: Split,
    groupings: Sequence[Grouping],
    random_splits: Sequence[SplitRows],
    log: Callable[[str], None],
) -> tuple[list[SplitResult], list[str]]:
    """Scores the TF-IDF baseline and the majority class on each kind of split.

    Args:
        examples: the rows.
        spec: shares (validation and test rows are held out together) and the first seed.
        groupings: the groupings to try.
        random_splits: from :func:`draw_random_splits`.
        log: takes progress messages.

    Returns:
        A result for each kind of split that can be drawn; limitations.
    """
    if len(examples) < MIN_ROWS:
        return [], [f"baselines: {len(examples):,} usable rows are fewer than {MIN_ROWS}"]
    limitations = []
    sampled = sample_for_baseline(examples.texts, examples.labels, spec.seed)
    if len(sampled) < len(examples):
        limitations.append(f"baselines: scored on a random sample of {format_share(len(sampled), len(examples))}")
        groupings = [grouping.subset(sampled.tolist()) for grouping in groupings]
        examples = replace(examples.subset(sampled), groups=())
        examples, groupings, dropped = drop_single_text_classes(examples, groupings)
        random_splits = draw_random_splits(examples, spec)
        limitations += dropped
    results: list[SplitResult] = []
    text_splits: Sequence[SplitRows] = ()
    kinds: list[tuple[str, Grouping | None]] = [(RANDOM, None), (TEXTS_TOGETHER, None)]
    for name, grouping in [*kinds, *((grouping.name, grouping) for grouping in groupings)]:
        log(f"baseline: {name}")
        if name == TEXTS_TOGETHER and results and not random_splits[0].duplicates:
            results.append(replace(results[0], split=name))  # without duplicates, both splits are the same
            text_splits = random_splits
            continue
        try:
            groups = grouping.values if grouping else ()
            splits = random_splits if name == RANDOM else _draw_splits(examples, spec, "grouped", groups)
            if not splits:
                raise InputError("a class has too few rows")
        except InputError as error:
            limitations.append(f"baseline, {name}: {_reason(error, grouped=grouping is not None)}")
            continue
        if name == TEXTS_TOGETHER:
            text_splits = splits
        results.append(
            SplitResult(
                split=name, columns=grouping.columns if grouping else (),
                train_rows=_median(len(rows.train) for rows in splits),
                held_out_rows=_median(len(rows.validation) for rows in splits),
                leaking_rows=_median(rows.leaking for rows in splits),
                leaking_in_random_split=_count_shared(random_splits, grouping),
                leaking_in_text_split=_count_shared(text_splits, grouping), **_score(examples, splits),
            )
        )  # fmt: skip
    return results, limitations


def _count_shared(splits: Sequence[SplitRows], grouping: Grouping | None) -> int | None:
    """Held-out rows whose group (text, without a grouping) is in the training set; None without splits."""

    def count(rows: SplitRows) -> int:
        if grouping is None:
            return rows.leaking
        in_training = {grouping.values[i] for i in rows.train}
        return sum(grouping.values[i] in in_training for i in rows.validation)

    return _median(map(count, splits)) if splits else None


def _score(examples: Examples, splits: Sequence[SplitRows]) -> dict[str, SplitScores]:
    scores: dict[str, list[dict[str, float]]] = {"baseline": [], "majority": []}
    for rows in splits:
        train, held_out = examples.subset(rows.train), examples.subset(rows.validation)
        baseline = TfidfBaseline(train.texts, train.y_true, examples.labels)
        scores["baseline"].append(baseline.score(held_out.texts, held_out.y_true))
        scores["majority"].append(majority(train.y_true, held_out.y_true, examples.labels))
    return {
        name: SplitScores(*(ScoreRange.of([score[metric] for score in of]) for metric in ("accuracy", "macro_f1")))
        for name, of in scores.items()
    }


def _median(values: Iterable[int]) -> int:
    return int(statistics.median(values))


def split_findings(results: Sequence[SplitResult], groupings: Sequence[Grouping], *, grouped: bool) -> list[Finding]:
    """Whether a random split inflates the metrics and why, and whether the baseline is nearly perfect.

    Args:
        results: from :func:`score_splits`.
        groupings: those that were tried.
        grouped: whether training keeps identical texts, and the groups of the recipe, on one side.
    """
    by_name = {result.split: result for result in results}
    findings = _near_perfect_findings(min(results, key=_macro_f1)) if results else []
    random, by_text = by_name.get(RANDOM), by_name.get(TEXTS_TOGETHER)
    if random is None:
        return findings
    min_leaking = MIN_LEAKING_SHARE * random.held_out_rows
    clean = [
        result for result in results
        if _is_inflated(random, result) and (result.leaking_in_random_split or 0) >= min_leaking
    ]  # fmt: skip
    if not clean:
        return findings
    lowest = min(clean, key=_macro_f1)
    if by_text in clean and not _is_inflated(by_text, lowest):
        lowest = by_text  # keeping identical texts together is sufficient
    grouping = next((grouping for grouping in groupings if grouping.name == lowest.split), None)
    return [*findings, _leaky_split_finding(random, by_text, lowest, grouping, grouped=grouped)]


def _leaky_split_finding(
    random: SplitResult, by_text: SplitResult | None, clean: SplitResult, grouping: Grouping | None, *, grouped: bool
) -> Finding:
    leaking = clean.leaking_in_random_split or 0
    columns = ", ".join(map(repr, clean.columns))
    shares = f"{format_share(leaking, random.held_out_rows, 'held-out row')} of the random split"
    text_score = ""
    if grouping and by_text:
        text_score = f" ({_macro_f1(by_text):.3f} with {TEXTS_TOGETHER})"
        if clean.leaking_in_text_split is not None:
            shares += f", and {clean.leaking_in_text_split:,} of {by_text.held_out_rows:,} with {TEXTS_TOGETHER},"
    shared = f"have the same value in {columns} as a training row" if grouping else "have their text in training"
    handled = grouped and (grouping is None or grouping.in_recipe)
    if handled:
        advice = "Training keeps them together. Do not compare its metrics with metrics of a random split."
    else:
        advice = "Report metrics of the clean split, and do not compare them with metrics of a random split."
        if grouping:
            advice += f" Set split.group to {columns} if new rows will have other values there."
    return make_finding(
        "leaky-split",
        f"A random split inflates the metrics: the TF-IDF baseline has a macro F1 of {_macro_f1(random):.3f} on it"
        f"{text_score}, but {_macro_f1(clean):.3f} with {clean.split}; {shares} {shared}",
        severity="note" if handled else "warning", count=leaking, advice=advice,
        details={"random": _macro_f1(random), "clean": _macro_f1(clean), "clean_split": clean.split},
    )  # fmt: skip


def _near_perfect_findings(result: SplitResult) -> list[Finding]:
    accuracy = result.baseline.accuracy.median
    if accuracy < NEAR_PERFECT or accuracy - result.majority.accuracy.median < INFLATION:
        return []
    message = f"The TF-IDF baseline has an accuracy of {accuracy:.1%} on held-out rows ({result.split})"
    return [make_finding("near-perfect-baseline", message, count=result.held_out_rows)]


def _is_inflated(one: SplitResult, other: SplitResult) -> bool:
    """Whether a split scores higher than another by more than the spread of either."""
    high, low = one.baseline.macro_f1, other.baseline.macro_f1
    return high.median - low.median > INFLATION and high.min > low.max


def _macro_f1(result: SplitResult) -> float:
    return result.baseline.macro_f1.median
