"""Runs all checks of a labelled file and collects their results in a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from toxonnx.check.class_sizes import class_findings, label_shift_findings, one_file_label_findings
from toxonnx.check.column_predictors import ColumnRoles, measure_columns
from toxonnx.check.columns import read_files
from toxonnx.check.duplicates import duplicate_findings, find_duplicates
from toxonnx.check.finding import Finding, format_share, make_finding
from toxonnx.check.kinds import SEVERITIES
from toxonnx.check.labelled_rows import LabelledRows, possible_label_column_findings, read_rows
from toxonnx.check.leaky_columns import leaky_column_findings
from toxonnx.check.leaky_splits import (
    Grouping,
    Leakage,
    draw_random_splits,
    drop_single_text_classes,
    infeasible_split_findings,
    measure_leakage,
    score_splits,
    split_findings,
)
from toxonnx.check.near_duplicates import find_near_duplicates, near_duplicate_findings
from toxonnx.check.options import CheckOptions
from toxonnx.check.report import CheckReport, DuplicateCounts, NearDuplicateCounts
from toxonnx.check.token_lengths import count_tokens, truncation_findings
from toxonnx.check.validation_file import ValidationResult, find_overlap, overlap_findings, score_subsets
from toxonnx.data.examples import Examples
from toxonnx.data.splits import SplitRows
from toxonnx.inference.tokenizer import Tokenizer

__all__ = ["check"]

Log = Callable[[str], None]


def check(options: CheckOptions, tokenizer: Tokenizer, tokenizer_name: str, log: Log) -> CheckReport:
    """Checks a labelled file.

    Args:
        options: what to check.
        tokenizer: a tokenizer that does not truncate.
        tokenizer_name: name of the bundle that the tokenizer belongs to.
        log: takes progress messages.

    Raises:
        InputError: a file cannot be read as a table, or a column is missing.
        RowError: a row cannot be read.
    """
    started = time.monotonic()
    log(f"reading {options.data.name}")
    data, validation, recipe = read_files(options)
    log("labels and texts")
    rows = read_rows(data, recipe)
    report = _start_report(options, rows)
    # With a validation file, training draws no split.
    needed = 1 if validation else 1 + (recipe.split.validation > 0) + (recipe.split.test > 0)
    report.findings += rows.findings
    report.findings += class_findings(report.classes, rows.class_lines(), multi=recipe.multi, needed=needed)
    if options.recipe is None:
        report.findings += possible_label_column_findings(rows)
    if rows.rows_with_text:
        log("tokens")
        texts, lines = rows.rows_with_text, rows.lines_with_text
        report.tokens, truncated = count_tokens(texts, lines, tokenizer, recipe.max_length, tokenizer_name)
        report.findings += truncation_findings(report.tokens, truncated, len(texts))
    if len(rows):
        _compare_rows(rows, options, report, log, needed=needed)
        if validation is not None:
            _compare_files(rows, read_rows(validation, recipe, rows.row_labels), options, report, log)
    else:
        report.limitations.append("duplicates, splits, columns and baselines: no row has a text and a usable label")
    report.findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    report.seconds = round(time.monotonic() - started, 2)
    return report


def _start_report(options: CheckOptions, rows: LabelledRows) -> CheckReport:
    table, recipe = rows.table, rows.recipe
    return CheckReport(
        file=options.data.name,
        rows=table.rows,
        usable_rows=len(rows),
        blank_lines=table.blank_lines,
        columns=tuple(table.display_names.values()),
        recipe=recipe.name,
        text_columns=rows.display(recipe.text.columns),
        normalise=tuple(recipe.text.normalise),
        label_columns=rows.label_columns,
        multi_label=recipe.multi,
        held_out_share=recipe.split.validation + recipe.split.test,
        seed=recipe.split.seed,
        classes=tuple(rows.class_sizes()),
        distinct_texts=len(set(rows.keys)),
    )


def _compare_rows(rows: LabelledRows, options: CheckOptions, report: CheckReport, log: Log, *, needed: int) -> None:
    """Compares rows with each other: duplicates, splits, single columns."""
    spec, examples = rows.recipe.split, rows.examples()
    groupings: Sequence[Grouping] = _groupings(rows)
    split_examples: Examples | None = None
    random_splits: list[SplitRows] = []
    if examples is None:
        report.limitations.append("baselines and single columns: there are no rows of two classes")
    else:
        refused = any(
            finding.kind == "small-classes" and finding.severity == "error" for finding in report.findings
        )  # fmt: skip
        if needed > 1 and not refused:
            groups = groupings[0].values if spec.group else ()
            report.findings += infeasible_split_findings(examples, spec, groups)
        split_examples, groupings, limitations = drop_single_text_classes(examples, groupings)
        report.limitations += limitations
        random_splits = draw_random_splits(split_examples, spec)
    with report.limited_by_memory("duplicates"):
        _check_duplicates(rows, measure_leakage(random_splits), report, log)
    if not options.with_baseline:
        report.limitations.append("baselines and single columns: skipped (--no-baseline)")
    elif examples is not None and split_examples is not None:
        with report.limited_by_memory("baselines"):
            results, limitations = score_splits(split_examples, spec, groupings, random_splits, log)
            report.baselines = tuple(results)
            report.limitations += limitations
            report.findings += split_findings(results, groupings, grouped=spec.method == "grouped")
        with report.limited_by_memory("single columns"):
            _check_columns(rows, examples, report, log)


def _groupings(rows: LabelledRows) -> list[Grouping]:
    """The group of the recipe; without one, each text column if there are several."""
    recipe = rows.recipe
    if recipe.split.group:
        return [Grouping(rows.display(recipe.split.group), rows.groups(recipe.split.group), in_recipe=True)]
    if len(recipe.text.columns) < 2:
        return []
    groupings = []
    for name in recipe.text.columns:
        # An empty value is not a value that rows have in common.
        values = tuple(value or f"\0{i}" for i, value in enumerate(rows.groups((name,))))
        groupings.append(Grouping(rows.display((name,)), values, in_recipe=False))
    return groupings


def _check_duplicates(rows: LabelledRows, leakage: Leakage | None, report: CheckReport, log: Log) -> None:
    spec, labels = rows.recipe.split, rows.labels()
    log("duplicates")
    columns = [rows.column(name) for name in rows.table.table.columns]
    duplicates = find_duplicates(rows.keys, labels, list(zip(*columns, strict=True)))
    log("near duplicates")
    near = find_near_duplicates(list(dict.fromkeys(rows.keys)), seed=spec.seed)
    report.duplicates = DuplicateCounts(
        rows=len(duplicates.rows), groups=duplicates.groups, same_text_and_label=duplicates.same_label,
        identical_rows=duplicates.identical, conflicting_texts=duplicates.conflicting_texts,
        max_accuracy=duplicates.max_accuracy, held_out_rows=leakage.held_out_rows if leakage else None,
        leaking_rows=leakage.leaking_rows if leakage else None,
    )  # fmt: skip
    report.near_duplicates = NearDuplicateCounts(len(near.pairs), near.compared, near.too_short, near.limitation)
    if near.limitation:
        report.limitations.append(f"near duplicates: {near.limitation}")
    grouped = spec.method == "grouped"
    groups = rows.groups(spec.group) if spec.group and grouped else ()
    report.findings += duplicate_findings(duplicates, rows.lines, leakage, grouped=grouped)
    report.findings += near_duplicate_findings(near, rows.keys, labels, rows.lines, groups)
    report.findings += _missing_group_findings(groups, rows.lines)


def _missing_group_findings(groups: Sequence[str], lines: Sequence[int]) -> list[Finding]:
    missing = [line for line, value in zip(lines, groups, strict=False) if not value.strip("\0")]
    if len(missing) < 2:
        return []
    message = f"{format_share(len(missing), len(lines))} have no value in the group columns and form a single group"
    return [make_finding("missing-group-values", message, missing)]


def _check_columns(rows: LabelledRows, examples: Examples, report: CheckReport, log: Log) -> None:
    recipe = rows.recipe
    roles = ColumnRoles(
        rows.display(recipe.text.columns), rows.label_columns, rows.display(tuple(recipe.labels.votes.values())),
        rows.display(recipe.split.group),
    )  # fmt: skip
    columns = {rows.table.display_names[name]: rows.column(name) for name in rows.table.table.columns}
    measurements = measure_columns(columns, examples, roles, recipe.split.seed, log)
    report.single_columns = tuple(measurements.ranked())
    report.limitations += measurements.limitations
    report.findings += leaky_column_findings(measurements, roles)


def _compare_files(
    rows: LabelledRows, validation: LabelledRows, options: CheckOptions, report: CheckReport, log: Log
) -> None:
    """Compares the validation file with the training data."""
    file = validation.table.file
    report.findings += validation.findings
    if not len(validation):
        report.limitations.append(f"{file}: not compared, since no row has a text and a usable label")
        return
    sizes, class_lines = validation.class_sizes(), (rows.class_lines(), validation.class_lines())
    report.findings += class_findings(sizes, class_lines[1], multi=rows.recipe.multi, needed=1, file=file)
    report.findings += one_file_label_findings(report.classes, sizes, class_lines, file)
    report.findings += label_shift_findings(report.classes, sizes, file)
    log("near duplicates between the files")
    overlap = find_overlap(rows.keys, validation.keys)
    report.findings += overlap_findings(overlap, validation.lines, file)
    report.validation = ValidationResult(
        file=file, rows=len(validation), duplicate_rows=int(overlap.duplicates.sum()),
        near_duplicate_rows=int(overlap.near_duplicates.sum()), limitation=overlap.limitation, classes=tuple(sizes),
    )  # fmt: skip
    train, held_out = rows.examples(), validation.examples()
    if options.with_baseline and train is not None and held_out is not None:
        with report.limited_by_memory(f"baseline of {file}"):
            results, limitations = score_subsets(train, held_out, overlap, file, seed=rows.recipe.split.seed, log=log)
            report.validation = replace(report.validation, baselines=tuple(results))
            report.limitations += limitations
