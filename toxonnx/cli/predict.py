"""``toxonnx predict``"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toxonnx.cli.locations import check_writable, with_local_folder
from toxonnx.cli.options import (
    FiniteRange,
    check_format,
    device_options,
    long_texts_options,
    max_batch_tokens_option,
    no_cascade_option,
    read_options,
    text_column_option,
    threads_option,
    warn_of_fallback,
)
from toxonnx.cli.predict_parameters import given_options, same_bytes
from toxonnx.io.remote import RemotePath, as_location
from toxonnx.system import runtime_versions
from toxonnx.wording import plural

if TYPE_CHECKING:
    from toxonnx.bundle import Bundle
    from toxonnx.io.base import ReadOptions, Source
    from toxonnx.io.journal import InputIdentity
    from toxonnx.io.paths import Job
    from toxonnx.io.remote import Location
    from toxonnx.io.shards import Shard
    from toxonnx.wire.moderations import Moderator


DEFAULT_COLUMNS = ("label", "score", "probabilities")


def _columns(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    from toxonnx.io.output_columns import COLUMNS

    kinds = tuple(kind.strip() for kind in value.split(",")) if value is not None else ()
    for kind in kinds:
        if kind not in COLUMNS:
            raise click.BadParameter(f"unknown column {kind!r}; choose from {', '.join(COLUMNS)}")
        if kinds.count(kind) > 1:
            raise click.BadParameter(f"{kind} is repeated")
    return kinds


def _shard(_context: click.Context, _option: click.Parameter, value: str | None) -> Shard | None:
    from toxonnx.io.shards import parse_shard

    return parse_shard(value) if value is not None else None


def _no_dash(_context: click.Context, _option: click.Parameter, value: Location | None) -> Location | None:
    return None if value == Path("-") else value


@click.command("predict")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=as_location)
@click.option(
    "-o", "--output", type=as_location, metavar="PATH", callback=_no_dash,
    help="Output file; for several files, a folder  [default: standard output]",
)  # fmt: skip
@text_column_option
@click.option("--bundle", metavar="DIR|NAME", help="The model  [default: the one that ships with toxonnx]")
@device_options
@threads_option
@max_batch_tokens_option
@click.option(
    "--review-below", type=FiniteRange(0, 1), default=0.0, metavar="P",
    help="Add a column review with 1 for rows whose label has a probability below P.",
)  # fmt: skip
@long_texts_options
@no_cascade_option
@click.option(
    "--audit", type=FiniteRange(0, 1), default=0.0, metavar="SHARE",
    help="Compare the first stage's decisions with the full model's on this share of the texts, and report how many "
    "differ.",
)  # fmt: skip
@click.option(
    "--audit-stop", is_flag=True,
    help="Use only the full model from then on, if the audit finds more differences than promised.",
)  # fmt: skip
@click.option(
    "--columns", "output_columns", metavar="NAME,...", callback=_columns,
    help="Columns to add, of label, score, probabilities (one per label), review, truncated, no_tokens, repaired, "
    "stage (1: first stage, 2: full model) and error  [default: label,score,probabilities, review if any row can be "
    "marked, error with --on-error null]",
)  # fmt: skip
@click.option(
    "--prefix", default="", metavar="PREFIX", help="What the names of the columns added start with  [default: nothing]"
)
@read_options
@click.option(
    "--output-format", metavar="FORMAT", callback=check_format,
    help="Format of the output, as for --input-format  [default: by its suffix, else the input's]",
)  # fmt: skip
@click.option(
    "--on-error", type=click.Choice(["fail", "skip", "null"]), default="fail", show_default=True,
    help="What to do with a row that cannot be scored: end the command; leave the row out; or write it without scores "
    "and with a column error.",
)  # fmt: skip
@click.option(
    "--max-rejects", type=click.IntRange(min=0), metavar="N",
    help="With skip or null: end the command after more than N such rows  [default: any number]",
)  # fmt: skip
@click.option(
    "--rejects", "rejects_file", type=as_location, metavar="FILE",
    help="With skip or null: list these rows in FILE, as CSV with the columns of DuckDB's reject_errors.",
)  # fmt: skip
@click.option(
    "--manifest", "manifest_file", type=as_location, metavar="FILE",
    help="Write counts, sizes, versions, options and times to FILE, as JSON, once the output is complete.",
)  # fmt: skip
@click.option(
    "--spreadsheet-safe", is_flag=True,
    help="Put an apostrophe before each cell of CSV that a spreadsheet would run as a formula.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="With skip or null: exit with code 1 if there were such rows.")
@click.option(
    "--resume", is_flag=True,
    help="Continue where an earlier run of the same command was interrupted; without such a run, start.",
)  # fmt: skip
@click.option(
    "--state-dir", type=click.Path(path_type=Path), metavar="DIR",
    help="For outputs that are URLs: where they are on this machine until they are uploaded, so that --resume can "
    "continue them  [default: a temporary folder]",
)  # fmt: skip
@click.option(
    "--checkpoint-rows", type=click.IntRange(min=1), default=20_000, show_default=True, metavar="N",
    help="How many rows an interrupted run may lose.",
)  # fmt: skip
@click.option(
    "--shard", metavar="K/N", callback=_shard,
    help="Score the K-th of N shards of FILE, to a file with the numbers in its name; toxonnx join joins them. Of "
    "several files, score each N-th one.",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
    help="Score in this process, or on the workers of a Ray cluster.",
)  # fmt: skip
@click.option("--ray-address", metavar="ADDRESS", help="The cluster  [default: RAY_ADDRESS, else one on this machine]")
@click.option(
    "--ray-workers", type=click.IntRange(min=1), metavar="N",
    help="Workers, with --threads cores each  [default: one per core]",
)  # fmt: skip
@click.option(
    "--force", is_flag=True, help="Replace the output if it exists; without --resume, also discard an interrupted run."
)
@click.option("-v", "--verbose", is_flag=True, help="Print how the file is scored.")
def command(
    files: tuple[Location, ...],
    output: Location | None,
    text_columns: tuple[str, ...],
    bundle: str | None,
    device: str,
    allow_fallback: bool,
    threads: int | None,
    max_batch_tokens: int | None,
    review_below: float,
    long_texts: str | None,
    max_windows: int | None,
    no_cascade: bool,
    audit: float,
    audit_stop: bool,
    output_columns: tuple[str, ...],
    prefix: str,
    reading: ReadOptions,
    output_format: str | None,
    on_error: str,
    max_rejects: int | None,
    rejects_file: Location | None,
    manifest_file: Location | None,
    spreadsheet_safe: bool,
    strict: bool,
    resume: bool,
    state_dir: Path | None,
    checkpoint_rows: int,
    shard: Shard | None,
    engine: str,
    ray_address: str | None,
    ray_workers: int | None,
    force: bool,
    verbose: bool,
) -> None:
    """Score the texts of FILE: CSV, TSV, JSON lines, Parquet or plain text, of any size; - is standard input.

    The input is copied as it is, with columns added at the end: label, score, and the probability of each label. It may
    be compressed by gzip or zstd, and so is an output whose name ends in .gz or .zst.

    Several files, quoted patterns such as 'logs/*.csv' and folders are written under the same names to the folder that
    -o names. All of them may be URLs such as s3://bucket/posts.csv.

    With --review-below, or if the bundle's thresholds leave some rows undecided, a column review marks the rows that a
    person should look at with 1. Use --columns to choose the columns, for example to mark truncated texts.

    A row that cannot be scored (wrong number of fields, invalid JSON, null, ...) ends the command, unless --on-error
    says otherwise.
    """
    from toxonnx.bundle import open_bundle
    from toxonnx.errors import GateError
    from toxonnx.io.base import WriteOptions, open_source
    from toxonnx.io.paths import plan_jobs
    from toxonnx.resources import find_bundle

    started = datetime.now(UTC)
    _check_reject_options(
        on_error, {"--max-rejects": max_rejects is not None, "--rejects": rejects_file, "--strict": strict}
    )
    if "error" in output_columns and on_error != "null":
        raise click.UsageError("the column error is for --on-error null; without it, no row of the output has one")
    if audit_stop and (resume or shard is not None or not audit):
        raise click.UsageError("--audit-stop needs --audit, and does not go with --resume or --shard")
    if audit and engine == "ray":
        raise click.UsageError("--audit does not go with --engine ray")
    reading = replace(reading, yield_rejected=on_error != "fail")
    opened = open_bundle(find_bundle(bundle))
    moderator = _moderator(opened, reading.format, {"--columns": output_columns, "--prefix": prefix})
    output, rejects_file, manifest_file = with_local_folder(
        (output, rejects_file, manifest_file), state_dir, resume=resume
    )
    jobs = plan_jobs(files, output, input_format=reading.format, wanted_format=output_format, force=force or resume)
    shard_range = None
    if engine == "ray":
        _check_for_ray(jobs, shard)
    if shard is not None:
        from toxonnx.cli.predict_files import divide

        jobs, shard_range = divide(jobs, shard, reading, is_single=len(files) == 1 and files[0] == jobs[0].input)
        rejects_file = rejects_file and shard.output(rejects_file)
        manifest_file = manifest_file and shard.output(manifest_file)
        if not jobs:
            click.echo(f"there are fewer files than shards: nothing to score for {shard}", err=True)
            return
    _check_other_outputs({"--rejects": rejects_file, "--manifest": manifest_file}, jobs)
    check_writable([jobs[0].output, rejects_file, manifest_file])  # several outputs are in one folder
    with open_source(jobs[0].input, reading) as first:
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
        from toxonnx.cli.predict_summary import print_audit, print_summary
        from toxonnx.inference.classifier import Classifier
        from toxonnx.inference.options import RuntimeOptions
        from toxonnx.io.journal import Identity
        from toxonnx.io.output_columns import OutputColumns
        from toxonnx.io.summary import Summary

        text = TextColumns(opened.manifest.text, text_columns)
        text.choose_columns(first)

        def identify(job: Job, source: Source[Any]) -> InputIdentity | None:
            return find_identity(job, source, resume=resume, state_dir=state_dir, audit_stop=audit_stop)

        inputs = [identify(jobs[0], first)]
        for job in jobs[1:]:  # what cannot be read is reported before anything is scored
            with open_source(job.input, reading) as source:
                text.choose_columns(source)
                inputs.append(identify(job, source))
        options = RuntimeOptions(
            device=device, allow_fallback=allow_fallback, threads=threads, max_batch_tokens=max_batch_tokens,
            long_texts=long_texts, max_windows=max_windows, cascade=not no_cascade, audit=audit, audit_stop=audit_stop,
        )  # fmt: skip
        classifier = Classifier(opened, options, review_below=review_below)
        if audit and classifier.audit is None:
            raise click.UsageError("--audit is for bundles with a first stage, and not for --no-cascade")
        warn_of_fallback(classifier)
        if verbose:
            click.echo(str(classifier.settings), err=True)
        kinds = output_columns or (
            *DEFAULT_COLUMNS, *["review"] * classifier.can_mark_for_review, *["error"] * (on_error == "null"),
        )  # fmt: skip
        added = OutputColumns(kinds, classifier.labels.names, prefix, classifier.labels.multi)
        writing = WriteOptions(output_format, force, spreadsheet_safe=spreadsheet_safe, moderator=moderator)
        versions = {f"the version of {package}": version for package, version in runtime_versions().items()}
        same = {**same_bytes(click.get_current_context()), "the device": classifier.settings.device, **versions}
        with open_outputs({"--manifest": manifest_file}, force=force or resume) as outputs:
            if engine == "ray":
                from toxonnx.cli.predict_ray import Cluster, Work, run_on_ray

                work = Work(
                    bundle=opened.path.resolve(), options=options, review_below=review_below, text=text, added=added,
                    reading=reading, writing=writing, checkpoint_rows=checkpoint_rows, on_error=on_error,
                    max_rejects=max_rejects, rejects_file=rejects_file, same_bytes=same,
                )  # fmt: skip
                cluster = Cluster(address=ray_address, workers=ray_workers)
                tasks = [Task(job, None) for job in jobs]
                summaries = run_on_ray(jobs, opened, work, cluster, resume=resume)
            else:
                name = opened.manifest.name
                identities = [None if one is None else Identity(one, name, opened.seal, same) for one in inputs]
                tasks = plan_tasks(jobs, identities, resume=resume, force=force)
                if shard_range is not None:
                    tasks = [tasks[0]._replace(shard=shard_range)]
                scoring = Scoring(classifier, text, added, reading, writing, checkpoint_rows)
                with open_rejects(on_error, rejects_file, tasks, max_rejects, force=force) as rejects:
                    scoring.run(tasks, first, rejects)
                summaries = scoring.summaries
                if shard is not None and shard_range is not None:
                    write_shard_record(tasks[0], shard, first, writing, summaries[0])
            if outputs:
                given = given_options(click.get_current_context())
                scored = list(zip(tasks, summaries, strict=True))
                write_manifest(outputs["--manifest"], opened, given, started, scored)
        remove_states(tasks, replaced=force and not resume)
    summary = Summary.total(summaries)
    print_summary(summary, opened, len(jobs), options.long_texts_of(opened.manifest))
    if classifier.audit is not None:
        print_audit(classifier.audit, stopped=audit_stop)
    if strict and summary.rejected:
        raise GateError(
            f"{plural(summary.rejected.total(), 'row was', 'rows were')} rejected (--strict)", "The output is complete."
        )


def _check_reject_options(on_error: str, given: dict[str, object]) -> None:
    needless = [option for option, value in given.items() if value]
    if on_error == "fail" and needless:
        raise click.UsageError(f"{needless[0]} needs --on-error skip or null")


def _moderator(bundle: Bundle, input_format: str | None, columns: dict[str, object]) -> Moderator | None:
    """What answers to the requests of a batch consist of; None for other formats."""
    from toxonnx.errors import InputError
    from toxonnx.wire.moderations import Moderator

    if input_format != "openai-batch":
        return None
    given = [option for option, value in columns.items() if value]
    if given:
        raise click.UsageError(f"{given[0]} does not go with openai-batch: its answers have no columns")
    manifest = bundle.manifest
    mapping = manifest.mappings.get("openai")
    if not mapping:
        what = f"no label of {manifest.name} is mapped to a category of OpenAI, so it cannot answer openai-batch"
        raise InputError(what, "Choose another bundle, or map its labels with mappings.openai in the recipe.")
    return Moderator.of(manifest.name, mapping, manifest.labels.names)


def _check_for_ray(jobs: Sequence[Job], shard: Shard | None) -> None:
    from toxonnx.errors import InputError
    from toxonnx.extras import require
    from toxonnx.io.atomic import is_special
    from toxonnx.io.input_file import STDIN, is_pipe

    require("ray")
    if shard is not None:
        raise click.UsageError("--engine ray divides files itself; leave out --shard")
    if any(job.output is None or is_special(job.output) for job in jobs):
        raise InputError("--engine ray needs an output file", "Name it with -o FILE.")
    pipe = next((job.input for job in jobs if is_pipe(job.input)), None)
    if pipe is not None:
        name = "standard input" if pipe == STDIN else pipe
        raise InputError(
            f"{name} can only be read once, so no worker can read it", "Save it to a file, and score that."
        )
    elsewhere = [one for one in chain.from_iterable(jobs) if isinstance(one, RemotePath)]
    if elsewhere:
        what = f"--engine ray works on files under a path that all machines share, not on {elsewhere[0]}"
        raise InputError(what, "Mount it; or start --shard K/N on each machine.")


def _check_other_outputs(paths: dict[str, Location | None], jobs: Sequence[Job]) -> None:
    from toxonnx.errors import InputError

    taken = {one.resolve() for job in jobs for one in job if one is not None}
    for option, path in paths.items():
        if path is not None and path.resolve() in taken:
            what = f"{option} {path} is also an input or an output of this command"
            raise InputError(what, "Use another file name.")
        taken |= {path.resolve()} if path is not None else set()
