"""Output files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
import weakref
from pathlib import Path
from types import TracebackType

from toxonnx.errors import InputError, ToxonnxError
from toxonnx.io.output_file import OutputFile
from toxonnx.io.remote import AnyPath, Location, RemotePath, as_location, exists

__all__ = [
    "AtomicFile",
    "give_name",
    "has_name",
    "is_special",
    "open_locked",
    "partial_path",
    "refuse_existing",
    "sync_folder",
]


def partial_path(path: Location) -> Path:
    """Where an output is written until it is complete, the same for every run: a hidden file next to it, or for one
    elsewhere, a file on this machine."""
    if isinstance(path, RemotePath):
        return path.local(".part")
    return path.with_name(f".{path.name}.part")


class AtomicFile(OutputFile):
    """A file that appears under its name only when it is complete. It is compressed if its name ends in .gz or .zst.

    It is written under :func:`partial_path` and renamed at the end; on any error nothing is left behind, also if the
    ``with`` block is never entered, as when a signal comes in between. The partial file is locked, so that two
    processes never write the same output; one that a killed process left is overwritten. Without ``force`` no file is
    ever replaced, even one that appears while this one is written.
    A path that is not a regular file (a pipe, ``/dev/stdout``, also one that leads to a file) and standard output
    (``None``) are written directly.

    Args:
        path: the file; standard output when None.
        encoding: of its text.
        force: replace the file if it exists.
        size: bytes to keep of the partial file that an earlier process left.
        is_raw: see :class:`toxonnx.io.output_file.OutputFile`.

    Raises:
        InputError: the file exists and ``force`` was not given, at the start or at the end; another process is writing
            it; or its folder cannot be written.
        MachineError: the disk is full, or another write failed; or the package that compresses it is not installed.
    """

    def __init__(
        self,
        path: AnyPath | None,
        *,
        encoding: str = "utf-8",
        force: bool = False,
        size: int = 0,
        is_raw: bool = False,
    ) -> None:
        path = as_location(path) if path is not None else None
        self._force = force
        self._partial: Path | None = None
        self._removal: weakref.finalize[[Path], AtomicFile] | None = None
        is_stream = False
        try:
            if path is None:
                target = sys.stdout.fileno()
            elif isinstance(path, Path) and is_special(path):
                target, is_stream = _open_special(path), True
            else:
                refuse_existing(path, force=force)
                self._partial = partial_path(path)
                is_new = not self._partial.exists()
                try:
                    target = open_locked(self._partial, path)
                    self.is_kept = size > 0
                except (KeyboardInterrupt, SystemExit):  # a signal, before anything else would remove the file
                    if is_new:
                        _unlink(self._partial)
                    raise
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from None
        try:
            super().__init__(path, target, encoding=encoding, size=size, is_raw=is_raw, is_stream=is_stream)
        except BaseException:
            self._remove()
            raise

    @property
    def is_kept(self) -> bool:
        """Whether an error leaves the partial file for another process to continue; at first, if ``size`` is given."""
        return self._removal is None

    @is_kept.setter
    def is_kept(self, value: bool) -> None:
        if self._removal is not None:
            self._removal.detach()
            self._removal = None
        if self._partial is not None and not value:
            self._removal = weakref.finalize(self, _unlink, self._partial)

    def _remove(self) -> None:
        if self._removal is not None:
            self._removal()

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._raw.closed:  # the block was inside another one of this file, and has completed it
            return
        try:
            if kind is None and self._partial is not None and self.path is not None:
                self.finish()
                self.is_kept = True  # if the name is taken by now
                give_name(self._partial, self.path, force=self._force)
            else:
                super().__exit__(kind, error, tb)
        except OSError as failure:
            raise self._write_error(failure) from None
        finally:
            self._remove()
            self.close()


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def refuse_existing(path: Location, *, force: bool) -> None:
    """Checks that an output may be written.

    Raises:
        InputError: it exists, and is not to be replaced.
    """
    if not force and exists(path):
        raise InputError(f"{path} already exists", "Add --force to replace it.")


def give_name(partial: Path, path: Location, *, force: bool) -> None:
    """Gives a complete file its name, while it is still locked: nobody else may open it in between.

    Raises:
        InputError: there is a file of that name, which is not to be replaced; ``partial`` remains.
        MachineError: it cannot be uploaded; ``partial`` remains.
    """
    if isinstance(path, RemotePath):
        refuse_existing(path, force=force)  # unlike a link, this leaves time for another one to appear
        try:
            path.upload(partial)
        except ToxonnxError as error:
            error.hint = "\n".join(filter(None, [error.hint, f"The complete output is {partial}."]))
            raise
        partial.unlink()
        return
    if force:
        os.replace(partial, path)
    else:
        try:
            os.link(partial, path)  # unlike a rename, it fails if the name is taken
        except OSError as error:
            if isinstance(error, FileExistsError) or os.path.lexists(path):
                raise InputError(
                    f"{path} has appeared while it was being written, and was not replaced",
                    f"The complete output is {partial}; move it before the next run.",
                ) from None
            os.replace(partial, path)  # a file system without hard links
        else:
            partial.unlink()
    sync_folder(path.parent)


def has_name(partial: Path, path: Location, size: int) -> bool:
    """Whether a complete file of this size that another process left got its name, also if that process ended before
    the other one was removed."""
    if not path.is_file() or path.stat().st_size != size:
        return False
    return isinstance(path, RemotePath) or not partial.exists() or path.samefile(partial)


def sync_folder(folder: Path) -> None:
    """Puts the names of the files in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_locked(partial: Path, path: Location) -> int:
    """An exclusively locked file; the lock goes when the descriptor is closed, also when the process dies.

    Raises:
        InputError: another process has locked it, as it is writing ``path``.
    """
    while True:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = partial.stat()
            same = os.path.samestat(os.fstat(descriptor), found)
            if same and found.st_nlink > 1:  # killed right after it got its name: the complete file itself
                partial.unlink()
                same = False
        except BlockingIOError:
            os.close(descriptor)
            raise InputError(
                f"another process is writing {path}", "Wait for it to finish, or name another output."
            ) from None
        except FileNotFoundError:
            same = False
        if same:
            return descriptor
        os.close(descriptor)  # its last owner renamed or removed it meanwhile


def is_special(path: Location) -> bool:
    """Whether it is a pipe, a device, or a name of an open file such as ``/dev/stdout``: written directly."""
    if isinstance(path, RemotePath):
        return False
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
    # What /dev/stdout leads to may be a file, but the link must not be replaced.
    parts = Path(os.path.realpath(path.parent)).parts[1:3]
    return not is_file or (parts[:1] in {("dev",), ("proc",)} and parts != ("dev", "shm"))


def _open_special(path: Path) -> int:
    """A descriptor to write to it, behind what is there."""
    folder = os.path.realpath(path.parent)
    number = {"stdout": 1, "stderr": 2}.get(path.name) if folder == "/dev" else None
    if folder in {"/dev/fd", f"/proc/{os.getpid()}/fd"} and path.name.isdecimal():
        number = int(path.name)
    if number is not None:  # opened by its name, a file would be written from its start
        return os.dup(number)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
