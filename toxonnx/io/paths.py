"""Several inputs and where their outputs go: files, patterns and folders in, one folder out."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from toxonnx.errors import InputError
from toxonnx.io.atomic import is_special
from toxonnx.io.compression import compression_of_name, without_suffix
from toxonnx.io.formats import FORMATS, format_of_name, output_format, syntax_of
from toxonnx.io.input_file import STDIN, is_pipe
from toxonnx.io.remote import Location, RemotePath, exists

__all__ = ["Job", "plan_jobs"]


class Job(NamedTuple):
    """One input and its output; None is standard output."""

    input: Location
    output: Location | None


class _Found(NamedTuple):
    """An input, and its path below the output folder."""

    path: Location
    relative: Path


def plan_jobs(
    inputs: Sequence[Location],
    output: Location | None,
    *,
    into_folder: bool = False,
    input_format: str | None = None,
    wanted_format: str | None = None,
    force: bool = False,
) -> list[Job]:
    """Finds the files to read, and names those to write.

    A single file goes to ``output``, also if that is a folder or, with ``into_folder``, is to be one. Several files, a
    pattern or a folder go to the folder ``output``, under the same names: those of files, and those below the fixed
    part of a pattern or below a folder. A file that changes its format gets the suffix of the new one.

    Args:
        inputs: files, patterns such as ``logs/*.csv``, and folders; ``-`` is standard input.
        output: a file or a folder; standard output when None.
        into_folder: whether ``output`` is a folder, also where there is none yet.
        input_format: see :class:`toxonnx.io.base.ReadOptions`; without it, a folder's files of unknown suffix are
            left out, and always hidden ones and those whose names start with an underscore.
        wanted_format, force: ``format`` and ``force`` of :class:`toxonnx.io.base.WriteOptions`.

    Raises:
        InputError: there is no file, no folder to write to, an output exists or is an input, two have the same name, or
            one of several inputs is a pipe.
    """
    found = [one for path in inputs for one in _find(path, input_format)]
    if len(inputs) == 1 and found[0].path == inputs[0] and not (output and (into_folder or output.is_dir())):
        if output and not is_special(output) and output.resolve() == inputs[0].resolve():
            raise InputError(f"{output} would replace the file that is read", "Name another file.")
        return [Job(inputs[0], output)]
    if output is None:
        raise InputError("several files need a folder to be written to", "Name it with -o FOLDER.")
    if not output.is_dir() and (output.is_file() if isinstance(output, RemotePath) else output.exists()):
        raise InputError(
            f"{output} is not a folder", "Several files need a folder, and so does an output that ends in /."
        )
    if any(one.path == STDIN for one in found):
        raise InputError("standard input has no name below a folder", "Score it by itself, with -o FILE.")
    pipe = next((one.path for one in found if is_pipe(one.path)), None)
    if pipe is not None and len(found) > 1:  # all inputs are opened once before the first is scored
        raise InputError(f"{pipe} is a pipe, which can only be read once", "Score it by itself, with -o FILE.")
    jobs = [Job(one.path, output / _output_name(one.relative, input_format, wanted_format)) for one in found]
    searched = [path if path.is_dir() else _searched(path) for path in inputs]
    _refuse_clashes(jobs, [folder for folder in searched if folder is not None], output, force=force)
    return jobs


def _find(path: Location, input_format: str | None) -> Iterator[_Found]:
    if path.is_dir():
        files = [one for one in _files_below(path) if input_format or format_of_name(one.path)]
        if not files:
            suffixes = ", ".join(suffix for one in FORMATS.values() for suffix in one.suffixes)
            raise InputError(f"{path} has no files to score", f"Their names must end in {suffixes}; or --input-format.")
        yield from files
    elif glob.has_magic(str(path)) and not exists(path):
        files = _matches(path)
        if not files:
            raise InputError(f"no file matches {path}")
        yield from files
    else:
        yield _Found(path, Path(path.name))


def _files_below(folder: Location) -> list[_Found]:
    """Its files, also in folders inside, without those that tools hide from each other."""
    if isinstance(folder, RemotePath):
        below = [_Found(*one) for one in folder.files_below()]
        return [one for one in below if not any(part.startswith((".", "_")) for part in one.relative.parts)]
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        found += [Path(parent) / name for name in names if not name.startswith((".", "_"))]
    return [_Found(one, one.relative_to(folder)) for one in sorted(found)]


def _matches(pattern: Location) -> list[_Found]:
    """The files that match a pattern, without hidden ones."""
    if isinstance(pattern, RemotePath):
        matches = [_Found(*one) for one in pattern.matches()]
        return [one for one in matches if not any(part.startswith(".") for part in one.relative.parts)]
    root = Path(*_fixed_parts(pattern))
    names = glob.glob(str(pattern), recursive=True)  # noqa: PTH207  (Path.glob finds hidden files, too)
    return [_Found(one, one.relative_to(root)) for one in sorted(map(Path, names)) if one.is_file()]


def _fixed_parts(pattern: Path) -> Iterator[str]:
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            return
        yield part


def _searched(path: Location) -> Location | None:
    """The folder below which a pattern with ``**`` finds files at any depth, outputs of an earlier run among them."""
    if isinstance(path, RemotePath):
        return path.fixed_part() if "**" in path.url else None
    return Path(*_fixed_parts(path)) if "**" in path.parts and not exists(path) else None


def _output_name(name: Path, input_format: str | None, wanted: str | None) -> Path:
    """The name with the suffix of the format that is written, if that is another one than is read."""
    of_name = format_of_name(name)
    read = input_format or of_name
    written = wanted or (output_format(None, read) if read else None)
    if written is None or syntax_of(written) == (of_name or (read and syntax_of(read))):
        return name
    compression = name.suffix if compression_of_name(name) and written != "parquet" else ""
    plain = without_suffix(name)
    stem = plain.with_suffix("") if of_name else plain
    return stem.with_name(f"{stem.name}{FORMATS[syntax_of(written)].suffixes[0]}{compression}")


def _refuse_clashes(jobs: Sequence[Job], folders: Sequence[Location], output: Location, *, force: bool) -> None:
    target = output.resolve()
    for folder in folders:
        if folder.resolve() in {target, *target.parents}:
            raise InputError(f"the output folder {output} is inside {folder}, which is read", "Name another folder.")
    by_output: dict[Location, Location] = {}
    inputs = {job.input.resolve() for job in jobs}
    for job in jobs:
        assert job.output is not None
        if job.output in by_output:
            raise InputError(
                f"{by_output[job.output]} and {job.input} would both be written to {job.output}",
                "Rename one; or give their folder, or a quoted pattern, to keep the folders inside it.",
            )
        if job.output.resolve() in inputs:
            raise InputError(f"{job.output} would replace a file that is read", "Name another folder.")
        if not force and exists(job.output):
            raise InputError(f"{job.output} already exists", "Add --force to replace it.")
        by_output[job.output] = job.input
