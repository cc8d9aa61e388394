"""Scores the files of ``toxonnx predict``, here or on a Ray cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import click

from toxonnx.cli.options import warn_of_fallback
from toxonnx.cli.outputs import open_outputs
from toxonnx.cli.predict_files import (
    Scoring,
    Task,
    TextColumns,
    find_identity,
    open_rejects,
    plan_tasks,
    remove_states,
    write_shard_record,
)
from toxonnx.cli.predict_manifest import write_manifest
from toxonnx.cli.predict_parameters import PredictOptions, given_options, same_bytes
from toxonnx.cli.predict_plan import Plan
from toxonnx.cli.predict_summary import print_audit, print_summary
from toxonnx.errors import GateError
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.options import RuntimeOptions
from toxonnx.io.base import Source, WriteOptions, open_source
from toxonnx.io.journal import Identity, InputIdentity
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.summary import Summary
from toxonnx.system import runtime_versions
from toxonnx.wording import plural

__all__ = ["run"]

DEFAULT_COLUMNS = ("label", "score", "probabilities")


class _Scored(NamedTuple):
    """The files, and what was done with each."""

    tasks: Sequence[Task]
    summaries: Sequence[Summary]


def run(options: PredictOptions, plan: Plan, first: Source[Any], started: datetime) -> None:
    """Scores all files, of which the first is open already, and prints what was done.

    Args:
        options: of the command.
        plan: what is read and written.
        first: the first input.
        started: when the command was.

    Raises:
        GateError: rows were rejected, and ``--strict`` was given.
        InputError, MachineError: see :meth:`toxonnx.cli.predict_files.Scoring.run`.
    """
    text = TextColumns(plan.bundle.manifest.text, options.text_columns)
    inputs = _identify(options, plan, text, first)
    runtime = RuntimeOptions(
        device=options.device, allow_fallback=options.allow_fallback, threads=options.threads,
        max_batch_tokens=options.max_batch_tokens, long_texts=options.long_texts, max_windows=options.max_windows,
        cascade=not options.no_cascade, audit=options.audit, audit_stop=options.audit_stop,
        thresholds=options.thresholds,
    )  # fmt: skip
    classifier = _load(options, plan, runtime)
    writing = WriteOptions(
        options.output_format, options.force, spreadsheet_safe=options.spreadsheet_safe, moderator=plan.moderator
    )
    added = _columns(options, classifier)
    scoring = Scoring(classifier, text, added, plan.reading, writing, options.checkpoint_rows)
    same = _must_stay_the_same(classifier)
    with open_outputs({"--manifest": plan.manifest_file}, force=options.force or options.resume) as outputs:
        if options.engine == "ray":
            scored = _score_on_ray(options, plan, runtime, scoring, same)
        else:
            identities = [
                None if one is None else Identity(one, plan.bundle.manifest.name, plan.bundle.seal, same)
                for one in inputs
            ]
            scored = _score_here(options, plan, scoring, identities, first)
        if outputs:
            given = given_options(click.get_current_context())
            pairs = list(zip(*scored, strict=True))
            write_manifest(outputs["--manifest"], plan.bundle, given, started, pairs)
    remove_states(scored.tasks, replaced=options.force and not options.resume)
    summary = Summary.total(scored.summaries)
    print_summary(summary, plan.bundle, len(plan.jobs), runtime.long_texts_of(plan.bundle.manifest))
    if classifier.audit is not None:
        print_audit(classifier.audit, stopped=options.audit_stop)
    if options.strict and summary.rejected:
        raise GateError(
            f"{plural(summary.rejected.total(), 'row was', 'rows were')} rejected (--strict)", "The output is complete."
        )


def _identify(options: PredictOptions, plan: Plan, text: TextColumns, first: Source[Any]) -> list[InputIdentity | None]:
    """The identities of all inputs, so that what cannot be read is reported before anything is scored."""
    identities = []
    for number, job in enumerate(plan.jobs):
        with contextlib.nullcontext(first) if number == 0 else open_source(job.input, plan.reading) as source:
            text.choose_columns(source)
            identities.append(
                find_identity(
                    job, source, resume=options.resume, state_dir=options.state_dir, audit_stop=options.audit_stop
                )
            )
    return identities


def _load(options: PredictOptions, plan: Plan, runtime: RuntimeOptions) -> Classifier:
    classifier = Classifier(plan.bundle, runtime, review_below=options.review_below)
    if options.audit and classifier.audit is None:
        raise click.UsageError("--audit is for bundles with a first stage, and not for --no-cascade")
    warn_of_fallback(classifier)
    if options.verbose:
        click.echo(str(classifier.settings), err=True)
    return classifier


def _columns(options: PredictOptions, classifier: Classifier) -> OutputColumns:
    kinds = options.output_columns or (
        *DEFAULT_COLUMNS, *["review"] * classifier.can_mark_for_review, *["error"] * (options.on_error == "null"),
    )  # fmt: skip
    return OutputColumns(kinds, classifier.labels.names, options.prefix, classifier.labels.multi)


def _must_stay_the_same(classifier: Classifier) -> dict[str, str]:
    """What has to be as it was to continue an interrupted run."""
    versions = {f"the version of {package}": version for package, version in runtime_versions().items()}
    return {**same_bytes(click.get_current_context()), "the device": classifier.settings.device, **versions}


def _score_on_ray(
    options: PredictOptions, plan: Plan, runtime: RuntimeOptions, scoring: Scoring, same: dict[str, str]
) -> _Scored:
    from toxonnx.cli.predict_ray import Cluster, Work, run_on_ray

    work = Work(
        bundle=plan.bundle.path.resolve(), options=runtime, review_below=options.review_below, text=scoring.text,
        added=scoring.added, reading=scoring.reading, writing=scoring.writing, checkpoint_rows=options.checkpoint_rows,
        on_error=options.on_error, max_rejects=options.max_rejects, rejects_file=plan.rejects_file, same_bytes=same,
    )  # fmt: skip
    cluster = Cluster(address=options.ray_address, workers=options.ray_workers)
    summaries = run_on_ray(plan.jobs, plan.bundle, work, cluster, resume=options.resume)
    return _Scored([Task(job, None) for job in plan.jobs], summaries)


def _score_here(
    options: PredictOptions,
    plan: Plan,
    scoring: Scoring,
    identities: Sequence[Identity | None],
    first: Source[Any],
) -> _Scored:
    tasks = plan_tasks(plan.jobs, identities, resume=options.resume, force=options.force)
    if plan.shard_range is not None:
        tasks = [tasks[0]._replace(shard=plan.shard_range)]
    with open_rejects(options.on_error, plan.rejects_file, tasks, options.max_rejects, force=options.force) as rejects:
        scoring.run(tasks, first, rejects)
    if options.shard is not None and plan.shard_range is not None:
        write_shard_record(tasks[0], options.shard, first, scoring.writing, scoring.summaries[0])
    return _Scored(tasks, scoring.summaries)
