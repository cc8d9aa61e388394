"""``toxonnx predict --engine ray``: files in shards, which the workers of a Ray cluster score.

A worker is an actor that holds the model. It scores a shard as ``--shard`` does, in a folder next to the output of the
file, so that a shard whose worker is lost is continued by another one, and an interrupted run by ``--resume``. The
process that was started joins the shards of a file as soon as all of them are complete.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toxonnx.bundle import Bundle, open_bundle
from toxonnx.cli.predict_files import Scoring, TextColumns, open_rejects, plan_tasks, remove_states, write_shard_record
from toxonnx.cli.progress import show_progress
from toxonnx.errors import InputError, MachineError, ToxonnxError
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.options import RuntimeOptions
from toxonnx.io.atomic import refuse_existing
from toxonnx.io.base import ReadOptions, WriteOptions, open_source
from toxonnx.io.joining import join, read_record
from toxonnx.io.journal import Identity, InputIdentity
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.paths import Job
from toxonnx.io.rejects import join_rejects
from toxonnx.io.remote import Location
from toxonnx.io.shards import Shard, find_range
from toxonnx.io.summary import Summary

__all__ = ["Cluster", "Work", "run_on_ray"]

#: of an input, in one shard: from some seconds to some minutes on one core
MIN_SHARD_BYTES, MAX_SHARD_BYTES = 1 << 19, 32 << 20
#: of an input whose shards are neither as small nor as large as they can be. They depend on the input only, so that a
#: cluster of another size can continue. More of them would read more: a shard is found by reading what precedes it.
SHARDS = 64

#: in the names of their outputs, and of all that belongs to these
SHARD = re.compile(r"-\d{5}-of-\d{5}\b")
#: the folder of the shards' lists of rejects, apart from outputs, which may have any name
REJECTS = "rejects"

CONTINUE = "Complete shards are kept; the same command with --resume continues."


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where to run.

    Attributes:
        address: of a cluster, as Ray has it; None uses the one of the environment, else starts one on this machine.
        workers: how many; as many as there are cores for them when None.
    """

    address: str | None = None
    workers: int | None = None


@dataclass(frozen=True, kw_only=True)
class Work:
    """All that a worker has to know.

    Attributes:
        bundle: its folder, which every machine can read, as it can the inputs and outputs.
        options: how to run it.
        review_below, text, added, reading, writing, checkpoint_rows: as for a file that is scored here.
        on_error, max_rejects, rejects_file: what happens to bad rows.
        same_bytes: see :class:`toxonnx.io.journal.Identity`.
    """

    bundle: Path
    options: RuntimeOptions
    review_below: float
    text: TextColumns
    added: OutputColumns
    reading: ReadOptions
    writing: WriteOptions
    checkpoint_rows: int
    on_error: str
    max_rejects: int | None
    rejects_file: Location | None
    same_bytes: Mapping[str, str]


@dataclass(frozen=True)
class _File:
    """A file to score, and where the outputs of its shards are until they are joined."""

    input: Path
    output: Path
    total: int

    @property
    def folder(self) -> Path:
        return self.output.with_name(f"{self.output.name}.shards")

    @property
    def joined(self) -> Path:
        """Exists when the output is complete."""
        return self.folder / "joined"

    def job(self, shard: Shard) -> Job:
        """The input, and the output of a shard."""
        return Job(self.input, shard.output(self.folder / self.output.name))

    def rejects(self, shard: Shard) -> Path:
        """The list of the rejected rows of a shard."""
        return shard.output(self.folder / REJECTS / "rejects.csv")

    def shards(self) -> list[Shard]:
        """All of them."""
        return [Shard(number, self.total) for number in range(1, self.total + 1)]


