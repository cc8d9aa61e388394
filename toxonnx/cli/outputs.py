"""Report files of a command, opened before the work starts, so that a path that cannot be written is found at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from toxonnx.errors import InputError
from toxonnx.io.atomic import AtomicFile
from toxonnx.io.remote import Location

__all__ = ["open_outputs"]


@contextlib.contextmanager
def open_outputs(
    paths: Mapping[str, Location | None], *, inputs: Sequence[Location | None] = (), force: bool = False
) -> Iterator[dict[str, AtomicFile]]:
    """Opens the files to write; they appear under their names if the block succeeds, and one that has a ``with`` block
    of its own inside as soon as that ends.

    Args:
        paths: option -> path, or None if it was not given.
        inputs: files that the command reads, which no output may replace.
        force: replace files that exist.

    Yields:
        Option -> open file, for the options that were given.

    Raises:
        InputError: two options name the same file, one names an input, or it cannot be written.
    """
    given = {option: path for option, path in paths.items() if path is not None}
    taken = {path.resolve(): "an input of this command" for path in inputs if path is not None}
    for option, path in given.items():
        if path.resolve() in taken:
            raise InputError(f"{option} {path} is {taken[path.resolve()]}", "Use another file name.")
        taken[path.resolve()] = f"also the file of {option}"
    with contextlib.ExitStack() as stack:
        yield {option: stack.enter_context(AtomicFile(path, force=force)) for option, path in given.items()}
