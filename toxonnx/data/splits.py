"""Splits of labelled rows in which identical texts stay on one side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.data.examples import Examples
from toxonnx.data.label_values import quote
from toxonnx.errors import InputError
from toxonnx.recipe import Split as SplitSpec
from toxonnx.texts import fold
from toxonnx.wording import plural

__all__ = ["SplitRows", "split"]


@dataclass(frozen=True)
class SplitRows:
    """The rows of a split.

    Attributes:
        train, validation, test: row indices, int64.
        duplicates: rows that repeat the text or group of an earlier row.
        leaked: held-out rows that would have a duplicate in the training rows in a random split.
        leaking: held-out rows that do have one; 0 unless a random split was requested.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    duplicates: int
    leaked: int
    leaking: int

    def held_out(self) -> list[tuple[str, NDArray[np.int64]]]:
        """The parts that are not for training, and their rows."""
        return [("validation", self.validation), ("test", self.test)]

    def to_dict(self) -> dict[str, int]:
        """Numbers of rows."""
        return {
            "train": len(self.train), "validation": len(self.validation), "test": len(self.test),
            "duplicate_rows": self.duplicates, "would_leak_in_a_random_split": self.leaked, "leaking": self.leaking,
        }  # fmt: skip


def split(examples: Examples, spec: SplitSpec, where: str) -> SplitRows:
    """Draws validation and test rows, stratified by label, with identical texts on one side.

    Texts are identical if they differ only in white space and case, after the recipe's normalisation. Rows with equal
    values in the recipe's group columns stay together, too.

    Args:
        examples: the rows.
        spec: shares, seed, groups and method.
        where: the file, for messages.

    Raises:
        InputError: a class has too few distinct texts to be on every side.
    """
    together = _together(examples)
    groups: dict[int, list[int]] = {}
    for i, root in enumerate(together):
        groups.setdefault(root, []).append(i)
    single = [[i] for i in range(len(examples))]
    random = _draw(examples, single, spec, where)
    drawn = random if spec.method == "random" else _draw(examples, list(groups.values()), spec, where)

    def leaks(parts: tuple[NDArray[np.int64], ...]) -> int:
        train = {together[i] for i in parts[0]}
        return sum(together[i] in train for part in parts[1:] for i in part)

    return SplitRows(*drawn, len(examples) - len(groups), leaks(random), leaks(drawn))


def _together(examples: Examples) -> list[int]:
    """For each row, the first row that it has to stay with: by equal text, equal group, or a chain of both."""
    root = list(range(len(examples)))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for keys in ([fold(text) for text in examples.texts], examples.groups):
        first: dict[str, int] = {}
        for i, key in enumerate(keys):
            a, b = find(first.setdefault(key, i)), find(i)
            root[max(a, b)] = min(a, b)
    return [find(i) for i in range(len(examples))]


def _strata(examples: Examples, groups: Sequence[list[int]], needed: int, where: str) -> dict[Any, list[list[int]]]:
    """Strata: groups of rows with one label (for multi-label: one combination of labels).

    Rare combinations, and groups of rows with different labels, are pooled in one stratum.
    """
    strata: dict[Any, list[list[int]]] = {}
    pooled: list[list[int]] = []
    for group in groups:
        label = examples.y_true[group[0]]
        if label.ndim:
            strata.setdefault(tuple(label.tolist()), []).append(group)
        elif examples.groups and len(set(examples.y_true[group].tolist())) > 1:
            pooled.append(group)
        else:
            strata.setdefault(int(label), []).append(group)
    if examples.labels.multi:
        pooled = [group for key in [*strata] if len(strata[key]) < needed for group in strata.pop(key)]
    else:
        pooled_labels = [set(examples.y_true[group].tolist()) for group in pooled]
        for number, name in enumerate(examples.labels.names):
            own = strata.get(number, [])
            count = len(own) + sum(number in labels for labels in pooled_labels)
            if 0 < count < needed:
                lines = ", ".join(str(examples.lines[group[0]]) for group in own)
                what = "group" if examples.groups else "text"
                raise InputError(
                    f"{where}: class {quote(name)} has {plural(count, f'distinct {what}')}"
                    f"{f' (line {lines})' if lines else ''}, the split needs {needed}",
                    "Add rows of this class, remove it, or use a separate validation file.",
                )
            if len(own) < needed:
                pooled += strata.pop(number, [])
    return {**strata, "": pooled} if pooled else strata


def _draw(
    examples: Examples, groups: Sequence[list[int]], spec: SplitSpec, where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(spec.seed)
    shares = {1: spec.validation, 2: spec.test}
    needed = 1 + sum(share > 0 for share in shares.values())
    strata = _strata(examples, groups, needed, where)
    parts: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for key in sorted(strata, key=str):
        members = strata[key]
        order = [members[i] for i in rng.permutation(len(members))]
        total = sum(map(len, order))
        for part, share in shares.items():
            taken = 0
            still = needed - 1 if part == 1 else 1  # groups to leave for the following parts
            while share and len(order) > still and (taken == 0 or taken + len(order[-1]) / 2 <= share * total):
                group = order.pop()
                parts[part] += group
                taken += len(group)
        parts[0] += [i for group in order for i in group]
    result = [np.sort(np.array(parts[part], dtype=np.int64)) for part in (0, 1, 2)]
    if not examples.labels.multi:
        absent = set(examples.y_true.tolist()) - set(examples.y_true[result[0]].tolist())
        if absent:
            names = ", ".join(repr(examples.labels.names[number]) for number in sorted(absent))
            raise InputError(
                f"{where}: no row of {names} is left for training", "Use another split.seed, or hold out fewer rows."
            )
    return result[0], result[1], result[2]
