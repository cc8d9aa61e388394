"""The whole check: reads a file, asks every part, and puts what they say together as plain values."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.check.classes import Classes, class_findings, count_classes, read_classes
from toxonnx.check.finding import SEVERITIES, Finding, found, plural
from toxonnx.check.sheet import Sheet, choose, read_sheet
from toxonnx.check.splits import GroupBy, measure, split_findings
from toxonnx.check.telling import Roles, telling
from toxonnx.check.twins import near, near_findings, repeat_findings, repeats
from toxonnx.check.versus import beside, class_shifts, lone_labels
from toxonnx.check.wording import lengths, text_findings
from toxonnx.errors import InputError
from toxonnx.recipe import Recipe
from toxonnx.texts import fold
from toxonnx.tokens import Tokenizer
from toxonnx.train.data import Examples, split

__all__ = ["Wanted", "check"]


@dataclass(frozen=True)
class Wanted:
    """What is to be checked, and how.

    Attributes:
        data: the file.
        recipe: names columns, limit, group and shares; None to go by the options.
        text, label, group, max_length, seed: see :func:`toxonnx.check.sheet.choose`.
        validation: a second labelled file.
        encoding, delimiter: of both files.
        with_baseline: whether to train what needs no transformer.
    """

    data: Path
    recipe: Recipe | None = None
    text: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    max_length: int | None = None
    seed: int | None = None
    validation: Path | None = None
    encoding: str | None = None
    delimiter: str | None = None
    with_baseline: bool = True


@dataclass(frozen=True)
class _Rows:
    """A file's rows that training would take, and the texts of all.

    ``texts``, ``keys`` and ``lines`` are of the rows with a text, labelled or not; ``at`` and ``examples`` of those
    that have a known label too.
    """

    sheet: Sheet
    classes: Classes
    texts: list[str]
    lines: list[int]
    at: NDArray[np.int64]
    examples: Examples | None
    keys: list[str]
    findings: list[Finding]


def check(wanted: Wanted, tokenizer: Tokenizer, owner: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Checks a labelled file.

    Args:
        wanted: what to check.
        tokenizer: one that does not cut.
        owner: whose tokenizer it is.
        say: takes words on progress.

    Returns:
        The report, plain values; it holds label names, column names and line numbers, and no text of a row.

    Raises:
        InputError: the file cannot be read as a table, or a column is not there.
    """
    started = time.monotonic()
    say(f"reading {wanted.data.name}")
    sheet = read_sheet(wanted.data, wanted.encoding, wanted.delimiter)
    plan = choose(
        sheet, wanted.recipe, wanted.text, wanted.label, wanted.max_length, wanted.group, wanted.seed
    )  # fmt: skip
    say("labels and texts")
    rows = _usable(sheet, plan)
    labels = plan.labels
    counts = count_classes(rows.classes, rows.keys, rows.at)
    findings = [*rows.findings, *class_findings(counts, multi=plan.multi)]
    report: dict[str, Any] = {
        "file": wanted.data.name,
        "rows": len(sheet.table) + len(sheet.ragged),
        "usable_rows": len(rows.at),
        "blank_lines": sheet.blank,
        "columns": list(sheet.table.columns),
        "recipe": plan.name,
        "text_columns": list(plan.text.columns),
        "normalise": list(plan.text.normalise),
        "label_columns": list(labels.columns or (labels.column,)),
        "multi_label": plan.multi,
        "held_out_share": plan.split.validation + plan.split.test,
        "seed": plan.split.seed,
        "classes": counts,
        "distinct_texts": 0,
        "tokens": None,
        "duplicates": None,
        "near_duplicates": None,
        "columns_alone": [],
        "baselines": [],
        "validation": None,
        "left_out": [],
    }
    if rows.texts:
        say("tokens")
        report["tokens"], said = lengths(rows.texts, rows.lines, tokenizer, plan.max_length, owner)
        findings += said
    if rows.examples is not None and len(rows.at):
        findings += _twins(rows, rows.examples, plan, report, say)
        if wanted.with_baseline:
            findings += _baselines(rows, rows.examples, plan, wanted, report, say)
    if not wanted.with_baseline:
        report["left_out"].append("baselines and columns by themselves, as asked (--no-baseline)")
    elif rows.examples is None or not len(rows.at):
        report["left_out"].append("baselines and columns by themselves: there are no rows of two classes")
    if wanted.validation:
        findings += _validation(rows, counts, plan, wanted, report, say)
    findings.sort(key=lambda one: SEVERITIES.index(one.severity))
    severities = Counter(one.severity for one in findings)
    report["findings"] = [one.to_dict() for one in findings]
    report["counts"] = {severity: severities[severity] for severity in SEVERITIES}
    report["seconds"] = round(time.monotonic() - started, 2)
    return report


