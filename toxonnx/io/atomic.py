"""Output files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import IO

from toxonnx.disk import FULL_DISK
from toxonnx.errors import InputError, MachineError
from toxonnx.io.compression import compress, compression_of_name

__all__ = ["BUFFER_BYTES", "AtomicFile", "partial_path"]

#: each system call lets another thread run, and costs more than it reads or writes
BUFFER_BYTES = 1 << 20


def partial_path(path: Path) -> Path:
    """Where an output is written until it is complete: a hidden file next to it, the same for every run."""
    return path.with_name(f".{path.name}.part")


class AtomicFile:
    """A file that appears under its name only when it is complete. It is compressed if its name ends in .gz or .zst.

    It is written under :func:`partial_path` and renamed at the end; on any error nothing is left behind. The partial
    file is locked, so that two processes never write the same output; one that a killed process left is overwritten.
    Without ``force`` no file is ever replaced, even one that appears while this one is written.
    A path that is not a regular file (a pipe, ``/dev/stdout``) and standard output (``None``) are written directly.

    Raises:
        InputError: the file exists and ``force`` was not given, at the start or at the end; another process is writing
            it; or its folder cannot be written.
        MachineError: the disk is full, or another write failed; or the package that compresses it is not installed.
    """

    def __init__(self, path: str | Path | None, *, encoding: str = "utf-8", force: bool = False) -> None:
        self.path = Path(path) if path is not None else None
        self._force = force
        self._partial: Path | None = None
        compression = compression_of_name(self.path) if self.path else ""
        if compression:
            compress(io.BytesIO(), compression)  # before anything is written: is its package there?
        try:
            if self.path is None:
                target: int | Path = sys.stdout.fileno()
            elif _is_special(self.path):
                target = self.path
            else:
                self._refuse_existing(self.path)
                target = _open_locked(partial_path(self.path), self.path)
                self._partial = partial_path(self.path)
            # Only files get the large buffer: programs that read from a pipe should not have to wait.
            buffering = -1 if self._partial is None else BUFFER_BYTES
            self._raw: IO[bytes] = open(target, "wb", buffering, closefd=self.path is not None)  # noqa: SIM115
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}") from None
        self._binary = compress(self._raw, compression) if compression else self._raw
        self._text = io.TextIOWrapper(self._binary, encoding, newline="", line_buffering=self._raw.isatty())

    def _refuse_existing(self, path: Path) -> None:
        if os.path.lexists(path) and not self._force:
            raise InputError(f"{path} already exists", "Add --force to replace it.")

    def write(self, text: str) -> None:
        """Appends text as it is, without translating line ends."""
        try:
            self._text.write(text)
        except UnicodeEncodeError as error:
            raise InputError(
                f"{error.object[error.start]!r} cannot be written in {error.encoding}",
                "Convert the file to UTF-8 first: the output has the encoding of the input.",
            ) from None
        except OSError as error:
            raise self._write_error(error) from None

    def write_bytes(self, data: bytes) -> None:
        """Appends bytes; not to be mixed with text."""
        try:
            self._binary.write(data)
        except OSError as error:
            raise self._write_error(error) from None

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self._text.flush()
            if self._binary is not self._raw:
                self._binary.close()
            self._raw.flush()
            if self._partial is not None and kind is None:
                os.fsync(self._raw.fileno())
                self._commit(self._partial, self.path or self._partial)
                self._partial = None
        except OSError as failure:
            if kind is None:
                raise self._write_error(failure) from None
        finally:
            if self._partial is not None:
                self._partial.unlink(missing_ok=True)
            for file in (self._text, self._raw):
                with contextlib.suppress(OSError):  # what the flush could not write is reported already
                    file.close()

    def _commit(self, partial: Path, path: Path) -> None:
        """Gives the file its name while it is still locked: nobody else may open it in between."""
        if self._force:
            os.replace(partial, path)
            return
        try:
            os.link(partial, path)  # unlike a rename, it fails if the name is taken
        except OSError as error:
            if isinstance(error, FileExistsError) or os.path.lexists(path):
                self._partial = None  # kept: it is the work of the whole run
                raise InputError(
                    f"{path} has appeared while it was being written, and was not replaced",
                    f"The complete output is {partial}; move it before the next run.",
                ) from None
            os.replace(partial, path)  # a file system without hard links
        else:
            partial.unlink()

    def _write_error(self, error: OSError) -> Exception:
        if isinstance(error, BrokenPipeError):
            return error
        full = error.errno in FULL_DISK
        reason = "the disk is full" if full else "it is closed" if error.errno == errno.EBADF else str(error.strerror)
        left = "Nothing was left under that name" if self._partial else "The output is incomplete"
        hint = f"{left}; free some space and run the command again." if full else ""
        return MachineError(f"cannot write {self.path or 'standard output'}: {reason}", hint)


def _open_locked(partial: Path, path: Path) -> int:
    """An empty, exclusively locked file; the lock goes when the descriptor is closed, also when the process dies."""
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
            os.ftruncate(descriptor, 0)
            return descriptor
        os.close(descriptor)  # its last owner renamed or removed it meanwhile


def _is_special(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