class _Worker:
    """Scores shards; Ray makes one per actor, and calls it with one row at a time."""

    def __init__(self, work: Work, files: Sequence[_File]) -> None:
        self._work, self._files = work, files
        bundle = open_bundle(work.bundle)
        classifier = Classifier(bundle, work.options, review_below=work.review_below)
        self._name, self._seal = bundle.manifest.name, bundle.seal
        # Whether an output may be replaced was checked before; a lost worker may have left one of its shards.
        writing = replace(work.writing, force=True)
        self._scoring = Scoring(classifier, work.text, work.added, work.reading, writing, work.checkpoint_rows)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        (index,), (number,) = batch["index"], batch["number"]
        file, error, hint, code = self._files[index], "", "", 0
        try:
            self._score(file, Shard(int(number), file.total))
        except ToxonnxError as caught:
            error, hint, code = caught.what, caught.hint, caught.exit_code
        return {"index": [index], "number": [number], "error": [error], "hint": [hint], "code": [code]}

    def _score(self, file: _File, shard: Shard) -> None:
        work, job = self._work, file.job(shard)
        if _is_complete(file, shard, self._name, self._seal, work):  # Ray repeats what a lost worker did
            return
        identity = _identity(file, shard, self._name, self._seal, work)
        (task,) = plan_tasks([job], [identity], resume=True, force=True)
        task = task._replace(shard=find_range(file.input, work.reading, shard))
        rejects_file = file.rejects(shard) if work.rejects_file else None
        with open_source(file.input, work.reading) as source:
            with open_rejects(work.on_error, rejects_file, [task], work.max_rejects, force=True) as rejects:
                summary = self._scoring.run([task], source, rejects)
            # The record comes last: with it, a shard is complete, and so must the list of its rejects be.
            write_shard_record(task, shard, source, work.writing, summary)
        remove_states([task])


def _identity(file: _File, shard: Shard, name: str, seal: str, work: Work) -> Identity:
    return Identity(InputIdentity.of(file.input), name, seal, {**work.same_bytes, "--shard": str(shard)})


def run_on_ray(jobs: Sequence[Job], bundle: Bundle, work: Work, cluster: Cluster, *, resume: bool) -> list[Summary]:
    """Scores files on a Ray cluster.

    Args:
        jobs: inputs, which are files, and outputs, which are files.
        bundle: the model.
        work: how to score.
        cluster: where.
        resume: continue an interrupted run.

    Returns:
        Counts of each file; ``seconds`` is the sum over all workers.

    Raises:
        InputError: see :func:`toxonnx.predict.predict`; or a run was interrupted, and nothing says what to do.
        MachineError: the cluster cannot be reached, or lost too many workers.
    """
    force = work.writing.force
    files = [_plan(job, work.reading) for job in jobs]
    for file in files:
        _prepare(file, resume=resume, force=force)
    name, seal = bundle.manifest.name, bundle.seal
    missing = {
        index: {shard.number for shard in file.shards() if not _is_complete(file, shard, name, seal, work)}
        for index, file in enumerate(files)
    }
    rows = [{"index": index, "number": number} for index, numbers in missing.items() for number in sorted(numbers)]
    count = sum(file.total for file in files)
    with show_progress() as show:
        for index, file in enumerate(files):
            if not missing[index]:
                _join(file, force=force)
        done = count - len(rows)
        for index, number in _on_workers(rows, files, work, cluster):
            missing[index].discard(number)
            done += 1
            show(done / count, f"{done:,} of {count:,} shards")
            if not missing[index]:
                _join(files[index], force=force)
    summaries = list(map(_summary, files))
    if work.rejects_file:
        join_rejects([file.rejects(shard) for file in files for shard in file.shards()], work.rejects_file, force=force)
    for file in files:
        shutil.rmtree(file.folder)
    return summaries


def _summary(file: _File) -> Summary:
    records = [read_record(_output(file, shard)) for shard in file.shards()]
    return Summary.total(record.summary for record in records if record is not None)


