"""What ``toxonnx predict`` reads and writes, found out and checked before a model is loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import click

from toxonnx.bundle import Bundle, open_bundle
from toxonnx.cli.locations import check_writable, with_local_folder
from toxonnx.cli.predict_parameters import PredictOptions
from toxonnx.errors import InputError
from toxonnx.extras import require
from toxonnx.io.atomic import is_special
from toxonnx.io.base import ReadOptions, Source, open_source
from toxonnx.io.input_file import STDIN, is_pipe
from toxonnx.io.paths import Job, plan_jobs
from toxonnx.io.remote import Location, RemotePath
from toxonnx.io.shards import Shard, ShardRange
from toxonnx.resources import find_bundle
from toxonnx.wire.moderations import Moderator

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is read and written.

    Attributes:
        bundle: the model.
        reading: how inputs are read.
        moderator: what answers to the requests of a batch consist of; None for other formats.
        jobs: the inputs and their outputs; not empty.
        shard_range: the records of a single input that belong to the shard; None for all.
        rejects_file, manifest_file: where these are written; None for nowhere.
    """

    bundle: Bundle
    reading: ReadOptions
    moderator: Moderator | None
    jobs: Sequence[Job]
    shard_range: ShardRange | None
    rejects_file: Location | None
    manifest_file: Location | None

    def open_first(self) -> contextlib.AbstractContextManager[Source[Any]]:
        """Opens the first input."""
        return open_source(self.jobs[0].input, self.reading)


def make_plan(options: PredictOptions) -> Plan | None:
    """Finds the model, the inputs and the outputs; None if there are fewer files than shards.

    Raises:
        UsageError, InputError, BundleError: they are not there, do not go together, or may not be written.
    """
    reading = replace(options.reading, yield_rejected=options.on_error != "fail")
    bundle = open_bundle(find_bundle(options.bundle))
    moderator = None
    if reading.format == "openai-batch":
        moderator = _moderator(bundle, {"--columns": options.output_columns, "--prefix": options.prefix})
    output, rejects_file, manifest_file = with_local_folder(
        (options.output, options.rejects_file, options.manifest_file), options.state_dir, resume=options.resume
    )
    jobs: Sequence[Job] = plan_jobs(
        options.files, output, into_folder=options.into_folder, input_format=reading.format,
        wanted_format=options.output_format, force=options.force or options.resume,
    )  # fmt: skip
    shard, shard_range = options.shard, None
    if options.engine == "ray":
        _check_for_ray(jobs, shard)
    if shard is not None:
        from toxonnx.cli.predict_files import divide

        is_single = len(options.files) == 1 and options.files[0] == jobs[0].input
        jobs, shard_range = divide(jobs, shard, reading, is_single=is_single)
        rejects_file = rejects_file and shard.output(rejects_file)
        manifest_file = manifest_file and shard.output(manifest_file)
        if not jobs:
            return None
    _check_other_outputs({"--rejects": rejects_file, "--manifest": manifest_file}, jobs)
    check_writable([jobs[0].output, rejects_file, manifest_file])  # several outputs are in one folder
    return Plan(
        bundle=bundle, reading=reading, moderator=moderator, jobs=jobs, shard_range=shard_range,
        rejects_file=rejects_file, manifest_file=manifest_file,
    )  # fmt: skip


def _moderator(bundle: Bundle, columns: dict[str, object]) -> Moderator:
    """What answers to the requests of a batch consist of."""
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
    taken = {one.resolve() for job in jobs for one in job if one is not None}
    for option, path in paths.items():
        if path is not None and path.resolve() in taken:
            what = f"{option} {path} is also an input or an output of this command"
            raise InputError(what, "Use another file name.")
        taken |= {path.resolve()} if path is not None else set()
