"""How well each column of a file, by itself, predicts the label: one that does so too well gives it away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.check.finding import Finding, found
from toxonnx.labels import Labels
from toxonnx.texts import fold
from toxonnx.train.baseline import baseline
from toxonnx.train.data import Examples

__all__ = ["Roles", "telling"]

#: share of the majority guess's errors that a column has to take away by itself to be named: over all classes, or in
#: telling one class from the rest
OVERALL, ONE_CLASS = 0.6, 0.8
#: errors that free text beside the text may leave, for one that the text itself leaves, to be named
FAR_LESS = 0.5
#: columns and rows looked at, at most
COLUMNS, ROWS = 60, 10_000
#: rows of a class under which telling it from the rest says nothing
SUPPORT = 20
#: parts that the rows are divided into; each is held out once
FOLDS = 5

Truth = NDArray[np.int64]
Part = tuple[NDArray[np.int64], NDArray[np.int64]]
Way = Callable[[Truth, Part], NDArray[Any]]


@dataclass(frozen=True)
class Roles:
    """What is known of a file's columns: those of the text, of the label, and of the votes that training reads."""

    text: tuple[str, ...]
    label: tuple[str, ...]
    votes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Target:
    """What is to be predicted: ``name`` is empty for all classes at once, else the class told from the rest."""

    name: str
    truth: Truth


def telling(
    columns: Mapping[str, Sequence[str]], examples: Examples, roles: Roles, seed: int, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[str], list[Finding]]:
    """Measures every column but the label's on held-out rows, rows of the same text on one side.

    Args:
        columns: name -> value of each row.
        examples: the rows, of two distinct texts at least.
        roles: what the columns are.
        seed: of the draw.
        say: takes words on progress.

    Returns:
        Figures of each column, the most telling first; what was left out, in words; findings.
    """
    names = [name for name in columns if name not in roles.label]
    left_out = []
    if len(names) > COLUMNS:
        left_out.append(f"{COLUMNS} of {len(names)} columns were tried alone, those of the text and the first others")
        names = [*roles.text, *(name for name in names if name not in roles.text)][:COLUMNS]
    rows = np.arange(len(examples))
    if len(examples) > ROWS:
        left_out.append(f"columns were tried alone on {ROWS:,} of {len(examples):,} rows, drawn at random")
        rows = np.sort(np.random.default_rng(seed).permutation(len(examples))[:ROWS])
        examples = examples.subset(rows)
    parts = _folds(examples, seed)
    targets = _targets(examples.truth, examples.labels)
    result = []
    for name in names:
        say(f"column by itself: {name}")
        figures = _figures([columns[name][i] for i in rows.tolist()], targets, parts)
        if figures is None:
            continue
        result.append({"column": name, "in_text": name in roles.text, **figures})
    whole = None
    if any(one["free_text"] and not one["in_text"] for one in result):
        say("the text itself")
        whole = _figures(examples.texts, targets, parts)
    judged = [_judge(one["column"], one, roles, whole) for one in result]
    findings = [one for one in judged if one is not None]
    result.sort(key=lambda one: -max(target["errors_removed"] for target in one["targets"]))
    return result, left_out, findings


def _folds(examples: Examples, seed: int) -> list[Part]:
    """Training and held-out rows, :data:`FOLDS` times, so that each row is held out once, with its text's others.

    A class with few texts is spread over the folds, and one with a single text stops nothing.
    """
    number: dict[str, int] = {}
    texts = np.array([number.setdefault(fold(text), len(number)) for text in examples.texts])
    _, first = np.unique(texts, return_index=True)
    order = np.random.default_rng(seed).permutation(len(number))
    kinds = np.unique(examples.truth[first], axis=0, return_inverse=True)[1].reshape(-1)
    order = order[np.argsort(kinds[order], kind="stable")]
    folds = min(FOLDS, len(number))
    of_text = np.empty(len(number), dtype=np.int64)
    of_text[order] = np.arange(len(number)) % folds
    of_row = of_text[texts]
    return [(np.flatnonzero(of_row != one), np.flatnonzero(of_row == one)) for one in range(folds)]


def _targets(truth: Truth, labels: Labels) -> list[_Target]:
    ones = truth if labels.multi else np.eye(len(labels), dtype=np.int64)[truth]
    single = [_Target(name, ones[:, i]) for i, name in enumerate(labels.names) if ones[:, i].sum() >= SUPPORT]
    # Of two classes, one told from the rest is both told apart.
    return single if labels.multi else [_Target("", truth), *(single if len(labels) > 2 else [])]