def _usable(sheet: Sheet, plan: Recipe, names: tuple[str, ...] | None = None) -> _Rows:
    classes, said = read_classes(sheet, plan.labels, names)
    values = [sheet.table.column(name) for name in plan.text.columns]
    rendered = [plan.text.render(row) for row in zip(*values, strict=True)]
    lines, file = sheet.table.lines, sheet.file
    filled = [i for i, text in enumerate(rendered) if text.strip()]
    findings = [*sheet.findings(), *said]
    empty = len(rendered) - len(filled)
    if empty:
        findings.append(
            found(
                "empty-texts", "warning",
                f"{empty:,} of {plural(len(rendered), 'row')} ({empty / len(rendered):.2%}) have no text after "
                "normalisation",
                [line for line, text in zip(lines, rendered, strict=True) if not text.strip()], file=file,
                advice="Take them out; training leaves them out as well.",
            )
        )  # fmt: skip
    texts, of_texts = [rendered[i] for i in filled], [lines[i] for i in filled]
    # What did not decode was said already, and is U+FFFD by now.
    broken = set(sheet.undecodable)
    sound = [(text, line) for text, line in zip(texts, of_texts, strict=True) if line not in broken]
    if sound:
        readable, of_readable = zip(*sound, strict=True)
        findings += text_findings(readable, of_readable, has_html="html" in plan.text.normalise, file=file)
    at = np.array([i for i in filled if classes.known[i]], dtype=np.int64)
    used, labels = [rendered[i] for i in at], classes.labels
    examples = None
    if labels is not None:
        examples = Examples(used, classes.truth[at], [lines[i] for i in at], labels, plan.text)
    return _Rows(sheet, classes, texts, of_texts, at, examples, [fold(text) for text in used], findings)


def _twins(
    rows: _Rows, examples: Examples, plan: Recipe, report: dict[str, Any], say: Callable[[str], None]
) -> list[Finding]:
    say("duplicates")
    comparable = [tuple(row) if plan.multi else row for row in examples.truth.tolist()]
    columns = [[values[i] for i in rows.at] for values in rows.sheet.table.columns.values()]
    same = repeats(rows.keys, comparable, list(zip(*columns, strict=True)))
    held_out = leaked = None
    try:
        parts = split(examples, dataclasses.replace(plan.split, method="random", group=()), "")
        held_out, leaked = len(parts.validation) + len(parts.test), parts.leaked
    except InputError:  # a class with one row; the baselines say so
        pass
    say("near duplicates")
    distinct = list(dict.fromkeys(rows.keys))
    twins = near(distinct)
    report["distinct_texts"] = len(distinct)
    report["duplicates"] = {
        "rows": len(same.rows), "groups": same.groups, "same_text_and_label": same.same_label,
        "identical_rows": same.identical, "conflicting_texts": same.conflict_texts, "best_accuracy": same.ceiling,
        "held_out_rows": held_out, "would_leak": leaked,
    }  # fmt: skip
    report["near_duplicates"] = {
        "pairs": len(twins.pairs), "compared": twins.compared, "too_short": twins.short, "bounded": twins.bounded,
    }  # fmt: skip
    if twins.bounded:
        report["left_out"].append(f"near duplicates: {twins.bounded}")
    return [
        *repeat_findings(same, examples.lines, held_out, leaked),
        *near_findings(twins, distinct, rows.keys, comparable, examples.lines),
    ]


def _baselines(
    rows: _Rows, examples: Examples, plan: Recipe, wanted: Wanted, report: dict[str, Any], say: Callable[[str], None]
) -> list[Finding]:
    table = rows.sheet.table.columns
    columns = {name: [values[i] for i in rows.at] for name, values in table.items()}
    asked = plan.split.group
    tried = [asked] if asked else [(name,) for name in plan.text.columns] if len(plan.text.columns) > 1 else []
    groups = [
        GroupBy(
            names,
            tuple("\0".join(map(fold, row)) for row in zip(*(columns[name] for name in names), strict=True)),
            bool(asked), bool(asked) and not wanted.group,
        )
        for names in tried
    ]  # fmt: skip
    report["baselines"], left_out, findings = measure(examples, plan.split, groups, say)
    report["left_out"] += left_out
    findings += split_findings(report["baselines"], groups)
    if report["baselines"] and report["distinct_texts"] > 1:
        roles = Roles(plan.text.columns, tuple(report["label_columns"]), tuple(plan.labels.votes.values()))
        report["columns_alone"], left_out, said = telling(columns, examples, roles, plan.split.seed, say)
        report["left_out"] += left_out
        findings += said
    return findings


def _validation(
    rows: _Rows, counts: list[dict[str, Any]], plan: Recipe, wanted: Wanted, report: dict[str, Any],
    say: Callable[[str], None],
) -> list[Finding]:  # fmt: skip
    assert wanted.validation is not None
    file = wanted.validation.name
    say(f"reading {file}")
    sheet = read_sheet(wanted.validation, wanted.encoding, wanted.delimiter, file)
    held = _usable(sheet, plan, None if plan.multi else rows.classes.names)
    findings = [one for one in held.findings if one.kind != "unknown-labels" or plan.labels.names or plan.multi]
    if not plan.multi:
        # An unknown label is one that stands in this file alone, and is said as that.
        column = plan.labels.column
        both = [{value.strip() for value in one.table.column(column)} - {""} for one in (rows.sheet, sheet)]
        if plan.labels.names:
            both = [{name for name in one if name in plan.labels.names} for one in both]
        findings += lone_labels(sorted(both[0]), sorted(both[1]), file)
    if rows.examples is None or held.examples is None or not len(rows.at) or not len(held.at):
        report["left_out"].append(f"{file} beside the data: there are no rows with a text and a known label in both")
        return findings
    counted = count_classes(held.classes, held.keys, held.at)
    findings += class_shifts(counts, counted, file)
    report["validation"], said = beside(
        rows.examples, held.examples, file, say, with_baseline=wanted.with_baseline
    )  # fmt: skip
    report["validation"]["classes"] = counted
    return findings + said
