"""What outputs elsewhere need on this machine."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from toxonnx.errors import InputError
from toxonnx.io.remote import Location, RemotePath

__all__ = ["check_writable", "with_local_folder"]


def with_local_folder(
    outputs: Sequence[Location | None], state_dir: Path | None, *, resume: bool
) -> list[Location | None]:
    """The outputs of a command, with a folder of this machine for those that are elsewhere, until they are uploaded.

    Args:
        outputs: files or folders.
        state_dir: the folder; when None, one that the command removes at its end, unless an output is left in it that
            could not be uploaded.
        resume: whether an interrupted run is to be continued.

    Raises:
        InputError: that is impossible without ``state_dir``; or it cannot be made.
        UsageError: there is a ``state_dir``, but no output that is elsewhere.
    """
    elsewhere = [one for one in outputs if isinstance(one, RemotePath)]
    if not elsewhere:
        if state_dir is not None:
            raise click.UsageError("--state-dir is for outputs that are URLs; a file is written beside its final name")
        return list(outputs)
    if state_dir is not None:
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write {state_dir}: {error.strerror}") from None
        folder = state_dir
    elif resume:
        what = f"--resume needs a folder of this machine for what is written of {elsewhere[0]}"
        raise InputError(what, "Name it with --state-dir DIR, also in the run that may be interrupted.")
    else:
        folder = Path(tempfile.mkdtemp(prefix="toxonnx-"))
        click.get_current_context().call_on_close(lambda: _remove_if_empty(folder))
    return [replace(one, local_folder=folder) if isinstance(one, RemotePath) else one for one in outputs]


def check_writable(outputs: Sequence[Location | None]) -> None:
    """Finds out whether outputs elsewhere can be written, before any work is done for them.

    Raises:
        InputError, MachineError: see :meth:`toxonnx.io.remote.RemotePath.check_writable`.
    """
    for one in outputs:
        if isinstance(one, RemotePath):
            one.check_writable()


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
