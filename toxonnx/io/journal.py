"""The state of an output that is being written: what another process needs to continue after a crash.

It is a folder next to the output, ``OUT.part`` (for an output elsewhere, one of this machine), with the partial output
and a journal: one line that says what is scored and how, and one per checkpoint, which is written when everything that
it refers to is on the disk. A line that a crash has cut is ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from toxonnx.disk import why_full
from toxonnx.errors import InputError, MachineError, ToxonnxError
from toxonnx.io.atomic import give_name, has_name, open_locked, sync_folder
from toxonnx.io.base import Partial, Position
from toxonnx.io.remote import Location, RemotePath
from toxonnx.io.summary import Summary

__all__ = [
    "Checkpoint",
    "Identity",
    "InputIdentity",
    "Journal",
    "Stage",
    "State",
    "read_state",
    "refuse_other_folder",
    "remove_state",
    "state_folder",
]

_VERSION = 1
#: bytes of an input that are hashed
_START_BYTES = 1 << 20


class Stage(StrEnum):
    """How far an output is."""

    SCORING = "scoring"
    SCORED = "scored"  # all rows are in the partial output
    COMPLETE = "complete"  # the output has its name, or only lacks that


@dataclass(frozen=True)
class InputIdentity:
    """What tells an input from another one.

    Attributes:
        size: its bytes.
        modified: when it was last modified, in nanoseconds.
        start: sha256 of its first MiB.
    """

    size: int
    modified: int
    start: str

    @classmethod
    def of(cls, path: Location) -> InputIdentity:
        """That of a file.

        Raises:
            MachineError: it cannot be read.
        """
        try:
            with io.BufferedReader(path.open()) if isinstance(path, RemotePath) else open(path, "rb") as file:
                found = path.stat()
                return cls(found.st_size, found.st_mtime_ns, hashlib.sha256(file.read(_START_BYTES)).hexdigest())
        except OSError as error:
            raise MachineError(f"cannot read {path}: {error.strerror}") from None


@dataclass(frozen=True)
class Identity:
    """All that decides which bytes the output has.

    Attributes:
        input: the input.
        bundle: name of the bundle.
        seal: its sha256, see :class:`toxonnx.bundle.Bundle`.
        options: what else matters, by the names that users know.
    """

    input: InputIdentity
    bundle: str
    seal: str
    options: Mapping[str, str]

    def difference(self, before: Identity, name: object) -> str:
        """What is not as it was, in words; empty if nothing is. ``name`` is that of the input."""
        if self.seal != before.seal:
            old, new = (f"{one.bundle} (sha256 {one.seal[:12]})" for one in (before, self))
            return f"the bundle changed: it was {old} and is {new}"
        if self.input != before.input:
            parts = {"size": "size", "modified": "time of modification", "start": "content"}
            changed = [words for key, words in parts.items() if getattr(self.input, key) != getattr(before.input, key)]
            return f"the input {name} changed (its {' and '.join(changed)})"
        names = [key for key in {**before.options, **self.options} if self.options.get(key) != before.options.get(key)]
        if names:
            old, new = (one.options.get(names[0], "not given") for one in (before, self))
            others = f"; so did {', '.join(names[1:])}" if names[1:] else ""
            return f"{names[0]} changed: it was {old} and is {new}{others}"
        return ""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A place from which an output can be continued.

    Attributes:
        position: where the source continues.
        size: bytes of the partial output, or of the complete one.
        rejects_size: bytes of the file of rejects, over all files of the command; 0 without one.
        summary: counts so far.
        stage: how far the output is.
    """

    position: Position
    size: int
    rejects_size: int
    summary: Summary
    stage: Stage = Stage.SCORING


class State(NamedTuple):
    """What a journal contains; without a checkpoint, no row is done."""

    identity: Identity
    checkpoint: Checkpoint | None


def state_folder(output: Location) -> Path:
    """The folder with the state of an output."""
    if isinstance(output, RemotePath):
        return output.local(".state")
    return output.with_name(f"{output.name}.part")


class _Paths(NamedTuple):
    folder: Path
    journal: Path
    data: Path

    @classmethod
    def of(cls, output: Location) -> _Paths:
        folder = state_folder(output)
        return cls(folder, folder / "journal.jsonl", folder / "data")

    def remove_all(self) -> None:
        """Removes the state, as far as that is possible."""
        with contextlib.suppress(OSError):
            self.remove_partial()
            self.journal.unlink()  # last: without it, the rest would not be recognized
            self.folder.rmdir()

    def remove_partial(self) -> None:
        """Removes what is written of the output, and nothing that somebody else has put there."""
        for name in ("data", "rows"):
            (self.folder / name).unlink(missing_ok=True)


def refuse_other_folder(output: Location) -> None:
    """Checks that the folder of the state is free, or has a state.

    Raises:
        InputError: there is something else in its place.
    """
    paths = _Paths.of(output)
    if not os.path.lexists(paths.folder) or paths.journal.is_file():
        return
    if not paths.folder.is_dir() or any(paths.folder.iterdir()):
        raise InputError(f"{paths.folder} is not the state of an interrupted run", "Move it, or name another output.")


