"""What ``toxonnx predict --manifest`` writes: what was scored with what, in JSON for programs."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from toxonnx.bundle import Bundle
from toxonnx.cli.predict_files import Task
from toxonnx.io.atomic import AtomicFile
from toxonnx.io.remote import Location
from toxonnx.io.summary import Summary
from toxonnx.records import to_json
from toxonnx.system import runtime_versions

__all__ = ["Counts", "FileEntry", "RunManifest", "write_manifest"]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Rows: ``read`` are those ``scored`` and those ``rejected``; the others are as in :class:`Summary`."""

    read: int
    scored: int
    rejected: Mapping[str, int]
    truncated: int
    no_tokens: int
    repaired: int
    cached: int
    review: int
    labels: Mapping[str, int]

    @classmethod
    def of(cls, summary: Summary) -> Counts:
        """Those of a summary."""
        return cls(
            read=summary.rows + summary.rejected.total(),
            scored=summary.rows,
            rejected=dict(summary.rejected),
            truncated=summary.truncated,
            no_tokens=summary.no_tokens,
            repaired=summary.repaired,
            cached=summary.cached,
            review=summary.review,
            labels=dict(summary.labels),
        )


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One input and its output; sizes in bytes, None for pipes, and for the name of standard output."""

    input: str
    input_bytes: int | None
    output: str | None
    output_bytes: int | None
    rows: Counts

    @classmethod
    def of(cls, task: Task, summary: Summary) -> FileEntry:
        """That of a file that was scored."""
        source, output = task.job
        return cls(
            input=str(source),
            input_bytes=_size(source),
            output=None if output is None else str(output),
            output_bytes=_size(output),
            rows=Counts.of(summary),
        )


@dataclass(frozen=True, kw_only=True)
class RunManifest:
    """A run of ``toxonnx predict``.

    Attributes:
        bundle: its name, and ``seal``, which identifies it.
        versions: of toxonnx, ONNX Runtime and Python.
        options: those given, by name.
        resumed: whether it continued an interrupted run. Counts and ``seconds`` are those of both.
        started, ended: of this process, ISO 8601 in UTC.
        seconds: reading, scoring and writing, without loading the model.
        rows_per_second: rows scored in these.
        rows: of all files.
        files: each of them, in order.
    """

    bundle: Mapping[str, str]
    versions: Mapping[str, str]
    options: Mapping[str, str]
    resumed: bool
    started: str
    ended: str
    seconds: float
    rows_per_second: float
    rows: Counts
    files: Sequence[FileEntry]


def write_manifest(
    file: AtomicFile,
    bundle: Bundle,
    options: Mapping[str, str],
    started: datetime,
    scored: Sequence[tuple[Task, Summary]],
) -> None:
    """Writes the manifest of a run that is complete."""
    total = Summary.total(summary for _, summary in scored)
    manifest = RunManifest(
        bundle={"name": bundle.manifest.name, "seal": bundle.seal},
        versions={**runtime_versions(), "python": platform.python_version()},
        options=options,
        resumed=any(task.checkpoint is not None for task, _ in scored),
        started=started.isoformat(timespec="milliseconds"),
        ended=datetime.now(UTC).isoformat(timespec="milliseconds"),
        seconds=round(total.seconds, 3),
        rows_per_second=round(total.rows / total.seconds, 1) if total.seconds else 0.0,
        rows=Counts.of(total),
        files=[FileEntry.of(task, summary) for task, summary in scored],
    )
    file.write(to_json(asdict(manifest)))


def _size(path: Location | None) -> int | None:
    return path.stat().st_size if path is not None and path.is_file() else None
