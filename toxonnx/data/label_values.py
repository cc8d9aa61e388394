"""Cells of label columns: classes, 0 and 1 in their spellings, numbers with a threshold, and missing labels."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MISSING",
    "UNKNOWN",
    "class_names",
    "is_missing",
    "look_like_scores",
    "quote",
    "read_classes",
    "read_flags",
    "read_number",
    "reads_decimals",
    "whole_number",
]

#: in place of the number of a label
UNKNOWN, MISSING = -1, -2
#: what pandas, R, SQL and spreadsheets write for a missing value. "none" is a common name of a class.
_MISSING_WORDS = frozenset({"", "nan", "-nan", "na", "n/a", "#n/a", "#na", "<na>", "nat", "null", "\\n"})
_FLAGS = {"0": 0, "1": 1, "false": 0, "true": 1, "no": 0, "yes": 1}
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WHOLE_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
#: a classifier rarely has more classes whose names are numbers
_MANY_NUMBERS = 20
#: a longer value in a label column is probably a text
_LABEL_CHARACTERS, _LABEL_WORDS = 30, 2


def quote(value: str) -> str:
    """A value of a label column for a message, or only its length if it may be a text in the wrong column."""
    short = len(value) <= _LABEL_CHARACTERS and len(value.split()) <= _LABEL_WORDS
    return repr(value) if short else f"a value of {len(value)} characters"


def whole_number(value: str) -> str:
    """``1`` for ``1.0``, which pandas makes of a column of integers with gaps; other values unchanged."""
    found = _WHOLE_NUMBER.fullmatch(value)
    return found[1] if found else value


def reads_decimals(values: Iterable[str], names: Iterable[str] = ()) -> bool:
    """Whether some values that are not in ``names`` are whole numbers with decimals, which are read as integers."""
    return any(whole_number(value) != value for value in set(map(str.strip, values)).difference(names))


def read_number(value: str) -> float:
    """The value as a number; NaN if it is not a number, or not finite."""
    number = float(value) if _NUMBER.fullmatch(value) else math.nan
    return number if math.isfinite(number) else math.nan


def is_missing(value: str) -> bool:
    """Whether a value, stripped of white space, stands for a missing label."""
    return value.casefold() in _MISSING_WORDS


def class_names(values: Iterable[str], threshold: float | None = None) -> dict[str, str]:
    """The classes of a label column: value -> label name, in the model's order.

    If all are numbers, they are sorted by value, else as text. Missing labels are not a class.

    Args:
        values: of the column.
        threshold: see :class:`toxonnx.recipe.LabelSpec`.
    """
    if threshold is not None:
        return {"0": "0", "1": "1"}
    found = sorted({whole_number(value) for value in map(str.strip, values) if not is_missing(value)})
    if not any(math.isnan(read_number(value)) for value in found):
        found.sort(key=read_number)
    return {value: value for value in found}


def look_like_scores(values: Iterable[str]) -> bool:
    """Whether the values of a label column are scores, such as a share of annotators, rather than classes.

    All have to be numbers, with two of three: fractions, many distinct values, and values that occur only once.
    """
    counts = Counter(value for value in map(str.strip, values) if not is_missing(value))
    numbers = [read_number(value) for value in counts]
    if len(counts) < 3 or any(map(math.isnan, numbers)):
        return False
    fractions = not all(number.is_integer() for number in numbers)
    return fractions + (len(counts) > _MANY_NUMBERS) + (min(counts.values()) == 1) >= 2


def read_classes(
    values: Sequence[str], names: Mapping[str, str], threshold: float | None = None, order: Sequence[str] = ()
) -> NDArray[np.int64]:
    """Reads a column that contains a class.

    Args:
        values: of the column.
        names: value -> label name; with a threshold, the names of 0 and 1.
        threshold: see :class:`toxonnx.recipe.LabelSpec`.
        order: the label names in the model's order; by default the distinct ones of ``names``.

    Returns:
        int64 [rows], the number of each row's label in ``order``, :data:`UNKNOWN` or :data:`MISSING`.
    """
    numbers = {name: number for number, name in enumerate(order or dict.fromkeys(names.values()))}
    table = {whole_number(value): numbers[name] for value, name in names.items()}
    table |= {value: numbers[name] for value, name in names.items()}

    def number_of(value: str) -> int:
        if threshold is not None:
            score = read_number(value)
            if not math.isnan(score):
                return table["1" if score >= threshold else "0"]
        elif (number := table.get(value, table.get(whole_number(value)))) is not None:
            return number
        return MISSING if is_missing(value) else UNKNOWN

    return _read(values, number_of)


def read_flags(values: Sequence[str], threshold: float | None = None) -> NDArray[np.int64]:
    """Reads a column of 0 and 1, also written as false and true, no and yes, or 0.0 and 1.0, in any case.

    Args:
        values: of the column.
        threshold: see :class:`toxonnx.recipe.LabelSpec`.

    Returns:
        int64 [rows] of 0, 1, :data:`UNKNOWN` or :data:`MISSING`.
    """

    def flag_of(value: str) -> int:
        if threshold is None:
            flag = _FLAGS.get(whole_number(value).casefold())
        else:
            score = read_number(value)
            flag = None if math.isnan(score) else int(score >= threshold)
        return flag if flag is not None else MISSING if is_missing(value) else UNKNOWN

    return _read(values, flag_of)


def _read(values: Sequence[str], number_of: Callable[[str], int]) -> NDArray[np.int64]:
    stripped = [value.strip() for value in values]
    numbers = {value: number_of(value) for value in set(stripped)}
    return np.array([numbers[value] for value in stripped], dtype=np.int64)
