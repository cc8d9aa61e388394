"""Files in, files out: what ``toxonnx predict`` does with each, and how it continues an interrupted run."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import click

from toxonnx.cli.progress import show_progress
from toxonnx.errors import InputError, ToxonnxError
from toxonnx.inference.classifier import Classifier
from toxonnx.io.atomic import has_name, is_special, partial_path, refuse_existing
from toxonnx.io.base import ReadOptions, Source, WriteOptions, open_sink, open_source
from toxonnx.io.formats import FORMATS, output_format
from toxonnx.io.input_file import STDIN
from toxonnx.io.joining import write_record
from toxonnx.io.journal import (
    Checkpoint,
    Identity,
    InputIdentity,
    Journal,
    Stage,
    read_state,
    refuse_other_folder,
    remove_state,
    state_folder,
)
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.paths import Job
from toxonnx.io.rejects import RejectLimitError, Rejects
from toxonnx.io.remote import Location, RemotePath, exists
from toxonnx.io.shards import Shard, ShardRange, find_range
from toxonnx.predict import Summary, predict
from toxonnx.texts import TextSpec
from toxonnx.wording import plural

__all__ = [
    "Scoring",
    "Task",
    "TextColumns",
    "divide",
    "find_identity",
    "open_rejects",
    "plan_tasks",
    "remove_states",
    "write_shard_record",
]


class Task(NamedTuple):
    """A file to score.

    Attributes:
        job: its input and output.
        identity: what is scored and how; None if the output cannot be continued.
        checkpoint: where an earlier run got to.
        shard: the records of the input to score; all when None.
    """

    job: Job
    identity: Identity | None
    checkpoint: Checkpoint | None = None
    shard: ShardRange | None = None

    @property
    def is_complete(self) -> bool:
        """Whether an earlier run completed it."""
        return self.checkpoint is not None and self.checkpoint.stage is Stage.COMPLETE


def find_identity(
    job: Job, source: Source[Any], *, resume: bool, state_dir: Path | None = None, audit_stop: bool = False
) -> InputIdentity | None:
    """The identity of an input; None if its scoring cannot be continued.

    Args:
        job: the input and its output.
        source: the input, open.
        resume: whether it is to be continued.
        state_dir: where the state of an output elsewhere is kept; None if it is not.
        audit_stop: whether the model that scores a row depends on the rows before it, which a later run cannot know.

    Raises:
        InputError: it is to be continued, and cannot be.
    """
    if audit_stop or (isinstance(job.output, RemotePath) and state_dir is None):
        return None
    if job.output is None or is_special(job.output):
        if resume:
            raise InputError("--resume needs an output file", "Name it with -o FILE.")
        return None
    if job.input == STDIN or source.size is None:
        if resume:
            raise InputError(f"--resume cannot read {source.name} again", "Save it to a file, and score that.")
        return None
    return InputIdentity.of(job.input)


def divide(
    jobs: Sequence[Job], shard: Shard, reading: ReadOptions, *, is_single: bool
) -> tuple[list[Job], ShardRange | None]:
    """The files of a shard; of a single one, its output and the records that belong to the shard.

    Raises:
        InputError: the output is not a file; or see :func:`toxonnx.io.shards.find_range`.
    """
    if not is_single:
        return list(jobs[shard.number - 1 :: shard.total]), None
    job = jobs[0]
    if job.output is None or is_special(job.output):
        raise InputError("--shard needs an output file", "Name it with -o FILE, the same for all shards.")
    if isinstance(job.output, RemotePath):
        what = f"the shards of a single file are not written to {job.output}, since join reads them on this machine"
        raise InputError(what, "Name a file of this machine; or divide the input into several files.")
    return [Job(job.input, shard.output(job.output))], find_range(job.input, reading, shard)


def write_shard_record(task: Task, shard: Shard, source: Source[Any], writing: WriteOptions, summary: Summary) -> None:
    """Writes the record of the output of a shard, which is complete; see :mod:`toxonnx.io.joining`."""
    assert isinstance(task.job.output, Path) and task.identity is not None
    format_ = writing.format or output_format(task.job.output, source.format)
    write_record(task.job.output, shard, format_, task.identity, summary)


def open_rejects(
    on_error: str, path: Location | None, tasks: Sequence[Task], limit: int | None, *, force: bool
) -> contextlib.AbstractContextManager[Rejects | None]:
    """The list of rejected rows, continued where an earlier run got to; None if they are errors.

    Raises:
        InputError: an earlier run has rejected more than ``limit``; or see :class:`toxonnx.io.rejects.Rejects`.
    """
    if on_error == "fail":
        return contextlib.nullcontext()
    before = sum(task.checkpoint.summary.rejected.total() for task in tasks if task.checkpoint)
    if limit is not None and before > limit:
        what = f"the interrupted run rejected {plural(before, 'row')} already, more than --max-rejects {limit}"
        raise InputError(what, "Allow more; or start over with --force, without --resume.")
    size = max((task.checkpoint.rejects_size for task in tasks if task.checkpoint), default=0)
    if path is not None and all(task.is_complete for task in tasks) and has_name(partial_path(path), path, size):
        path = None  # that run was interrupted after its last step
    return Rejects(path, keep=on_error == "null", limit=limit, force=force, size=size, before=before)


def plan_tasks(jobs: Sequence[Job], identities: Sequence[Identity | None], *, resume: bool, force: bool) -> list[Task]:
    """Finds out where an earlier run got to.

    Raises:
        InputError: it was interrupted, and nothing says whether to continue it; or it was about something else; or an
            output exists.
    """
    tasks = []
    for job, identity in zip(jobs, identities, strict=True):
        task = Task(job, identity)
        if job.output is not None and not is_special(job.output):
            if identity is not None:
                refuse_other_folder(job.output)
            state = None if force and not resume else read_state(job.output)
            if state is not None and state.checkpoint is not None:
                if not resume:
                    _refuse_interrupted(job.output, state.checkpoint)
                difference = identity.difference(state.identity, job.input) if identity else ""
                if difference:
                    hint = "Use what it was; or start over with --force, without --resume."
                    raise InputError(f"{job.output} cannot be continued: {difference}", hint)
                task = task._replace(checkpoint=state.checkpoint)
            if resume and state is None and not force and exists(job.output):
                what = f"{job.output} already exists, and no interrupted run of it was found"
                raise InputError(what, "It is complete; add --force to score its input again.")
            if not task.is_complete:
                refuse_existing(job.output, force=force)
        tasks.append(task)
    return tasks


def _refuse_interrupted(output: Location, checkpoint: Checkpoint) -> None:
    if checkpoint.stage is not Stage.COMPLETE or not exists(output):
        raise InputError(
            f"{output} was not completed: {state_folder(output).name} has the state of an interrupted run, in which "
            f"{plural(checkpoint.summary.rows, 'row is', 'rows are')} done",
            "Continue it with --resume, or start over with --force.",
        )


def _saved(task: Task) -> Checkpoint | None:
    """Where its output can be continued."""
    with contextlib.suppress(InputError):
        state = read_state(task.job.output) if task.identity is not None and task.job.output is not None else None
        return state.checkpoint if state is not None else None
    return None


def remove_states(tasks: Sequence[Task], *, replaced: bool = False) -> None:
    """Forgets the run, which is complete; with ``replaced``, also those of other runs whose outputs it has replaced."""
    for task in tasks:
        if task.job.output is not None and (task.identity is not None or replaced):
            remove_state(task.job.output)


@dataclass(frozen=True)
class TextColumns:
    """How the text of a row is made: the model's specification, and the columns that were asked for."""

    spec: TextSpec
    requested: tuple[str, ...]

    def choose_columns(self, source: Source[Any]) -> tuple[str, ...]:
        """The columns of a source.

        Raises:
            InputError: it has no such columns.
        """
        if FORMATS[source.format].syntax:
            return tuple(source.columns)
        try:
            requested = self.requested if FORMATS[source.format].has_columns else ()
            return self.spec.choose_columns(source.columns, requested)
        except InputError as error:
            raise InputError(f"{source.name}: {error.what}", source.columns_hint or error.hint) from None


