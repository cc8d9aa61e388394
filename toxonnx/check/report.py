"""The whole check: reads a file, asks every part, and puts what they say together as plain values."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.check.classes import (
    Classes,
    class_findings,
    class_shifts,
    count_classes,
    lone_labels,
    read_classes,
)
from toxonnx.check.columns import Wanted, read
from toxonnx.check.duplicates import near, near_findings, repeat_findings, repeats
from toxonnx.check.finding import SEVERITIES, Finding, format_share, listing, make_finding
from toxonnx.check.leaky_columns import Roles, telling
from toxonnx.check.merged_rows import swallowed
from toxonnx.check.raw_table import Sheet
from toxonnx.check.splits import (
    GroupBy,
    leak,
    measure,
    random_draws,
    refused,
    split_findings,
    without_lone_texts,
)
from toxonnx.check.text_quality import lengths, text_findings
from toxonnx.check.validation_file import beside, compare
from toxonnx.data.examples import Examples
from toxonnx.data.splits import SplitRows
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.recipe import Recipe
from toxonnx.texts import fold

__all__ = ["check"]

Say = Callable[[str], None]


@dataclass
class _Report:
    """What was found so far."""

    values: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)

    def left_out(self, *lines: str) -> None:
        self.values["left_out"] += lines

    @contextlib.contextmanager
    def enough_memory(self, what: str) -> Iterator[None]:
        """Leaves out what memory does not reach for, and says so."""
        try:
            yield
        except MemoryError:
            self.left_out(f"{what}: there is not enough memory")

    def done(self, seconds: float) -> dict[str, Any]:
        self.findings.sort(key=lambda one: SEVERITIES.index(one.severity))
        severities = Counter(one.severity for one in self.findings)
        self.values["findings"] = [one.to_dict() for one in self.findings]
        self.values["counts"] = {severity: severities[severity] for severity in SEVERITIES}
        return {**self.values, "seconds": round(seconds, 2)}


@dataclass(frozen=True)
class _Rows:
    """A file's rows that training would take, and the texts of all.

    ``texts`` and ``lines`` are of the rows with a text, labelled or not; the others of those that have a known label
    too. ``keys`` are the same for rows of the same text.
    """

    sheet: Sheet
    classes: Classes
    texts: list[str]
    lines: list[int]
    at: NDArray[np.int64]
    used: list[str]
    keys: list[str]
    plan: Recipe
    findings: list[Finding]

    @property
    def used_lines(self) -> list[int]:
        return [self.sheet.table.lines[i] for i in self.at.tolist()]

    @property
    def labels(self) -> list[Any]:
        """The label of each row, comparable."""
        return [tuple(row) if self.plan.multi else row for row in self.classes.y_true[self.at].tolist()]

    def column(self, name: str) -> list[str]:
        values = self.sheet.table.columns[name]
        return [values[i] for i in self.at.tolist()]

    def together(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """What each row has in some columns, as training compares it."""
        return tuple("\0".join(map(fold, row)) for row in zip(*map(self.column, columns), strict=True))

    def examples(self) -> Examples | None:
        """The rows as training takes them; None for a single class."""
        labels = self.classes.labels
        if labels is None or not len(self.at):
            return None
        return Examples(self.used, self.classes.y_true[self.at], self.used_lines, labels, self.plan.text)


def check(wanted: Wanted, tokenizer: Tokenizer, owner: str, log: Say) -> dict[str, Any]:
    """Checks a labelled file.

    Args:
        wanted: what to check.
        tokenizer: one that does not cut.
        owner: whose tokenizer it is.
        log: takes words on progress.

    Returns:
        The report, plain values; it holds label names, column names and line numbers, and no text of a row.

    Raises:
        InputError: a file cannot be read as a table, or a column is not there.
    """
    started = time.monotonic()
    log(f"reading {wanted.data.name}")
    sheet, other, plan = read(wanted)
    log("labels and texts")
    rows = _usable(sheet, plan)
    report = _Report(_start(wanted, rows))
    counts = report.values["classes"]
    needed = 1 if other else 1 + (plan.split.validation > 0) + (plan.split.test > 0)
    report.findings += rows.findings + class_findings(
        counts, rows.classes.members(rows.at), rows.used_lines, multi=plan.multi, needed=needed
    )
    report.findings += _other_labels(rows, wanted)
    if rows.texts:
        log("tokens")
        report.values["tokens"], said = lengths(rows.texts, rows.lines, tokenizer, plan.max_length, owner)
        report.findings += said
    if not len(rows.at):
        report.left_out("all that compares rows: there are none with a text and a known label")
        return report.done(time.monotonic() - started)
    _measure(rows, wanted, report, log, needed=needed)
    if other is not None:
        _validation(rows, _usable(other, plan, rows.classes), wanted, report, log)
    return report.done(time.monotonic() - started)


def _start(wanted: Wanted, rows: _Rows) -> dict[str, Any]:
    sheet, plan = rows.sheet, rows.plan
    return {
        "file": wanted.data.name,
        "rows": sheet.rows,
        "usable_rows": len(rows.at),
        "blank_lines": sheet.blank,
        "columns": list(sheet.names.values()),
        "recipe": plan.name,
        "text_columns": [sheet.names[name] for name in plan.text.columns],
        "normalise": list(plan.text.normalise),
        "label_columns": [sheet.names[name] for name in plan.labels.columns or (plan.labels.column,)],
        "multi_label": plan.multi,
        "held_out_share": plan.split.validation + plan.split.test,
        "seed": plan.split.seed,
        "classes": count_classes(rows.classes, rows.keys, rows.at),
        "distinct_texts": len(set(rows.keys)),
        "tokens": None,
        "duplicates": None,
        "near_duplicates": None,
        "columns_alone": [],
        "baselines": [],
        "validation": None,
        "left_out": [],
    }


def _usable(sheet: Sheet, plan: Recipe, data: Classes | None = None) -> _Rows:
    classes, said = read_classes(sheet, plan.labels, data)
    rendered = [plan.text.render(row) for row in zip(*map(sheet.column, plan.text.columns), strict=True)]
    lines, file = sheet.table.lines, sheet.file
    filled = [i for i, text in enumerate(rendered) if text.strip()]
    findings = [*sheet.findings(), *swallowed(sheet, plan.labels, classes), *said]
    empty = [line for line, text in zip(lines, rendered, strict=True) if not text.strip()]
    if empty:
        findings.append(
            make_finding(
                "empty-texts", "warning", f"{format_share(len(empty), len(rendered))} have no text after normalisation",
                empty, file=file, advice="Take them out; training leaves them out as well.",
            )
        )  # fmt: skip
    # What did not decode was said already, and is U+FFFD by now.
    broken = set(sheet.undecodable)
    sound = [i for i in filled if lines[i] not in broken]
    if sound:
        texts, of_texts = [rendered[i] for i in sound], [lines[i] for i in sound]
        findings += text_findings(texts, of_texts, has_html="html" in plan.text.normalise, file=file)
    at = [i for i in filled if classes.known[i]]
    # Two texts of which something was lost may have been different ones.
    keys = [f"\0{file}{lines[i]}" if lines[i] in broken else fold(rendered[i]) for i in at]
    return _Rows(
        sheet, classes, [rendered[i] for i in filled], [lines[i] for i in filled], np.array(at, dtype=np.int64),
        [rendered[i] for i in at], keys, plan, findings,
    )  # fmt: skip


def _other_labels(rows: _Rows, wanted: Wanted) -> list[Finding]:
    """Columns of 0 and 1 beside the label, where nobody said that they are none."""
    sheet, plan = rows.sheet, rows.plan
    if wanted.recipe or plan.multi or not rows.classes.sure or not rows.classes.sure <= {"0", "1"}:
        return []
    names = [
        sheet.names[name] for name, values in sheet.table.columns.items()
        if name not in (*plan.text.columns, plan.labels.column) and {value.strip() for value in values} == {"0", "1"}
    ]  # fmt: skip
    if not names:
        return []
    what = f"{listing([repr(name) for name in names])} {'holds' if len(names) == 1 else 'hold'}"
    return [
        make_finding(
            "other-labels", "note", f"Of the columns beside the label, {what} 0 and 1 as well", count=len(names),
            advice="If a text may have several labels, name every one of them with --label-column.",
        )
    ]  # fmt: skip


def _measure(rows: _Rows, wanted: Wanted, report: _Report, log: Say, *, needed: int) -> None:
    """What needs rows that are compared: twins, splits, and columns by themselves."""
    plan, examples = rows.plan, rows.examples()
    groups: Sequence[GroupBy] = _groups(rows)
    ground, random = None, list[SplitRows]()
    if examples is None:
        report.left_out("baselines and columns by themselves: there are no rows of two classes")
    else:
        few = any(one.kind == "few-texts" and one.severity == "error" for one in report.findings)
        if needed > 1 and not few:
            report.findings += refused(examples, plan.split, groups[0].values if plan.split.group else ())
        ground, groups, said = without_lone_texts(examples, groups)
        report.left_out(*said)
        random = random_draws(ground, plan.split)
    with report.enough_memory("duplicates"):
        _twins(rows, leak(random), report, log)
    if not wanted.with_baseline:
        report.left_out("baselines and columns by themselves, as asked (--no-baseline)")
    elif examples is not None and ground is not None:
        with report.enough_memory("baselines"):
            report.values["baselines"], said = measure(ground, plan.split, groups, random, log)
            report.left_out(*said)
            grouped = plan.split.method == "grouped"
            report.findings += split_findings(report.values["baselines"], groups, grouped=grouped)
        with report.enough_memory("columns by themselves"):
            _columns(rows, examples, report, log)


def _groups(rows: _Rows) -> list[GroupBy]:
    """The plan's group, or each of several text columns, to be tried."""
    plan, names = rows.plan, rows.sheet.names
    if plan.split.group:
        shown = tuple(names[name] for name in plan.split.group)
        return [GroupBy(shown, rows.together(plan.split.group), kept=True)]
    if len(plan.text.columns) < 2:
        return []
    tried = []
    for name in plan.text.columns:
        # Nothing in a column is nothing that rows share.
        values = tuple(value or f"\0{i}" for i, value in enumerate(rows.together((name,))))
        tried.append(GroupBy((names[name],), values, kept=False))
    return tried


