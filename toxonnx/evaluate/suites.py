"""Functional suites: short cases that each test one ability, as in HateCheck. A TOML file defines a suite."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import InputError, RowError
from toxonnx.evaluate.metrics import wilson
from toxonnx.io.base import ReadOptions
from toxonnx.io.table import Table, read_table
from toxonnx.labels import Labels
from toxonnx.resources import find_suite

__all__ = [
    "Cases",
    "Functionality",
    "Questions",
    "Suite",
    "load_suite",
    "read_cases",
    "read_questions",
    "suite_figures",
]

COLUMNS = ("text", "gold", "functionality", "group")
TEXTS = ("title", "source", "positive", "negative")
ABOUT = ("id", "code", "group", "about")


@dataclass(frozen=True)
class Functionality:
    """One ability: its id in the file, its code in the paper, the class it belongs to, what its cases are, and whether
    they are positive."""

    id: str
    code: str
    group: str
    about: str
    positive: bool


@dataclass(frozen=True)
class Suite:
    """What a suite of cases is, as its TOML file defines it.

    Attributes:
        name: short name.
        title: name to show.
        source: paper and licence.
        cases: how many the whole suite has.
        columns: ``text``, ``gold``, ``functionality``, ``group`` -> column of the file; ``group`` may be missing.
        positive, negative: what the gold column says.
        functionalities: in the paper's order.
    """

    name: str
    title: str
    source: str
    cases: int
    columns: dict[str, str]
    positive: str
    negative: str
    functionalities: tuple[Functionality, ...]


@dataclass(frozen=True)
class Cases:
    """Cases of a suite: texts as they stand in the file, bool [cases] what is true, functionality and group of each."""

    texts: list[str]
    gold: NDArray[np.bool_]
    functionality: list[str]
    group: list[str]
    notes: list[str]


@dataclass(frozen=True)
class Questions:
    """A suite, its cases, and the sets of labels that are taken for a positive answer, one reading after another."""

    suite: Suite
    cases: Cases
    positives: tuple[tuple[str, ...], ...]

    def check(self, labels: Labels, name: str = "the model") -> None:
        """Raises InputError unless these labels can answer."""
        hint = f"Name them with --positive-labels, out of: {', '.join(labels.names)}."
        if not self.positives:
            raise InputError(f"it is not known which labels of {name} mean {self.suite.positive!r}", hint)
        unknown = sorted({label for one in self.positives for label in one} - set(labels.names))
        if unknown:
            raise InputError(f"{name} has no label {', '.join(unknown)}", hint)


def load_suite(name_or_path: str | Path) -> Suite:
    """Reads a suite's definition: a TOML file, or the name of one that ships.

    Raises:
        InputError: not found, no TOML, a key that is missing or unknown.
    """
    path = find_suite(name_or_path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    return _suite(table, path)


def _suite(table: dict[str, Any], path: Path) -> Suite:
    """The definition, every key of it checked."""

    def value(part: dict[str, Any], key: str, kind: type, where: str) -> Any:
        if key not in part:
            raise InputError(f"{path}: {where}{key} is missing")
        if not isinstance(part[key], kind) or isinstance(part[key], bool) or part[key] in ("", 0):
            wanted = {str: "a text", int: "a number", dict: "a table", list: "a list of tables"}[kind]
            raise InputError(f"{path}: {where}{key} = {part[key]!r} has to be {wanted}")
        return part[key]

    def check_keys(part: dict[str, Any], keys: Sequence[str], where: str) -> None:
        unknown = sorted(set(part) - set(keys))
        if unknown:
            raise InputError(f"{path}: unknown key {where}{unknown[0]}", f"Known here: {', '.join(keys)}.")

    check_keys(table, (*TEXTS, "cases", "columns", "functionality"), "")
    title, source, positive, negative = (value(table, key, str, "") for key in TEXTS)
    columns = value(table, "columns", dict, "")
    check_keys(columns, COLUMNS, "columns.")
    for key in (*COLUMNS[:3], *(key for key in columns if key == COLUMNS[3])):
        value(columns, key, str, "columns.")
    found = []
    for number, part in enumerate(value(table, "functionality", list, ""), start=1):
        where = f"functionality {number}: "
        check_keys(part, (*ABOUT, "gold"), where)
        gold = value(part, "gold", str, where)
        if gold not in (positive, negative):
            raise InputError(f"{path}: {where}gold = {gold!r} is neither {positive!r} nor {negative!r}")
        about = {key: value(part, key, str, where) for key in ABOUT}
        found.append(Functionality(**about, positive=gold == positive))
    if positive == negative or len({one.id for one in found}) != len(found):
        raise InputError(f"{path}: positive and negative, and the ids of functionalities, have to differ")
    cases = value(table, "cases", int, "")
    return Suite(path.stem, title, source, cases, columns, positive, negative, tuple(found))


def read_cases(suite: Suite, path: Path, reading: ReadOptions | None = None) -> Cases:
    """Reads a file of cases.

    Raises:
        InputError: a column is missing, or there are no cases.
        RowError: a case whose functionality the suite does not know, or whose gold label is not that of its kind.
    """
    table: Table = read_table(path, reading, columns=tuple(suite.columns.values()))
    known = {one.id: one for one in suite.functionalities}
    kinds = table.column(suite.columns["functionality"])
    golds = table.column(suite.columns["gold"])
    for line, kind, gold in zip(table.lines, kinds, golds, strict=True):
        if kind not in known:
            raise RowError(path, line, f"functionality {kind!r} is not in {suite.title}")
        if gold != (suite.positive if known[kind].positive else suite.negative):
            raise RowError(path, line, f"a case of {kind!r} is labelled {gold!r}")
    if not len(table):
        raise InputError(f"{path} has no cases")
    notes = []
    if len(table) != suite.cases:
        notes.append(
            f"{len(table):,} cases, the whole suite has {suite.cases:,}: not comparable with published metrics"
        )
    absent = [one.code for one in suite.functionalities if one.id not in set(kinds)]
    if absent:
        notes.append(f"no cases of {', '.join(absent)}")
    groups = table.column(suite.columns["group"]) if "group" in suite.columns else [""] * len(table)
    gold_flags = np.array([known[kind].positive for kind in kinds])
    return Cases(table.column(suite.columns["text"]), gold_flags, kinds, groups, notes)


def read_questions(
    suite: str | None,
    cases: Path | None,
    positive: Sequence[str],
    reading: ReadOptions | None = None,
) -> Questions | None:
    """What a command line asks for: a suite's name, the file of its cases, readings as ``LABEL,LABEL``; None for none.

    Raises:
        InputError: one was given without the other; or see :func:`load_suite` and :func:`read_cases`.
    """
    if suite is None and cases is None and not positive:
        return None
    if suite is None or cases is None:
        raise InputError(
            "--suite, --cases and --positive-labels go together",
            "--suite hatecheck --cases FILE --positive-labels LABEL",
        )
    definition = load_suite(suite)
    readings = tuple(tuple(filter(None, (label.strip() for label in one.split(",")))) for one in positive)
    if not all(readings):
        raise InputError("--positive-labels names no label", "Say --positive-labels LABEL, or LABEL,LABEL.")
    return Questions(definition, read_cases(definition, cases, reading), readings)


def suite_figures(suite: Suite, cases: Cases, predicted: NDArray[np.bool_]) -> dict[str, Any]:
    """Accuracy on each functionality, class, group, and over all.

    Args:
        suite: the definition.
        cases: what was asked.
        predicted: bool [cases], what a model answered.

    Returns:
        Shares as ``{"cases", "right", "accuracy", "low", "high"}``, low and high being Wilson's 95% interval, as if no
        case were like another: ``all``,
        ``positive``, ``negative``; ``functionalities``, a list in the suite's order; ``groups``, a list of
        ``{"group", "positive", "negative"}``, a side without cases being None.
    """
    right = predicted == cases.gold

    def share(rows: NDArray[np.bool_]) -> dict[str, Any] | None:
        total, good = int(rows.sum()), int((right & rows).sum())
        if not total:
            return None
        low, high = wilson(good / total, total)
        return {"cases": total, "right": good, "accuracy": good / total, "low": low, "high": high}

    kinds, groups = np.array(cases.functionality), np.array(cases.group)
    functionalities = []
    for one in suite.functionalities:
        if measured := share(kinds == one.id):
            about = {"id": one.id, "code": one.code, "class": one.group, "about": one.about, "positive": one.positive}
            functionalities.append({**about, **measured})
    sides = {"positive": cases.gold, "negative": ~cases.gold}
    return {
        "all": share(np.ones(len(right), dtype=np.bool_)),
        **{side: share(rows) for side, rows in sides.items()},
        "functionalities": functionalities,
        "groups": [
            {"group": name, **{side: share(rows & (groups == name)) for side, rows in sides.items()}}
            for name in sorted(set(cases.group) - {""})
        ],
    }