def _figures(values: Sequence[str], targets: Sequence[_Target], parts: Sequence[Part]) -> dict[str, Any] | None:
    folded = [fold(value) for value in values]
    distinct, codes = np.unique(folded, return_inverse=True)
    if len(distinct) < 2:
        return None
    numbers = _numbers(folded)
    # About twenty rows a value: each is met often enough to learn what goes with it.
    few = len(distinct) <= max(10, len(values) // 20)
    ways: dict[str, Way] = {}
    if few:
        ways["a lookup of its values"] = lambda truth, part: _lookup(codes, truth, part)
    if numbers is not None:
        ways["a small decision tree"] = lambda truth, part: _tree(numbers, truth, part)
    measured = []
    for target in targets:
        guess = _right(_guess, target.truth, parts)
        if ways:
            scores = {way: _right(said, target.truth, parts) for way, said in ways.items()}
        elif target.name and not targets[0].name:
            continue  # words are learnt once for all classes, not once more for each
        else:
            scores = {"TF-IDF and logistic regression": _words(values, target.truth, parts)}
        way = max(scores, key=lambda one: scores[one])
        removed = (scores[way] - guess) / (1 - guess) if guess < 1 else 0.0
        measured.append(
            {"class": target.name, "accuracy": scores[way], "majority": guess, "errors_removed": removed, "by": way}
        )
    return {"distinct": len(distinct), "free_text": not ways, "targets": measured} if measured else None


def _right(way: Way, truth: Truth, parts: Sequence[Part]) -> float:
    """Share of all rows, each held out once, that a way of guessing has right."""
    return sum(int((way(truth, part) == truth[part[1]]).sum()) for part in parts) / len(truth)


def _guess(truth: Truth, part: Part) -> NDArray[Any]:
    return np.full(len(part[1]), np.bincount(truth[part[0]]).argmax())


def _lookup(codes: NDArray[np.int64], truth: Truth, part: Part) -> NDArray[Any]:
    train, held = part
    counts = np.zeros((int(codes.max()) + 1, int(truth.max()) + 1))
    np.add.at(counts, (codes[train], truth[train]), 1)
    # A value that was never met gets the majority guess, and so does one whose classes are even.
    counts += np.bincount(truth[train], minlength=counts.shape[1]) / (2 * len(train))
    return np.asarray(counts.argmax(axis=1)[codes[held]])


def _tree(numbers: NDArray[np.float64], truth: Truth, part: Part) -> NDArray[Any]:
    from sklearn.tree import DecisionTreeClassifier

    train, held = part
    tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(numbers[train, None], truth[train])
    return np.asarray(tree.predict(numbers[held, None]))


def _words(values: Sequence[str], truth: Truth, parts: Sequence[Part]) -> float:
    labels = Labels(tuple(str(i) for i in range(max(2, int(truth.max()) + 1))))
    right = 0.0
    for train, held in parts:
        old, new = ([values[i] for i in rows] for rows in (train.tolist(), held.tolist()))
        right += baseline(old, truth[train], new, truth[held], labels)["accuracy"] * len(held)
    return right / len(truth)


def _numbers(values: Sequence[str]) -> NDArray[np.float64] | None:
    """The column as numbers, an empty field as one that is missing; None where a field is no number."""
    try:
        numbers = np.array([float(value) if value else np.nan for value in values])
    except ValueError:
        return None
    # A tree counts in single precision.
    return np.where(np.abs(numbers) < 3e38, numbers, np.nan) if len(values) else None


def _judge(name: str, figures: dict[str, Any], roles: Roles, whole: dict[str, Any] | None) -> Finding | None:
    in_text, words = name in roles.text, figures["free_text"]
    strong = [
        one for one in figures["targets"]
        if one["errors_removed"] >= (ONE_CLASS if one["class"] else OVERALL)
    ]  # fmt: skip
    if words and not in_text and whole is not None:
        # A copy of the text tells what the text tells; only a column that tells far more knows the label.
        left = {one["class"]: 1 - one["errors_removed"] for one in whole["targets"]}
        strong = [one for one in strong if 1 - one["errors_removed"] < FAR_LESS * left[one["class"]] - 0.01]
    if not strong or roles.text == (name,):  # the only text column is there to predict the label
        return None
    best = next((one for one in strong if not one["class"]), max(strong, key=lambda one: one["errors_removed"]))
    what = f"tells the class {best['class']!r} from the rest" if best["class"] else "is right"
    severity = "note" if name in roles.votes or (in_text and words) else "warning"
    if name in roles.votes:
        advice = "The recipe reads it as votes, which is what it is for: let it never become part of the text."
    elif in_text:
        advice = (
            "The model may read this column alone: compare with a model that reads the other columns only, and set "
            "split.group to it if new rows will have other values there."
        )
    else:
        advice = "It holds the label in another form (votes, a source, an order): let it never become part of the text."
    return found(
        "telling-column", severity,
        f"Column {name!r} alone{', one of those the text is made of,' if in_text else ''} {what} on "
        f"{best['accuracy']:.1%} of held-out rows, where the majority guess is right on {best['majority']:.1%}: by "
        f"{best['by']} it takes away {best['errors_removed']:.0%} of the errors",
        count=1, advice=advice,
        details={"column": name, "in_text": in_text, "distinct": figures["distinct"], "strong": strong},
    )  # fmt: skip
