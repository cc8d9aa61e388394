"""Functional test suites: short cases that each test one functionality, as in HateCheck. A suite is a TOML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import InputError, RowError
from toxonnx.evaluate.metrics import wilson
from toxonnx.io.base import ReadOptions
from toxonnx.io.table import Table, read_table
from toxonnx.labels import Labels
from toxonnx.records import Rule, from_plain, read_toml
from toxonnx.resources import find_suite
from toxonnx.wording import plural

__all__ = [
    "Cases",
    "Functionality",
    "Suite",
    "SuiteAnswers",
    "SuiteReport",
    "SuiteRequest",
    "load_suite",
    "measure_answers",
    "read_cases",
    "read_suite_request",
]

_Text = Annotated[str, Rule("a text that is not empty", bool)]
_Count = Annotated[int, Rule("1 or more", lambda value: value > 0)]


@dataclass(frozen=True)
class Functionality:
    """A functionality that a suite tests.

    Attributes:
        id: its value in the functionality column of the cases.
        code: its number in the paper.
        group: the class of functionalities that it belongs to.
        description: short description of its cases.
        positive: whether their gold label is the positive one.
    """

    id: str
    code: str
    group: str
    description: str
    positive: bool


@dataclass(frozen=True)
class Suite:
    """A suite, as its TOML file defines it.

    Attributes:
        name: short name.
        title: display name.
        source: paper and licence.
        cases: number of cases in the complete suite.
        columns: ``text``, ``gold``, ``functionality``, ``group`` -> column of the file of cases; ``group`` is
            optional.
        positive, negative: the values of the gold column.
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
    """Cases of a suite.

    Attributes:
        texts: not normalised.
        gold: bool [cases], whether the gold label is the positive one.
        functionality: id of each case's functionality.
        group: the group that each case is about; empty for none.
        notes: notes for the report.
    """

    texts: list[str]
    gold: NDArray[np.bool_]
    functionality: list[str]
    group: list[str]
    notes: list[str]


@dataclass(frozen=True)
class SuiteRequest:
    """A suite to run.

    Attributes:
        suite: its definition.
        cases: its cases.
        positive_labels: sets of labels; the suite is evaluated once for each, with a prediction counting as positive
            if it contains one of the labels.
    """

    suite: Suite
    cases: Cases
    positive_labels: tuple[tuple[str, ...], ...]

    def check(self, labels: Labels, name: str = "the model") -> None:
        """Checks that a model has the positive labels.

        Raises:
            InputError: it does not, or none were given.
        """
        hint = f"Give them with --positive-labels; the labels are {', '.join(labels.names)}."
        if not self.positive_labels:
            raise InputError(f"it is unknown which labels of {name} correspond to {self.suite.positive!r}", hint)
        unknown = sorted(
            {label for labels_of_one in self.positive_labels for label in labels_of_one} - set(labels.names)
        )
        if unknown:
            raise InputError(f"{name} has no label {', '.join(unknown)}", hint)


@dataclass(frozen=True)
class _Columns:
    text: _Text
    gold: _Text
    functionality: _Text
    group: _Text = ""


@dataclass(frozen=True)
class _FunctionalityTable:
    id: _Text
    code: _Text
    group: _Text
    description: _Text
    gold: _Text


@dataclass(frozen=True)
class _SuiteFile:
    """The keys of a suite's file; see :class:`Suite`."""

    title: _Text
    source: _Text
    cases: _Count
    positive: _Text
    negative: _Text
    columns: _Columns
    functionality: tuple[_FunctionalityTable, ...]

    def __post_init__(self) -> None:
        values = (self.positive, self.negative)
        if self.positive == self.negative:
            raise InputError("positive and negative must differ")
        if not self.functionality:
            raise InputError("functionality must have at least one table")
        for number, one in enumerate(self.functionality):
            if one.gold not in values:
                raise InputError(f"functionality[{number}].gold must be one of {', '.join(values)}, got {one.gold!r}")
            if one.id in {other.id for other in self.functionality[:number]}:
                raise InputError(f"functionality[{number}].id {one.id!r} is that of another functionality")


def load_suite(name_or_path: str | Path) -> Suite:
    """Reads a suite's definition: a TOML file, or the name of one that ships.

    Raises:
        InputError: it does not exist, is not TOML, or a key is missing or unknown.
    """
    path = find_suite(name_or_path)
    table = read_toml(path)
    try:
        file = from_plain(_SuiteFile, table)
    except InputError as error:
        raise InputError(f"{path}: {error.what}", error.hint) from None
    functionalities = tuple(
        Functionality(one.id, one.code, one.group, one.description, positive=one.gold == file.positive)
        for one in file.functionality
    )
    columns = {kind: name for kind, name in asdict(file.columns).items() if name}
    return Suite(
        path.stem, file.title, file.source, file.cases, columns, file.positive, file.negative,
        functionalities,
    )  # fmt: skip


