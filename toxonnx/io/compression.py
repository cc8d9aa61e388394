"""gzip and zstd around files: by their content when reading, by the name of the file when writing."""

from __future__ import annotations

import gzip
import io
import re
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from toxonnx.errors import InputError
from toxonnx.extras import require
from toxonnx.io.remote import Location, RemotePath

__all__ = ["Decompressor", "compress", "compression_of_content", "compression_of_name", "without_suffix"]

L = TypeVar("L", Path, RemotePath, Location)


@dataclass(frozen=True)
class _Compression:
    """One way to compress.

    Attributes:
        suffix: of the names of such files.
        start: what their content starts with.
        reader, writer: from a binary file to one that decompresses what is read, or compresses what is written.
        errors: a function that returns the exceptions that the reader raises for damaged content.
    """

    suffix: str
    start: re.Pattern[bytes]
    reader: Callable[[IO[bytes]], Any]
    writer: Callable[[IO[bytes]], Any]
    errors: Callable[[], tuple[type[Exception], ...]]


def _zstd() -> Any:
    """The module of Python 3.14, or its backport."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        require("zstd")
        from backports import zstd
    return zstd


def _read_zstd(file: IO[bytes]) -> Any:
    # Dumps of social networks use the largest window, 2 GiB, which the default of the library refuses.
    zstd = _zstd()
    parameter = zstd.DecompressionParameter.window_log_max
    return zstd.ZstdFile(file, "rb", options={parameter: parameter.bounds()[1]})


def _write_zstd(file: IO[bytes]) -> Any:
    zstd = _zstd()
    return zstd.ZstdFile(file, "wb", options={zstd.CompressionParameter.checksum_flag: 1})  # as the command zstd does


#: bytes that are compressed at once
_PIECE = 1 << 17

#: by the names that error messages use
_COMPRESSIONS = {
    "gzip": _Compression(
        ".gz",
        re.compile(rb"\x1f\x8b\x08"),
        lambda file: gzip.GzipFile(fileobj=file, mode="rb"),
        # No name and no time in the header: the same content gives the same bytes.
        lambda file: gzip.GzipFile("", "wb", 6, file, mtime=0),
        lambda: (EOFError, gzip.BadGzipFile, zlib.error),
    ),
    "zstd": _Compression(
        ".zst",
        re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),  # pzstd starts with a frame to skip
        _read_zstd,
        _write_zstd,
        lambda: (EOFError, _zstd().ZstdError),
    ),
}


def compression_of_name(path: Location) -> str:
    """``gzip`` or ``zstd`` by the suffix of a name, else an empty string."""
    return next((name for name, one in _COMPRESSIONS.items() if path.suffix.lower() == one.suffix), "")


def compression_of_content(start: bytes) -> str:
    """``gzip`` or ``zstd`` by the first four bytes of a file, else an empty string."""
    return next((name for name, one in _COMPRESSIONS.items() if one.start.match(start)), "")


def without_suffix(path: L) -> L:
    """A name without ``.gz`` or ``.zst``."""
    return path.with_suffix("") if compression_of_name(path) else path


def compress(file: IO[bytes], compression: str) -> IO[bytes]:
    """A file to write to, whose content goes to ``file`` compressed. Closing it does not close ``file``.

    Raises:
        MachineError: the package for it is not installed.
    """
    return cast(IO[bytes], _Pieces(_COMPRESSIONS[compression].writer(file)))


class _Pieces(io.RawIOBase):
    """Passes bytes on in pieces of one size: what a compressor makes of its input may depend on the pieces."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._waiting = file, bytearray()

    def write(self, data: Any) -> int:
        self._waiting += data
        end = len(self._waiting) // _PIECE * _PIECE
        for start in range(0, end, _PIECE):
            self._file.write(self._waiting[start : start + _PIECE])
        del self._waiting[:end]
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            try:
                self._file.write(self._waiting)
            finally:
                self._file.close()


class Decompressor(io.RawIOBase):
    """Decompresses a binary file, all members or frames of it, in bounded memory. Closing it does not close the file.

    Args:
        file: the compressed file.
        compression: ``gzip`` or ``zstd``.
        name: of the file, for error messages.

    Raises:
        MachineError: the package for it is not installed.
        InputError: while reading: the content is damaged, or ends early. What precedes the damage is read first.
    """

    def __init__(self, file: IO[bytes], compression: str, name: str) -> None:
        self._compression, self._name = compression, name
        self._reader = _COMPRESSIONS[compression].reader(file)
        self._errors = _COMPRESSIONS[compression].errors()
        self._error: InputError | None = None
        #: decompressed bytes so far
        self.bytes = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer, except at the end and before damaged content."""
        view, filled = memoryview(buffer).cast("B"), 0
        while filled < len(view) and self._error is None:
            try:
                data = self._reader.read1(len(view) - filled)
            except self._errors as error:
                what = "ends early" if isinstance(error, EOFError) else "is damaged"
                self._error = InputError(
                    f"{self._name}: the {self._compression} data {what}, after {self.bytes:,} decompressed bytes",
                    f"Get the file again; {self._compression} -t checks it.",
                )
                break
            if not data:
                break
            view[filled : filled + len(data)] = data
            filled += len(data)
            self.bytes += len(data)
        if not filled and self._error is not None:
            raise self._error
        return filled
