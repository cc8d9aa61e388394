"""How well each column of a file, by itself, predicts the label: one that does so too well gives it away."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.check.finding import Finding, format_share, listing, make_finding
from toxonnx.check.sampling import draw_to_learn
from toxonnx.data.examples import Examples
from toxonnx.evaluate.baseline import TfidfBaseline
from toxonnx.labels import Labels
from toxonnx.texts import fold

__all__ = ["Roles", "telling"]

#: share of the majority guess's errors that a column has to take away by itself to be named: over all classes, or in
#: telling one class from the rest
OVERALL, ONE_CLASS = 0.6, 0.8
#: errors that free text beside the text may leave, for one that the text itself leaves, to be named
FAR_LESS = 0.5
#: columns and rows looked at, at most, and rows under which nothing is
COLUMNS, ROWS, LEAST = 60, 10_000, 100
#: characters times classes that words are learnt from, of one column and of all: about a minute
WORK, ALL_WORK = 6_000_000, 24_000_000
#: chance that any column of a file is named though it tells nothing
CHANCE = 0.01
#: rows of a class under which telling it from the rest says nothing
SUPPORT = 20
#: parts that the rows are divided into; each is held out once
FOLDS = 5

Truth = NDArray[np.int64]
Part = tuple[NDArray[np.int64], NDArray[np.int64]]
Way = Callable[[Truth, Part], NDArray[Any]]


@dataclass(frozen=True)
class Roles:
    """What is known of a file's columns: those of the text, of the label, of the votes that training reads, and of the
    group that it keeps together."""

    text: tuple[str, ...]
    label: tuple[str, ...]
    votes: tuple[str, ...] = ()
    group: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Target:
    """What is to be predicted: ``name`` is empty for all classes at once, else the class told from the rest."""

    name: str
    y_true: Truth


def telling(
    columns: Mapping[str, Sequence[str]], examples: Examples, roles: Roles, seed: int, log: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[str], list[Finding]]:
    """Measures every column but the label's on held-out rows, rows of the same text on one side.

    Args:
        columns: name -> value of each row.
        examples: the rows, of two distinct texts at least.
        roles: what the columns are.
        seed: of the draw.
        log: takes words on progress.

    Returns:
        Metrics of each column, the most telling first; what was left out, in words; findings.
    """
    if len(examples) < LEAST:
        return [], [f"columns by themselves: {len(examples):,} usable rows are fewer than {LEAST}"], []
    names = [name for name in columns if name not in roles.label]
    left_out = []
    if len(names) > COLUMNS:
        left_out.append(f"{COLUMNS} of {len(names)} columns were tried alone, those of the text and the first others")
        names = [*roles.text, *(name for name in names if name not in roles.text)][:COLUMNS]
    rows = np.arange(len(examples))
    if len(examples) > ROWS:
        left_out.append(f"columns were tried alone on {format_share(ROWS, len(examples))}, drawn at random")
        rows = np.sort(np.random.default_rng(seed).permutation(len(examples))[:ROWS])
        examples = examples.subset(rows)
    trial = _Trial(examples, seed)
    if not trial.targets or trial.texts < 2:
        return [], [f"columns by themselves: no class has {SUPPORT} rows beside {SUPPORT} of others"], []
    result = []
    for name in names:
        log(f"column by itself: {name}")
        metrics = trial.metrics([columns[name][i] for i in rows.tolist()], name)
        if metrics is not None:
            result.append({"column": name, "in_text": name in roles.text, **metrics})
    whole = None
    if any(one["free_text"] and not one["in_text"] for one in result):
        log("the text itself")
        whole = trial.metrics(examples.texts)
    tests = sum(len(one["targets"]) for one in result)
    judged = [_judge(one, roles, whole, trial.texts, tests) for one in result]
    findings = [one for one in judged if one is not None]
    result.sort(key=lambda one: -max(target["errors_removed"] for target in one["targets"]))
    return result, left_out + trial.left_out(), findings


class _Trial:
    """Rows in parts of which each is held out once, and what is to be told of them.

    Attributes:
        targets: what is to be predicted.
        texts: distinct texts.
    """

    def __init__(self, examples: Examples, seed: int) -> None:
        self._labels, self._seed, self._work = examples.labels, seed, 0
        self._parts, self.texts = _folds(examples, seed)
        self.targets = _targets(examples.y_true, examples.labels)
        self._shortened: set[str] = set()
        self._skipped: set[str] = set()

    def left_out(self) -> list[str]:
        """What was not learnt to keep it fast."""
        return [
            f"columns of free text ({listing(sorted(map(repr, names)))}) {what}"
            for names, what in (
                (self._shortened, "were tried alone on a part of the rows, drawn at random"),
                (self._skipped, "were not tried alone, since learning their words takes long"),
            )
            if names
        ]

    def metrics(self, values: Sequence[str], name: str = "") -> dict[str, Any] | None:
        """How well a column's values tell the targets; None for a single value, or where nothing was learnt."""
        folded = [fold(value) for value in values]
        distinct, codes = np.unique(folded, return_inverse=True)
        if len(distinct) < 2:
            return None
        numbers = _numbers(folded)
        ways: dict[str, Way] = {}
        # About twenty rows a value: each is met often enough to learn what goes with it.
        if len(distinct) <= max(10, len(values) // 20):
            ways["a lookup of its values"] = lambda y_true, part: _lookup(codes, y_true, part)
        if numbers is not None:
            ways["a small decision tree"] = lambda y_true, part: _tree(numbers, y_true, part)
        measured = self._by(ways) if ways else self._words(values, name)
        return {"distinct": len(distinct), "free_text": not ways, "targets": measured} if measured else None

    def _by(self, ways: dict[str, Way]) -> list[dict[str, Any]]:
        measured = []
        for target in self.targets:
            scores = {way: _right(said, target.y_true, self._parts) for way, said in ways.items()}
            way = max(scores, key=lambda one: scores[one])
            measured.append(_measured(target, scores[way], _right(_guess, target.y_true, self._parts), way))
        return measured

    def _words(self, values: Sequence[str], name: str) -> list[dict[str, Any]]:
        """Words are learnt once for all classes, not once more for each."""
        targets = [one for one in self.targets if not one.name] or self.targets
        kept = draw_to_learn(values, self._labels, self._seed, WORK)
        work = sum(len(values[i]) for i in kept.tolist()) * len(self._labels)
        if self._work + work > ALL_WORK or not len(kept):
            self._skipped |= {name} - {""}
            return []
        self._work += work
        if len(kept) < len(values):
            self._shortened |= {name} - {""}
        parts = [(np.intersect1d(train, kept), np.intersect1d(held, kept)) for train, held in self._parts]
        parts = [(train, held) for train, held in parts if len(train) and len(held)]
        return [
            _measured(
                one, _right(lambda y_true, part: _said(values, y_true, part), one.y_true, parts),
                _right(_guess, one.y_true, parts), "TF-IDF and logistic regression",
            )
            for one in targets if parts
        ]  # fmt: skip


def _measured(target: _Target, score: float, guess: float, way: str) -> dict[str, Any]:
    removed = (score - guess) / (1 - guess) if guess < 1 else 0.0
    return {"class": target.name, "accuracy": score, "majority": guess, "errors_removed": removed, "by": way}


def _folds(examples: Examples, seed: int) -> tuple[list[Part], int]:
    """Training and held-out rows, :data:`FOLDS` times, so that each row is held out once, with its text's others;
    and the number of distinct texts.

    A class with few texts is spread over the folds, and one with a single text stops nothing.
    """
    number: dict[str, int] = {}
    texts = np.array([number.setdefault(fold(text), len(number)) for text in examples.texts])
    _, first = np.unique(texts, return_index=True)
    order = np.random.default_rng(seed).permutation(len(number))
    kinds = np.unique(examples.y_true[first], axis=0, return_inverse=True)[1].reshape(-1)
    order = order[np.argsort(kinds[order], kind="stable")]
    folds = min(FOLDS, len(number))
    of_text = np.empty(len(number), dtype=np.int64)
    of_text[order] = np.arange(len(number)) % folds
    of_row = of_text[texts]
    parts = [(np.flatnonzero(of_row != one), np.flatnonzero(of_row == one)) for one in range(folds)]
    return parts, len(number)


def _targets(y_true: Truth, labels: Labels) -> list[_Target]:
    ones = y_true if labels.multi else np.eye(len(labels), dtype=np.int64)[y_true]
    rows = ones.sum(axis=0)
    enough = [min(count, len(y_true) - count) >= SUPPORT for count in rows.tolist()]
    single = [_Target(name, ones[:, i]) for i, name in enumerate(labels.names) if enough[i]]
    # Of two classes, one told from the rest is both told apart.
    if labels.multi:
        return single
    return ([_Target("", y_true)] if any(enough) else []) + (single if len(labels) > 2 else [])


def _right(way: Way, y_true: Truth, parts: Sequence[Part]) -> float:
    """Share of all rows, each held out once, that a way of guessing has right."""
    right = sum(int((way(y_true, part) == y_true[part[1]]).sum()) for part in parts)
    return right / sum(len(held) for _, held in parts)


def _guess(y_true: Truth, part: Part) -> NDArray[Any]:
    return np.full(len(part[1]), np.bincount(y_true[part[0]]).argmax())


def _lookup(codes: NDArray[np.int64], y_true: Truth, part: Part) -> NDArray[Any]:
    train, held = part
    counts = np.zeros((int(codes.max()) + 1, int(y_true.max()) + 1))
    np.add.at(counts, (codes[train], y_true[train]), 1)
    # A value that was never met gets the majority guess, and so does one whose classes are even.
    counts += np.bincount(y_true[train], minlength=counts.shape[1]) / (2 * len(train))
    return np.asarray(counts.argmax(axis=1)[codes[held]])


def _tree(numbers: NDArray[np.float64], y_true: Truth, part: Part) -> NDArray[Any]:
    from sklearn.tree import DecisionTreeClassifier

    train, held = part
    tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(numbers[train, None], y_true[train])
    return np.asarray(tree.predict(numbers[held, None]))


def _said(values: Sequence[str], y_true: Truth, part: Part) -> NDArray[Any]:
    train, held = part
    labels = Labels(tuple(str(i) for i in range(max(2, int(y_true.max()) + 1))))
    words = TfidfBaseline([values[i] for i in train.tolist()], y_true[train], labels)
    return np.asarray(words.logits([values[i] for i in held.tolist()]).argmax(axis=1))


def _numbers(values: Sequence[str]) -> NDArray[np.float64] | None:
    """The column as numbers, an empty field as one that is missing; None where a field is no number."""
    try:
        numbers = np.array([float(value) if value else np.nan for value in values])
    except ValueError:
        return None
    # A tree counts in single precision.
    return np.where(np.abs(numbers) < 3e38, numbers, np.nan)


def _is_chance(target: dict[str, Any], texts: int, tests: int) -> bool:
    """Whether as few errors as these may come by chance, in one of so many tests; rows of one text count once."""
    wrong, left = 1 - target["majority"], round((1 - target["accuracy"]) * texts)
    if not 0 < wrong < 1:
        return True
    logs = (
        math.lgamma(texts + 1) - math.lgamma(k + 1) - math.lgamma(texts - k + 1)
        + k * math.log(wrong) + (texts - k) * math.log(1 - wrong)
        for k in range(left + 1)
    )  # fmt: skip
    return math.fsum(map(math.exp, logs)) > CHANCE / tests


def _judge(
    metrics: dict[str, Any], roles: Roles, whole: dict[str, Any] | None, texts: int, tests: int
) -> Finding | None:
    name, in_text, words = metrics["column"], metrics["in_text"], metrics["free_text"]
    strong = [
        one for one in metrics["targets"]
        if one["errors_removed"] >= (ONE_CLASS if one["class"] else OVERALL) and not _is_chance(one, texts, tests)
    ]  # fmt: skip
    if words and not in_text and whole is None:
        return None  # nothing to hold it beside
    if words and not in_text and whole is not None:
        # A copy of the text tells what the text tells; only a column that tells far more knows the label.
        left = {one["class"]: 1 - one["errors_removed"] for one in whole["targets"]}
        strong = [one for one in strong if 1 - one["errors_removed"] < FAR_LESS * left.get(one["class"], 1) - 0.01]
    if not strong or roles.text == (name,):  # the only text column is there to predict the label
        return None
    best = next((one for one in strong if not one["class"]), max(strong, key=lambda one: one["errors_removed"]))
    what = f"tells the class {best['class']!r} from the rest" if best["class"] else "is right"
    kept = name in roles.group
    severity = "note" if name in roles.votes or (in_text and (words or kept)) else "warning"
    if name in roles.votes:
        advice = "The recipe reads it as votes, which is what it is for: let it never become part of the text."
    elif in_text:
        advice = "The model may read this column alone: compare with a model that reads the other columns only" + (
            "." if kept else ", and set split.group to it if new rows will have other values there."
        )
    else:
        advice = "It holds the label in another form (votes, a source, an order): let it never become part of the text."
    return make_finding(
        "telling-column", severity,
        f"Column {name!r} alone{', one of those the text is made of,' if in_text else ''} {what} on "
        f"{best['accuracy']:.1%} of held-out rows, where the majority guess is right on {best['majority']:.1%}: by "
        f"{best['by']} it takes away {best['errors_removed']:.0%} of the errors",
        count=1, advice=advice,
        details={"column": name, "strong": strong},
    )  # fmt: skip
