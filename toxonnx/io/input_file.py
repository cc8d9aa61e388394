"""Inputs as streams of bytes: a file or standard input, decompressed where its content is compressed."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from toxonnx.errors import InputError, MachineError
from toxonnx.io.compression import Decompressor, compression_of_content
from toxonnx.io.output_file import BUFFER_BYTES
from toxonnx.io.remote import AnyPath, Location, RemotePath, RemoteReader, as_location

__all__ = ["STDIN", "InputFile", "is_pipe"]

#: the path that stands for standard input
STDIN = Path("-")

#: enough to recognize a compression
_MAGIC_BYTES = 4


class InputFile:
    """A file to read, from its start.

    Args:
        path: the file, also one that is not on this machine; ``-`` is standard input.

    Attributes:
        path: the file.
        name: how error messages call it.
        file: the file as it is, for formats that read at random.
        stream: its bytes, decompressed.
        compression: ``gzip``, ``zstd``, or empty.
        start: the first bytes of ``stream``: up to a MiB, of a pipe at least one.
        size: bytes of the file, as it is; None if unknown, as for a pipe.

    Raises:
        InputError: it cannot be opened; while reading, its compressed data is damaged.
        MachineError: the package that decompresses it is not installed; reading failed.
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = as_location(path)
        standard_input = self.path == STDIN
        self.name = "standard input" if standard_input else str(path)
        try:
            raw = _open(self.path, self.name)
        except OSError as error:
            raise InputError(f"cannot read {self.name}: {error.strerror}") from None
        self.file: io.BufferedReader[Any] = io.BufferedReader(raw, BUFFER_BYTES)
        self.seekable = self.file.seekable()
        self._origin = self.file.tell() if self.seekable else 0  # standard input may have been read before
        self.size = _size(raw) - self._origin if self.seekable else None
        self._decompressor: Decompressor | None = None
        try:
            self.stream, magic = _peek(self.file, _MAGIC_BYTES)
            self.compression = compression_of_content(magic)
            self._decompress()
            self.start = self.stream.peek(BUFFER_BYTES)
        except OSError as error:
            self.close()
            raise InputError(f"cannot read {self.name}: {error.strerror}") from None
        except BaseException:
            self.close()
            raise

    def _decompress(self) -> None:
        if self.compression:
            self._decompressor = Decompressor(self.stream, self.compression, self.name)
            self.stream = io.BufferedReader(self._decompressor, BUFFER_BYTES)

    def wait_for_start(self) -> None:
        """Makes ``start`` a MiB, or the whole content if that is shorter, also of a pipe."""
        self.stream, self.start = _peek(self.stream, BUFFER_BYTES)

    def seek(self, offset: int) -> None:
        """Goes to an offset in the decompressed bytes; a compressed file is decompressed up to there.

        Raises:
            InputError: it is a pipe, or shorter than that.
        """
        if not self.seekable:
            raise InputError(f"{self.name} is a pipe, which can only be read from its start")
        if not self.compression:
            self.file.seek(self._origin + offset)
            return
        self.file.seek(self._origin)
        self.stream = self.file
        self._decompress()
        while offset:
            skipped = len(self.stream.read(min(offset, BUFFER_BYTES)))
            if not skipped:
                raise InputError(f"{self.name} is shorter than it was")
            offset -= skipped

    @property
    def extent(self) -> int | None:
        """Bytes of ``stream``; None if unknown, as for compressed data."""
        return None if self.compression else self.size

    def line_starts(self, offsets: Sequence[int]) -> list[tuple[int, int]]:
        """For each offset, in ascending order, the first line that starts there or later: its offset and its number.
        Each byte 0x0A ends a line."""
        self.seek(0)
        places, offset, line = [], 0, 1
        for wanted in offsets:
            while offset < wanted:  # to the byte before, which ends a line if one starts at this offset
                block = self.stream.read(min(wanted - 1 - offset, BUFFER_BYTES)) or self.stream.readline()
                if not block:
                    break
                offset += len(block)
                line += block.count(b"\n")
            places.append((offset, line))
        return places

    def bytes_done(self, offset: int) -> float:
        """Bytes of the file, approximately, up to an offset in the decompressed bytes; 0 for a pipe."""
        if self.size is None:
            return 0.0
        if self._decompressor is None:
            return float(offset)
        return float(self.file.raw.tell() - self._origin) * offset / max(self._decompressor.bytes, 1)

    def close(self) -> None:
        """Closes the file, but not standard input."""
        # A thread may be blocked inside the buffer of a pipe, and closing the buffer would wait for it.
        (self.file if self.seekable else self.file.raw).close()


def is_pipe(path: Location) -> bool:
    """Whether it can only be read once: standard input, whatever it is, or what is neither file nor folder."""
    if path == STDIN or isinstance(path, RemotePath):
        return path == STDIN
    try:
        mode = path.stat().st_mode
    except OSError:
        return False  # opening it reports that
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


class _Reader(io.FileIO):
    """A file of this machine, whose read errors are none of its content: it may be read later.

    Raises:
        MachineError: while reading: it failed.
    """

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(0 if path == STDIN else path, closefd=path != STDIN)
        self._called = name

    def readinto(self, buffer: Any) -> int | None:
        with self._errors():
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with self._errors():
            return super().readall()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = "Check the disk or the network drive that it is on, and run the command again."
            raise MachineError(f"cannot read {self._called}: {error.strerror}", hint) from None


def _open(path: Location, name: str) -> io.RawIOBase:
    return path.open() if isinstance(path, RemotePath) else _Reader(path, name)


def _size(file: io.RawIOBase) -> int:
    """Bytes of a file that can be read at random."""
    return (file.size or 0) if isinstance(file, RemoteReader) else os.fstat(file.fileno()).st_size


def _peek(stream: io.BufferedReader, size: int) -> tuple[io.BufferedReader, bytes]:
    """A stream that starts where this one does, and its next ``size`` bytes, or all there are."""
    start = stream.peek(size)
    if len(start) < size and not stream.seekable():  # a file was read up to its end
        start = stream.read(size)
        stream = io.BufferedReader(_Rejoined(start, stream), BUFFER_BYTES)
    return stream, start[:size]


class _Rejoined(io.RawIOBase):
    """What was read from a stream, and the rest of it."""

    def __init__(self, start: bytes, rest: io.BufferedReader) -> None:
        self._start, self._rest = start, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._start[: len(view)]
        self._start = self._start[len(data) :]
        data += self._rest.read1(len(view) - len(data)) if len(data) < len(view) else b""
        view[: len(data)] = data
        return len(data)