def read_cases(suite: Suite, path: Path, reading: ReadOptions | None = None) -> Cases:
    """Reads a file of cases.

    Raises:
        InputError: a column is missing, or there are no cases.
        RowError: the functionality of a case is not in the suite, or its gold label is not that of its functionality.
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
        count = plural(len(table), "case")
        notes.append(f"{count}, but the complete suite has {suite.cases:,}: not comparable with published results")
    absent = [one.code for one in suite.functionalities if one.id not in set(kinds)]
    if absent:
        notes.append(f"no cases of {', '.join(absent)}")
    groups = table.column(suite.columns["group"]) if "group" in suite.columns else [""] * len(table)
    gold_flags = np.array([known[kind].positive for kind in kinds])
    return Cases(table.column(suite.columns["text"]), gold_flags, kinds, groups, notes)


def read_suite_request(
    suite: str | None,
    cases: Path | None,
    positive_labels: Sequence[str],
    reading: ReadOptions | None = None,
) -> SuiteRequest | None:
    """The suite that a command line asks for: name, file of cases, sets of labels as ``LABEL,LABEL``; None for none.

    Raises:
        InputError: one was given without the others; or see :func:`load_suite` and :func:`read_cases`.
    """
    if suite is None and cases is None and not positive_labels:
        return None
    if suite is None or cases is None:
        raise InputError(
            "--suite, --cases and --positive-labels must be given together",
            "--suite hatecheck --cases FILE --positive-labels LABEL",
        )
    definition = load_suite(suite)
    label_sets = tuple(tuple(filter(None, (label.strip() for label in names.split(",")))) for names in positive_labels)
    if not all(label_sets):
        raise InputError("--positive-labels is empty", "Use --positive-labels LABEL, or LABEL,LABEL.")
    return SuiteRequest(definition, read_cases(definition, cases, reading), label_sets)


@dataclass(frozen=True)
class CaseAccuracy:
    """Accuracy on a set of cases, with Wilson's 95% interval, which treats the cases as independent."""

    cases: int
    correct: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class FunctionalityAccuracy:
    """Accuracy on the cases of one functionality; for its fields see :class:`Functionality` and
    :class:`CaseAccuracy`."""

    id: str
    code: str
    group: str
    description: str
    positive: bool
    cases: int
    correct: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class GroupAccuracy:
    """Accuracy on the cases about one group, by gold label; None if there are no such cases."""

    group: str
    positive: CaseAccuracy | None
    negative: CaseAccuracy | None


@dataclass(frozen=True, kw_only=True)
class SuiteAnswers:
    """The accuracy of one model, with one set of positive labels.

    Attributes:
        name: the model's name.
        positive_labels: labels that count as a positive prediction.
        all, positive, negative: accuracy on all cases, and by gold label; None if there are no such cases.
        functionalities: in the suite's order.
        groups: in alphabetical order.
    """

    name: str
    positive_labels: list[str]
    all: CaseAccuracy | None
    positive: CaseAccuracy | None
    negative: CaseAccuracy | None
    functionalities: list[FunctionalityAccuracy]
    groups: list[GroupAccuracy]


@dataclass(frozen=True, kw_only=True)
class SuiteReport:
    """The results of a functional suite; for the other fields see :class:`Suite`.

    Attributes:
        cases: cases that were scored.
        notes: notes on the cases and on cases seen in training.
        models: one entry per model and set of positive labels.
    """

    name: str
    title: str
    source: str
    positive: str
    negative: str
    cases: int
    notes: list[str]
    models: list[SuiteAnswers]


def measure_answers(
    suite: Suite, cases: Cases, predicted: NDArray[np.bool_], name: str, positive_labels: Sequence[str]
) -> SuiteAnswers:
    """Accuracy by functionality, gold label and group, and on all cases.

    Args:
        suite: the definition.
        cases: the cases.
        predicted: bool [cases], whether a model's prediction counts as positive.
        name: the model's name.
        positive_labels: the labels that count as positive.
    """
    correct = predicted == cases.gold
    # As objects: arrays of strings have the width of the longest one.
    functionality, group = np.array(cases.functionality, dtype=object), np.array(cases.group, dtype=object)

    def accuracy(rows: NDArray[np.bool_]) -> CaseAccuracy | None:
        total, right = int(rows.sum()), int((correct & rows).sum())
        return CaseAccuracy(total, right, right / total, *wilson(right / total, total)) if total else None

    functionalities = []
    for one in suite.functionalities:
        if measured := accuracy(functionality == one.id):
            functionalities.append(FunctionalityAccuracy(**asdict(one), **asdict(measured)))
    return SuiteAnswers(
        name=name,
        positive_labels=list(positive_labels),
        all=accuracy(np.ones(len(correct), dtype=np.bool_)),
        positive=accuracy(cases.gold),
        negative=accuracy(~cases.gold),
        functionalities=functionalities,
        groups=[
            GroupAccuracy(key, accuracy(cases.gold & (group == key)), accuracy(~cases.gold & (group == key)))
            for key in sorted(set(cases.group) - {""})
        ],
    )
