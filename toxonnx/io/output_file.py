"""Outputs as streams of text or bytes that can be continued at a checkpoint, compressed if named .gz or .zst."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import IO

from toxonnx.disk import why_full
from toxonnx.errors import InputError, MachineError
from toxonnx.io.compression import compress, compression_of_name
from toxonnx.io.remote import Location

__all__ = ["BUFFER_BYTES", "OutputFile"]

#: each system call lets another thread run, and costs more than it reads or writes
BUFFER_BYTES = 1 << 20


class OutputFile:
    """A file to write. Leaving the ``with`` block without an error puts it on the disk.

    Args:
        path: how errors call it, None for standard output; it is compressed if this name ends in .gz or .zst.
        target: a file, or the descriptor of one that is open; standard output's stays open.
        encoding: of its text.
        size: bytes to keep of what an earlier process wrote: up to a :meth:`checkpoint`.
        is_raw: what is written is compressed already; the ending of the name does not count.
        is_stream: it is written where it is, as a pipe is, also if it is a file.

    Attributes:
        is_new: whether it was empty when it was opened.

    Raises:
        InputError: it is shorter than ``size``, or its descriptor cannot be written.
        MachineError: it cannot be opened; the disk is full, or another write failed; or the package that compresses it
            is not installed.
    """

    def __init__(
        self,
        path: Location | None,
        target: int | Path,
        *,
        encoding: str = "utf-8",
        size: int = 0,
        is_raw: bool = False,
        is_stream: bool = False,
    ) -> None:
        self.path, self.is_new = path, size == 0
        self._compression = compression_of_name(path) if path and not is_raw else ""
        if self._compression:
            compress(io.BytesIO(), self._compression)  # before anything is written: is its package there?
        is_named = isinstance(target, Path)
        try:
            if isinstance(target, Path):
                target = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._is_file = path is not None and not is_stream and stat.S_ISREG(os.fstat(target).st_mode)
            # Only files get the large buffer: programs that read from a pipe should not have to wait.
            buffering = BUFFER_BYTES if self._is_file else -1
            self._raw: IO[bytes] = open(target, "wb", buffering, closefd=path is not None)  # noqa: SIM115  (close)
            if self._is_file:
                self._cut(size)
        except OSError as error:
            # A name is that of a file in the folder of the state, which could be written: the machine fails.
            kind = MachineError if is_named else InputError
            raise kind(f"cannot write {path or 'standard output'}: {error.strerror}") from None
        self._is_terminal = self._raw.isatty()
        self._encoder = codecs.getincrementalencoder(encoding)()
        self._encoding = encoding
        #: what is compressed since the last checkpoint
        self._member: IO[bytes] | None = None

    def _cut(self, size: int) -> None:
        found = os.fstat(self._raw.fileno()).st_size
        if found < size:
            self._raw.close()
            raise InputError(
                f"what an interrupted run wrote of {self.path} has {found:,} bytes, and had {size:,}",
                "Start over with --force, without --resume.",
            )
        self._raw.truncate(size)
        self._raw.seek(size)

    def write(self, text: str) -> None:
        """Appends text as it is, without translating line ends."""
        try:
            data = self._encoder.encode(text)
        except UnicodeEncodeError as error:
            raise InputError(
                f"{error.object[error.start]!r} cannot be written in {self._encoding}",
                "Convert the file to UTF-8 first: the output has the encoding of the input.",
            ) from None
        self.write_bytes(data)

    def write_bytes(self, data: bytes) -> None:
        """Appends bytes."""
        try:
            if self._compression and self._member is None and data:
                self._member = compress(self._raw, self._compression)
            (self._member or self._raw).write(data)
            if self._is_terminal:
                self._raw.flush()
        except OSError as error:
            raise self._write_error(error) from None

    def checkpoint(self) -> int:
        """Puts all that was written on the disk, and ends the gzip member or zstd frame.

        Returns:
            The size of the file, from which another process can continue; 0 for a pipe.
        """
        try:
            self._end_member()
            self._raw.flush()
            if not self._is_file:
                return 0
            os.fsync(self._raw.fileno())
            return self._raw.tell()
        except OSError as error:
            raise self._write_error(error) from None

    def _end_member(self) -> None:
        if self._member is not None:
            self._member.close()
            self._member = None

    def finish(self) -> None:
        """Puts all that was written on the disk. Nothing may be written after that."""
        if self._compression and self._member is None and self.is_new and self._is_file and not self._raw.tell():
            self._member = compress(self._raw, self._compression)  # an empty file is not valid gzip
        self.checkpoint()

    def close(self) -> None:
        """Closes it."""
        with contextlib.suppress(OSError):  # what cannot be written is reported already
            self._raw.close()

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self.finish()
            elif not self._is_file:  # what precedes the error is of use
                with contextlib.suppress(OSError, MachineError):
                    self.checkpoint()
        finally:
            self.close()

    def _write_error(self, error: OSError) -> Exception:
        if isinstance(error, BrokenPipeError):
            return error
        full = why_full(error)
        reason = full or ("it is closed" if error.errno == errno.EBADF else str(error.strerror))
        left = "Nothing was left under that name" if self._is_file else "The output is incomplete"
        hint = f"{left}; free some space and run the command again." if full else ""
        return MachineError(f"cannot write {self.path or 'standard output'}: {reason}", hint)
