"""Report files of a verb: opened before the work, so that a path that cannot be written is known at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from toxonnx.errors import InputError
from toxonnx.io.atomic import AtomicFile

__all__ = ["open_outputs"]


@contextlib.contextmanager
def open_outputs(
    paths: Mapping[str, Path | None], *, reads: Sequence[Path | None] = (), force: bool = False
) -> Iterator[dict[str, AtomicFile]]:
    """The files to write, by option; they appear under their names when the block ends well.

    Args:
        paths: option -> path, or None where it was not given.
        reads: files that the verb reads, which no report may replace.
        force: replace files that exist.

    Raises:
        InputError: two options name one file, one names a file that is read, or it cannot be written.
    """
    given = {option: path for option, path in paths.items() if path is not None}
    taken = {path.resolve(): "a file that is read" for path in reads if path is not None}
    for option, path in given.items():
        if path.resolve() in taken:
            raise InputError(f"{option} {path} is {taken[path.resolve()]}", "Name another file.")
        taken[path.resolve()] = f"the file of {option} too"
    with contextlib.ExitStack() as stack:
        yield {option: stack.enter_context(AtomicFile(path, force=force)) for option, path in given.items()}