def _twins(rows: _Rows, leaks: tuple[int, int] | None, report: _Report, log: Say) -> None:
    plan, lines, labels = rows.plan, rows.used_lines, rows.labels
    log("duplicates")
    columns = [rows.column(name) for name in rows.sheet.table.columns]
    same = repeats(rows.keys, labels, list(zip(*columns, strict=True)))
    log("near duplicates")
    distinct = list(dict.fromkeys(rows.keys))
    twins = near(distinct, seed=plan.split.seed)
    report.values["duplicates"] = {
        "rows": len(same.rows), "groups": same.groups, "same_text_and_label": same.same_label,
        "identical_rows": same.identical, "conflicting_texts": same.conflict_texts, "best_accuracy": same.ceiling,
        "held_out_rows": leaks and leaks[0], "would_leak": leaks and leaks[1],
    }  # fmt: skip
    report.values["near_duplicates"] = {
        "pairs": len(twins.pairs), "compared": twins.compared, "too_short": twins.short, "bounded": twins.bounded,
    }  # fmt: skip
    if twins.bounded:
        report.left_out(f"near duplicates: {twins.bounded}")
    grouped = plan.split.method == "grouped"
    together = rows.together(plan.split.group) if plan.split.group and grouped else ()
    report.findings += repeat_findings(same, lines, leaks, kept=grouped)
    report.findings += near_findings(twins, distinct, rows.keys, labels, lines, together)
    blank = [line for line, value in zip(lines, together, strict=False) if not value.strip("\0")]
    if len(blank) > 1:
        report.findings.append(
            make_finding(
                "blank-groups", "warning",
                f"{format_share(len(blank), len(lines))} have nothing in the columns of the group, and stay together as one",
                blank, advice="Give each of these rows a value of its own there.",
            )
        )  # fmt: skip