def read_state(output: Location) -> State | None:
    """The state that an earlier process left; None if there is none.

    Raises:
        InputError: another process is writing the output, another version of toxonnx wrote the state, or there is
            something else in its place.
    """
    paths = _Paths.of(output)
    refuse_other_folder(output)
    if not paths.journal.is_file():
        return None
    with _errors(paths.folder), open(open_locked(paths.journal, output), "rb") as file:
        tables = [json.loads(line) for line in _lines(file.read())]
    if not tables:
        return None
    try:
        if tables[0]["version"] != _VERSION:
            raise InputError(
                f"{paths.folder} was written by another version of toxonnx",
                "Start over with --force, without --resume.",
            )
        checkpoint = _checkpoint(tables[-1]) if len(tables) > 1 else None
        identity = tables[0]["identity"]
        return State(Identity(**{**identity, "input": InputIdentity(**identity["input"])}), checkpoint)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(f"{paths.journal} is damaged", "Start over with --force, without --resume.") from None


def _lines(content: bytes) -> list[bytes]:
    """The lines, up to the first one that is not complete."""
    lines: list[bytes] = []
    for line in content.splitlines(keepends=True):
        try:
            table = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n") or not isinstance(table, dict) or not table.keys() & {"version", "stage"}:
            break
        lines.append(line)
    return lines


def _checkpoint(table: dict[str, Any]) -> Checkpoint:
    return Checkpoint(
        position=Position(*table["position"]),
        size=int(table["size"]),
        rejects_size=int(table["rejects_size"]),
        summary=Summary.from_plain(table["summary"]),
        stage=Stage(table["stage"]),
    )


def remove_state(output: Location) -> None:
    """Removes the state of an output, if there is any and no other process is writing it."""
    paths = _Paths.of(output)
    if paths.journal.is_file():
        with contextlib.suppress(OSError, InputError), open(open_locked(paths.journal, output), "rb"):
            paths.remove_all()


class Journal:
    """Writes the state of an output, of which it holds a lock. Leaving the ``with`` block releases that, and leaves the
    state behind if there is a checkpoint.

    Args:
        output: the file that is written.
        identity: what is scored, and how.
        checkpoint: where an earlier process got to; None starts anew.

    Attributes:
        partial: where the output is written until it is complete.
        checkpoint: the last one.

    Raises:
        InputError: another process is writing the output, its folder cannot be written, or there is something else in
            the place of the state.
        MachineError: the disk is full.
    """

    def __init__(self, output: Location, identity: Identity, checkpoint: Checkpoint | None = None) -> None:
        self._output, self._paths = output, _Paths.of(output)
        self.checkpoint = checkpoint
        self._is_synced = False
        refuse_other_folder(output)
        try:
            with _errors(output):
                self._paths.folder.mkdir(exist_ok=True)
                self._file = open(open_locked(self._paths.journal, output), "r+b", buffering=0)  # noqa: SIM115  (_close)
        except BaseException:
            with contextlib.suppress(OSError):
                self._paths.folder.rmdir()  # unless another process has written to it
            raise
        try:
            with _errors(output):
                self._start(identity)
        except BaseException:
            self._close()
            raise
        self.partial = Partial(self._paths.data, checkpoint.size if checkpoint else 0)

    def _start(self, identity: Identity) -> None:
        if self.checkpoint is None:
            self._paths.remove_partial()  # not truncated: the output may be a hard link to it
            self._file.truncate()
            self._append({"version": _VERSION, "identity": asdict(identity)})
        else:
            kept = sum(map(len, _lines(self._file.readall())))
            self._file.truncate(kept)
            self._file.seek(kept)

    def append(self, checkpoint: Checkpoint) -> None:
        """Adds a checkpoint; what it refers to must be on the disk.

        Raises:
            MachineError: it cannot be written; the one before it remains.
        """
        with _errors(self._output, MachineError):
            self._append({**vars(checkpoint), "summary": vars(checkpoint.summary)})
            os.fsync(self._file.fileno())
            if not self._is_synced:
                sync_folder(self._paths.folder)
                sync_folder(self._paths.folder.parent)
                self._is_synced = True
        self.checkpoint = checkpoint

    def _append(self, table: Mapping[str, Any]) -> None:
        line = json.dumps(table).encode() + b"\n"
        written = 0
        while written < len(line):  # a disk that is full takes what fits, and refuses the rest
            written += self._file.write(line[written:])

    def discard(self) -> None:
        """Forgets the checkpoints."""
        self.checkpoint = None

    def give_name(self, *, force: bool) -> None:
        """Gives the partial output, which is complete and on the disk, its name, unless it has it already.

        Raises:
            InputError: there is such a file, and it is not to be replaced; or what had that name was changed.
            MachineError: it cannot be written.
        """
        last, data = self.checkpoint, self._paths.data
        assert last is not None
        with _errors(self._output, MachineError):
            if last.stage is not Stage.COMPLETE or not has_name(data, self._output, last.size):
                if last.stage is Stage.COMPLETE and not data.exists():
                    raise InputError(
                        f"{self._output}, which an interrupted run completed, was changed or removed since",
                        "Start over with --force, without --resume.",
                    )
                size = data.stat().st_size
                self.append(Checkpoint(**{**vars(last), "size": size, "stage": Stage.COMPLETE}))
                give_name(data, self._output, force=force)
            self._paths.remove_partial()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        if self.checkpoint is None:  # nothing is lost
            self._paths.remove_all()
        self._file.close()


@contextlib.contextmanager
def _errors(path: Location, kind: type[ToxonnxError] = InputError) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if full := why_full(error):
            raise MachineError(f"cannot write {path}: {full}") from None
        raise kind(f"cannot write {path}: {error.strerror}") from None