@dataclass
class Scoring:
    """Everything that is the same for all files."""

    classifier: Classifier
    text: TextColumns
    added: OutputColumns
    reading: ReadOptions
    writing: WriteOptions
    checkpoint_rows: int
    rejects: Rejects | None = None
    #: of each file that is complete
    summaries: list[Summary] = field(default_factory=list)
    _notes: set[str] = field(default_factory=set)

    def run(self, tasks: Sequence[Task], first: Source[Any], rejects: Rejects | None = None) -> Summary:
        """Scores all files, of which the first is open already.

        Raises:
            InputError, MachineError: see :func:`toxonnx.predict.predict`; with how to continue.
        """
        self.rejects = rejects
        total = Summary()
        sizes = [first.size if len(tasks) == 1 else task.job.input.stat().st_size for task in tasks]
        size_done, number = 0, 0
        with show_progress() as show, _no_garbage_collection():
            try:
                for number, task in enumerate(tasks):

                    def progress(done: Summary, source: Source[Any], size_done: int = size_done) -> None:
                        size = sum(one or 0 for one in sizes)
                        share = min(1.0, (size_done + source.bytes_done(done.position)) / size) if size else None
                        rows, seconds = total.rows + done.rows, total.seconds + done.seconds
                        show(share, f"{plural(rows, 'row')}, {rows / max(seconds, 1e-9):,.0f} rows/s")

                    opened = contextlib.nullcontext(first) if number == 0 else open_source(task.job.input, self.reading)
                    with opened as source:
                        self.summaries.append(self._score(source, task, progress))
                    total.add(self.summaries[-1])
                    size_done += sizes[number] or 0
            except BaseException as error:
                self._explain(error, tasks, number)
                raise
        return total

    def _explain(self, error: BaseException, tasks: Sequence[Task], done: int) -> None:
        """Adds to an error what is complete and how to continue, and removes what is of no use."""
        if isinstance(error, RejectLimitError):
            remove_states(tasks)
        saved = [_saved(task) for task in (tasks[0], tasks[done])]
        lines = []
        if len(tasks) > 1:
            lines.append(f"The outputs of {done} of {len(tasks)} files are complete.")
        if saved[1] is not None:
            at = tasks[done].job.output
            lines.append(f"{plural(saved[1].summary.rows, f'row of {at} is', f'rows of {at} are')} done.")
        if any(saved):
            lines[-1] += " The same command with --resume continues."
        elif self.rejects is not None:
            self.rejects.discard()
        if not lines:
            return
        if isinstance(error, ToxonnxError):
            error.hint = "\n".join(filter(None, [error.hint, *lines]))
        else:
            error.add_note("\n".join(lines))

    def _score(self, source: Source[Any], task: Task, progress: Callable[[Summary, Source[Any]], None]) -> Summary:
        """Scores one file."""
        output = task.job.output
        if isinstance(output, Path):
            output.parent.mkdir(parents=True, exist_ok=True)
        if output is None or task.identity is None:
            return self._predict(source, output, self.writing, progress=progress)
        with Journal(output, task.identity, task.checkpoint) as journal:
            before = journal.checkpoint
            if before is not None and before.stage is Stage.COMPLETE:
                journal.give_name(force=self.writing.force)
                return before.summary
            shard = task.shard
            if before is not None and before.stage is Stage.SCORING:
                source.seek(before.position)
            elif shard is not None and shard.start is not None:
                source.seek(shard.start)
            has_start = shard is None or shard.start is None
            writing = replace(self.writing, partial=journal.partial, has_start=has_start)
            try:
                summary = self._predict(source, output, writing, journal, shard, progress=progress)
            except InputError:  # the same input fails again
                journal.discard()
                raise
            journal.give_name(force=self.writing.force)
            return summary

    def _predict(
        self,
        source: Source[Any],
        output: Location | None,
        writing: WriteOptions,
        journal: Journal | None = None,
        shard: ShardRange | None = None,
        *,
        progress: Callable[[Summary, Source[Any]], None],
    ) -> Summary:
        columns = self.text.choose_columns(source)
        # A request contains the whole text, which the server scores without a template.
        spec = TextSpec() if FORMATS[source.format].syntax else self.text.spec
        with open_sink(output, source, self.added, writing) as sink:
            if not self.text.requested:
                self._note(f"reading the text from {', '.join(map(repr, columns))}")
            if not self.reading.has_header:
                self._note(f"the columns added are {', '.join(sink.columns)}")
            try:
                return predict(
                    self.classifier,
                    source,
                    sink,
                    spec,
                    columns,
                    rejects=self.rejects,
                    checkpoint_rows=self.checkpoint_rows,
                    journal=journal,
                    shard=shard,
                    progress=lambda done: progress(done, source),
                )
            except InputError as error:
                if output is None:
                    error.hint += "\nThe output on standard output is incomplete."
                raise

    def _note(self, message: str) -> None:
        if message not in self._notes:
            self._notes.add(message)
            click.echo(message, err=True)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """The rows in flight contain no reference cycles, and searching them for some takes a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