def _columns(rows: _Rows, examples: Examples, report: _Report, log: Say) -> None:
    plan, names = rows.plan, rows.sheet.names

    def shown(columns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names[name] for name in columns)

    roles = Roles(
        shown(plan.text.columns), tuple(report.values["label_columns"]), shown(tuple(plan.labels.votes.values())),
        shown(plan.split.group),
    )  # fmt: skip
    columns = {names[name]: rows.column(name) for name in rows.sheet.table.columns}
    report.values["columns_alone"], left_out, findings = telling(columns, examples, roles, plan.split.seed, log)
    report.left_out(*left_out)
    report.findings += findings


def _validation(rows: _Rows, held: _Rows, wanted: Wanted, report: _Report, log: Say) -> None:
    file, plan = held.sheet.file, rows.plan
    report.findings += held.findings
    if not len(held.at):
        report.left_out(f"{file} beside the data: it has no row with a text and a known label")
        return
    counts, counted = report.values["classes"], count_classes(held.classes, held.keys, held.at)
    members = held.classes.members(held.at)
    report.findings += class_findings(counted, members, held.used_lines, multi=plan.multi, needed=1, file=file)
    places = [
        [[one.used_lines[i] for i in some] for some in one.classes.members(one.at)] for one in (rows, held)
    ]  # fmt: skip
    report.findings += lone_labels(counts, counted, (places[0], places[1]), file)
    report.findings += class_shifts(counts, counted, file)
    log("near duplicates between the files")
    result, seen, said = beside(rows.keys, held.keys, held.used_lines, file)
    report.values["validation"] = {**result, "classes": counted}
    report.findings += said
    data, other = rows.examples(), held.examples()
    if wanted.with_baseline and data is not None and other is not None:
        with report.enough_memory(f"the baseline of {file}"):
            baselines, left_out = compare(data, other, seen, file, plan.split.seed, log)
            report.values["validation"]["baselines"] = baselines
            report.left_out(*left_out)
