"""How well each column of a file predicts the label on its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.check.finding import format_names, format_share
from toxonnx.check.sampling import sample_for_baseline
from toxonnx.data.examples import Examples
from toxonnx.evaluate.baseline import TfidfBaseline
from toxonnx.labels import Labels
from toxonnx.texts import fold

__all__ = ["ColumnMeasurements", "ColumnResult", "ColumnRoles", "TargetResult", "measure_columns"]

#: maximum columns and rows measured, and the minimum rows
MAX_COLUMNS, MAX_ROWS, MIN_ROWS = 60, 10_000, 100
#: maximum characters times classes to fit TF-IDF baselines on, per column and in total: about a minute
MAX_WORK_PER_COLUMN, MAX_WORK = 6_000_000, 24_000_000
#: classes with fewer rows (or with fewer rows of other classes) are not measured one against the rest
MIN_CLASS_ROWS = 20
#: cross-validation folds
FOLDS = 5

IntArray = NDArray[np.int64]
#: row numbers of the training and of the held-out rows
Fold = tuple[IntArray, IntArray]
#: takes y_true of all rows and a fold, returns predictions for the held-out rows
Predictor = Callable[[IntArray, Fold], NDArray[Any]]


@dataclass(frozen=True)
class ColumnRoles:
    """Names of the columns with a known role.

    Attributes:
        text: text columns.
        label: label columns.
        votes: columns with annotators' votes, which training reads.
        group: group columns, which training keeps on one side of a split.
    """

    text: tuple[str, ...]
    label: tuple[str, ...]
    votes: tuple[str, ...] = ()
    group: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetResult:
    """How well a column predicts a target.

    Attributes:
        class_name: the class predicted against the rest; empty for all classes at once.
        accuracy: of the column, on held-out rows.
        majority: accuracy of the majority class.
        error_reduction: share of the majority class's errors that the column avoids; below 0 if it makes more.
        predictor: the model that predicts the target from the column.
    """

    class_name: str
    accuracy: float
    majority: float
    error_reduction: float
    predictor: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        values = asdict(self)
        return {"class": values.pop("class_name"), **values}


@dataclass(frozen=True)
class ColumnResult:
    """How well a column predicts the label.

    Attributes:
        column: its name.
        in_text: whether it is a text column.
        distinct: number of distinct values.
        free_text: whether its values were read as text, by a TF-IDF baseline.
        targets: a result for each target.
    """

    column: str
    in_text: bool
    distinct: int
    free_text: bool
    targets: tuple[TargetResult, ...]

    @property
    def all_classes(self) -> TargetResult | None:
        """The result for all classes at once, if there is one."""
        return next((target for target in self.targets if not target.class_name), None)

    @property
    def best_class(self) -> TargetResult | None:
        """The best result for one class against the rest, if there is one."""
        single = [target for target in self.targets if target.class_name]
        return max(single, key=lambda target: target.error_reduction, default=None)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "column": self.column, "in_text": self.in_text, "distinct": self.distinct, "free_text": self.free_text,
            "targets": [target.to_dict() for target in self.targets],
        }  # fmt: skip


@dataclass(frozen=True)
class ColumnMeasurements:
    """Results of all columns.

    Attributes:
        columns: in the file's order.
        whole_text: the result for the full text, if a column outside it has free text.
        distinct_texts: number of distinct texts in the rows measured.
        limitations: what was skipped or sampled.
    """

    columns: tuple[ColumnResult, ...] = ()
    whole_text: ColumnResult | None = None
    distinct_texts: int = 0
    limitations: tuple[str, ...] = ()

    def ranked(self) -> list[ColumnResult]:
        """The columns by their best result, best first."""
        return sorted(self.columns, key=lambda column: -max(target.error_reduction for target in column.targets))


def measure_columns(
    columns: Mapping[str, Sequence[str]], examples: Examples, roles: ColumnRoles, seed: int, log: Callable[[str], None]
) -> ColumnMeasurements:
    """Measures every column except the label by cross-validation, with rows of the same text in the same fold.

    Args:
        columns: name -> value of each row.
        examples: the rows, with at least two distinct texts.
        roles: known roles of the columns.
        seed: seed of folds and samples.
        log: takes progress messages.
    """
    if len(examples) < MIN_ROWS:
        return ColumnMeasurements(limitations=(f"single columns: {len(examples):,} usable rows, {MIN_ROWS} needed",))
    names = [name for name in columns if name not in roles.label]
    limitations = []
    if len(names) > MAX_COLUMNS:
        limitations.append(f"single columns: {MAX_COLUMNS} of {len(names)}, the text columns and the first others")
        names = [*roles.text, *(name for name in names if name not in roles.text)][:MAX_COLUMNS]
    rows = np.arange(len(examples))
    if len(examples) > MAX_ROWS:
        limitations.append(f"single columns: a random sample of {format_share(MAX_ROWS, len(examples))}")
        rows = np.sort(np.random.default_rng(seed).permutation(len(examples))[:MAX_ROWS])
        examples = examples.subset(rows)
    validator = _CrossValidator(examples, seed)
    if not validator.targets or validator.distinct_texts < 2:
        reason = f"no class has both {MIN_CLASS_ROWS} rows and {MIN_CLASS_ROWS} rows of other classes"
        return ColumnMeasurements(limitations=(f"single columns: {reason}",))
    results = []
    for name in names:
        log(f"single column: {name}")
        result = validator.measure([columns[name][i] for i in rows.tolist()], name, in_text=name in roles.text)
        if result is not None:
            results.append(result)
    whole_text = None
    if any(result.free_text and not result.in_text for result in results):
        log("single columns: full text")
        whole_text = validator.measure(examples.texts, "", in_text=True)
    return ColumnMeasurements(
        tuple(results), whole_text, validator.distinct_texts, (*limitations, *validator.limitations())
    )


@dataclass(frozen=True)
class _Target:
    """What is to be predicted; see :attr:`TargetResult.class_name`."""

    class_name: str
    y_true: IntArray


class _CrossValidator:
    """Measures columns on the same folds and targets.

    Attributes:
        targets: what is to be predicted.
        distinct_texts: number of distinct texts.
    """

    def __init__(self, examples: Examples, seed: int) -> None:
        self._labels, self._seed, self._work = examples.labels, seed, 0
        self._folds, self.distinct_texts = _draw_folds(examples, seed)
        self.targets = _make_targets(examples.y_true, examples.labels)
        self._sampled: set[str] = set()
        self._skipped: set[str] = set()

    def limitations(self) -> list[str]:
        """What was skipped or sampled to bound the time."""
        return [
            f"single columns: free text ({format_names(sorted(map(repr, names)))}) {what}"
            for names, what in (
                (self._sampled, "was measured on a random sample of the rows"),
                (self._skipped, "was not measured, since fitting takes too long"),
            )
            if names
        ]

    def measure(self, values: Sequence[str], name: str, *, in_text: bool) -> ColumnResult | None:
        """How well a column's values predict the targets; None for a constant column, or if nothing was fitted."""
        folded = [fold(value) for value in values]
        distinct: dict[str, int] = {}
        codes = np.array([distinct.setdefault(value, len(distinct)) for value in folded], dtype=np.int64)
        if len(distinct) < 2:
            return None
        ranks = _rank_numbers(folded)
        predictors: dict[str, Predictor] = {}
        # With about twenty rows per value, the class of each value can be learned.
        if len(distinct) <= max(10, len(values) // 20):
            predictors["a lookup table"] = lambda y_true, rows: _predict_by_lookup(codes, y_true, rows)
        if ranks is not None:
            predictors["a decision tree"] = lambda y_true, rows: _predict_by_tree(ranks, y_true, rows)
        targets = self._measure_values(predictors) if predictors else self._measure_text(values, name)
        return ColumnResult(name, in_text, len(distinct), not predictors, tuple(targets)) if targets else None

    def _measure_values(self, predictors: Mapping[str, Predictor]) -> list[TargetResult]:
        results = []
        for target in self.targets:
            accuracy = {
                name: _accuracy(predictor, target.y_true, self._folds) for name, predictor in predictors.items()
            }
            best = max(accuracy, key=lambda name: accuracy[name])
            majority = _accuracy(_predict_majority, target.y_true, self._folds)
            results.append(_target_result(target, accuracy[best], majority, best))
        return results

    def _measure_text(self, values: Sequence[str], name: str) -> list[TargetResult]:
        # All classes at once, since one fit per class would take too long.
        targets = [target for target in self.targets if not target.class_name] or self.targets
        sampled = sample_for_baseline(values, self._labels, self._seed, MAX_WORK_PER_COLUMN)
        work = sum(len(values[i]) for i in sampled.tolist()) * len(self._labels)
        if self._work + work > MAX_WORK or not len(sampled):
            self._skipped |= {name} - {""}
            return []
        self._work += work
        if len(sampled) < len(values):
            self._sampled |= {name} - {""}
        folds = [(np.intersect1d(train, sampled), np.intersect1d(held_out, sampled)) for train, held_out in self._folds]
        folds = [(train, held_out) for train, held_out in folds if len(train) and len(held_out)]
        return [
            _target_result(
                target, _accuracy(lambda y_true, rows: _predict_by_tfidf(values, y_true, rows), target.y_true, folds),
                _accuracy(_predict_majority, target.y_true, folds), "TF-IDF and logistic regression",
            )
            for target in targets if folds
        ]  # fmt: skip


def _target_result(target: _Target, accuracy: float, majority: float, predictor: str) -> TargetResult:
    reduction = (accuracy - majority) / (1 - majority) if majority < 1 else 0.0
    return TargetResult(target.class_name, accuracy, majority, reduction, predictor)


def _draw_folds(examples: Examples, seed: int) -> tuple[list[Fold], int]:
    """:data:`FOLDS` folds with identical texts in the same fold, and the number of distinct texts.

    The folds are stratified; a class with a single text is allowed.
    """
    text_index: dict[str, int] = {}
    texts = np.array([text_index.setdefault(fold(text), len(text_index)) for text in examples.texts])
    _, first_row = np.unique(texts, return_index=True)
    order = np.random.default_rng(seed).permutation(len(text_index))
    strata = np.unique(examples.y_true[first_row], axis=0, return_inverse=True)[1].reshape(-1)
    order = order[np.argsort(strata[order], kind="stable")]
    folds = min(FOLDS, len(text_index))
    fold_of_text = np.empty(len(text_index), dtype=np.int64)
    fold_of_text[order] = np.arange(len(text_index)) % folds
    fold_of_row = fold_of_text[texts]
    rows = [(np.flatnonzero(fold_of_row != i), np.flatnonzero(fold_of_row == i)) for i in range(folds)]
    return rows, len(text_index)


def _make_targets(y_true: IntArray, labels: Labels) -> list[_Target]:
    one_hot = y_true if labels.multi else np.eye(len(labels), dtype=np.int64)[y_true]
    rows, others = ((one_hot == value).sum(axis=0).tolist() for value in (1, 0))
    enough = [min(counts) >= MIN_CLASS_ROWS for counts in zip(rows, others, strict=True)]
    single = [_Target(name, one_hot[:, i]) for i, name in enumerate(labels.names) if enough[i]]
    if labels.multi:
        return single
    # With two classes, one against the rest is the same as all classes.
    return ([_Target("", y_true)] if any(enough) else []) + (single if len(labels) > 2 else [])


def _accuracy(predictor: Predictor, y_true: IntArray, folds: Sequence[Fold]) -> float:
    """Accuracy over the held-out rows of all folds, without rows in which the target was not judged."""
    folds = [(train[y_true[train] >= 0], held_out[y_true[held_out] >= 0]) for train, held_out in folds]
    folds = [(train, held_out) for train, held_out in folds if len(train) and len(held_out)]
    correct = sum(int((predictor(y_true, fold) == y_true[fold[1]]).sum()) for fold in folds)
    return correct / max(sum(len(held_out) for _, held_out in folds), 1)


def _predict_majority(y_true: IntArray, rows: Fold) -> NDArray[Any]:
    return np.full(len(rows[1]), np.bincount(y_true[rows[0]]).argmax())


def _predict_by_lookup(codes: IntArray, y_true: IntArray, rows: Fold) -> NDArray[Any]:
    train, held_out = rows
    counts = np.zeros((int(codes.max()) + 1, int(y_true.max()) + 1))
    np.add.at(counts, (codes[train], y_true[train]), 1)
    # The majority class is predicted for values that are not in the training rows, and breaks ties.
    counts += np.bincount(y_true[train], minlength=counts.shape[1]) / (2 * len(train))
    return np.asarray(counts.argmax(axis=1)[codes[held_out]])


def _predict_by_tree(ranks: NDArray[np.float32], y_true: IntArray, rows: Fold) -> NDArray[Any]:
    from sklearn.tree import DecisionTreeClassifier

    train, held_out = rows
    tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(ranks[train, None], y_true[train])
    return np.asarray(tree.predict(ranks[held_out, None]))


def _predict_by_tfidf(values: Sequence[str], y_true: IntArray, rows: Fold) -> NDArray[Any]:
    train, held_out = rows
    labels = Labels(tuple(str(i) for i in range(max(2, int(y_true.max()) + 1))))
    baseline = TfidfBaseline([values[i] for i in train.tolist()], y_true[train], labels)
    return np.asarray(baseline.logits([values[i] for i in held_out.tolist()]).argmax(axis=1))


def _rank_numbers(values: Sequence[str]) -> NDArray[np.float32] | None:
    """The ranks of the values as numbers, NaN for an empty value or NaN; None if a value is not a number.

    scikit-learn's trees use float32, in which long ids and timestamps would be equal, but not their ranks.
    """
    try:
        numbers = [_parse_number(value) for value in values]
    except ValueError:
        return None
    ranks = {number: rank for rank, number in enumerate(sorted({one for one in numbers if one is not None}))}
    return np.array([math.nan if one is None else ranks[one] for one in numbers], dtype=np.float32)


def _parse_number(value: str) -> float | None:
    if not value:
        return None
    try:
        return int(value)
    except ValueError:  # not an integer, or one of thousands of digits
        number = float(value)
        return None if math.isnan(number) else number