def _plan(job: Job, reading: ReadOptions) -> _File:
    assert isinstance(job.input, Path) and isinstance(job.output, Path)
    with open_source(job.input, reading) as source:
        size = source.size
        assert size is not None  # a pipe was refused
        shard_bytes = min(max(size // SHARDS, MIN_SHARD_BYTES), MAX_SHARD_BYTES)
        parts = -(-size // shard_bytes) if source.extent is not None else 1
    return _File(job.input.resolve(), job.output.resolve(), max(parts, 1))


def _prepare(file: _File, *, resume: bool, force: bool) -> None:
    """Makes the folder of a file's shards, or finds that of an interrupted run."""
    _refuse_other_folder(file.folder)
    if file.folder.exists() and not resume:
        if not force:
            raise InputError(
                f"{file.output} was not completed: {file.folder.name} has the shards of an interrupted run",
                "Continue it with --resume, or start over with --force.",
            )
        shutil.rmtree(file.folder)
    if not file.joined.exists():
        refuse_existing(file.output, force=force)
    try:
        (file.folder / REJECTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {file.folder}: {error.strerror}") from None


def _refuse_other_folder(folder: Path) -> None:
    """Checks that a folder, which is removed in the end, contains nothing but shards."""
    if os.path.lexists(folder) and not (
        folder.is_dir() and all(one.name in {"joined", REJECTS} or SHARD.search(one.name) for one in folder.rglob("*"))
    ):
        raise InputError(f"{folder} is not the folder of an interrupted run", "Move it, or name another output.")


def _output(file: _File, shard: Shard) -> Path:
    output = file.job(shard).output
    assert isinstance(output, Path)
    return output


def _is_complete(file: _File, shard: Shard, name: str, seal: str, work: Work) -> bool:
    record = read_record(_output(file, shard))
    if record is None:
        return False
    difference = _identity(file, shard, name, seal, work).difference(record.identity, file.input)
    if difference:
        hint = "Use what it was; or start over with --force, without --resume."
        raise InputError(f"{file.output} cannot be continued: {difference}", hint)
    return True


def _join(file: _File, *, force: bool) -> None:
    if not file.joined.exists():
        join(file.folder / file.output.name, file.output, force=force)
        file.joined.touch()


def _on_workers(
    rows: Sequence[Mapping[str, int]], files: Sequence[_File], work: Work, cluster: Cluster
) -> Iterator[tuple[int, int]]:
    """Has the shards scored, and yields the file and the number of each that is complete."""
    if not rows:
        return
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    threads = work.options.threads or 1
    work = replace(work, options=replace(work.options, threads=threads))
    with _connected(ray, cluster.address):
        cores: Any = ray.cluster_resources().get("CPU", 1)
        workers = min(cluster.workers or max(1, int(cores) // threads), len(rows))
        context = DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        data = ray.data.from_items([dict(row) for row in rows], override_num_blocks=len(rows)).map_batches(
            _Worker, fn_constructor_args=(work, files), batch_size=1, compute=ActorPoolStrategy(size=workers),
            num_cpus=threads,
        )  # fmt: skip
        try:
            for row in data.iter_rows():
                if row["error"]:
                    kind = MachineError if row["code"] == MachineError.exit_code else InputError
                    raise kind(row["error"], "\n".join(filter(None, [row["hint"], CONTINUE])))
                yield int(row["index"]), int(row["number"])
        except ray.exceptions.RayError as error:
            raise MachineError(f"Ray: {str(error).strip().splitlines()[0]}", CONTINUE) from None


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connects to a cluster, unless this process is connected already."""
    if ray.is_initialized():
        yield
        return
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        ray.init(
            address=address, include_dashboard=None if address else False, log_to_driver=False, logging_level="ERROR"
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        of_environment = os.environ.get("RAY_ADDRESS")
        if address in {None, "auto"} and of_environment:  # as Ray chooses it
            address = f"{of_environment} (RAY_ADDRESS)"
        what = f"connect to the Ray cluster {address}" if address else "start Ray on this machine"
        raise MachineError(f"cannot {what}: {error}") from None
    try:
        yield
    finally:
        ray.shutdown()
