"""Files of object stores and other hosts, by URLs such as ``s3://bucket/posts.csv``, through fsspec.

A :class:`RemotePath` has the part of :class:`pathlib.Path`'s interface that inputs and outputs need. An input is read
as a stream. An output is written to a file of this machine and uploaded when it is complete, so that an object appears
as a whole or not at all, and an interrupted run can be continued here.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from toxonnx.errors import InputError, MachineError, ToxonnxError, first_line
from toxonnx.extras import require

__all__ = ["AnyPath", "Location", "RemotePath", "RemoteReader", "as_location", "exists"]

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_LOCAL = re.compile(r"(?:file|local)://")

#: stores in which an upload that is begun and given up is neither seen nor reported to anyone
_UPLOAD_PROTOCOLS = ("s3", "s3a", "gs", "gcs")
#: stores that say that a container is missing also to those who may not list it
_CONTAINER_PROTOCOLS = ("abfs", "abfss", "az")


class RemoteStat(NamedTuple):
    """Bytes, and when it was modified in nanoseconds, 0 where the store does not say; see :func:`os.stat`."""

    st_size: int
    st_mtime_ns: int


@dataclass(frozen=True, order=True)
class RemotePath:
    """A place that fsspec reads and writes.

    Attributes:
        url: its address, without a slash at the end.
        local_folder: a folder of this machine for what is not uploaded yet; only outputs need one.
    """

    url: str
    local_folder: Path | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """See :class:`pathlib.PurePath`."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """See :class:`pathlib.PurePath`."""
        return PurePosixPath(self.name).stem

    @property
    def parents(self) -> Iterator[RemotePath]:
        """The folders that it is in, the innermost first."""
        url, end = self.url, self.url.index("://") + 3
        while "/" in url[end:]:
            url = url.rpartition("/")[0]
            yield RemotePath(url, self.local_folder)

    def with_name(self, name: str) -> RemotePath:
        """See :class:`pathlib.PurePath`."""
        return RemotePath(self.url.removesuffix(self.name) + name, self.local_folder)

    def with_suffix(self, suffix: str) -> RemotePath:
        """See :class:`pathlib.PurePath`."""
        return self.with_name(self.stem + suffix)

    def __truediv__(self, below: Path | str) -> RemotePath:
        return RemotePath(f"{self.url}/{below}", self.local_folder)

    def resolve(self) -> RemotePath:
        """Itself: stores have no links."""
        return self

    def local(self, suffix: str) -> Path:
        """Where it is kept on this machine until it is uploaded."""
        assert self.local_folder is not None
        digest = hashlib.sha256(self.url.encode("utf-8", "surrogateescape")).hexdigest()
        # File systems limit the bytes of a name, not its characters.
        end = self.name.encode("utf-8", "surrogateescape")[-100:].decode("utf-8", "ignore")
        return self.local_folder / f"{digest[:16]}-{end}{suffix}"

    def stat(self) -> RemoteStat:
        """See :class:`RemoteStat`.

        Raises:
            InputError: there is no such file.
        """
        with _errors("read", self):
            store, key = self._store()
            size = int(store.info(key)["size"] or 0)
            try:
                return RemoteStat(size, int(store.modified(key).timestamp() * 1e9))
            except NotImplementedError:
                return RemoteStat(size, 0)

    def exists(self) -> bool:
        """Whether there is a file or a folder.

        Raises:
            InputError: that may not be known.
        """
        try:
            return self._type() is not None
        except PermissionError:
            hint = "Are the credentials of the store set? An output that may only be written needs --force."
            raise InputError(f"cannot find out whether {self} exists: access denied", hint) from None

    def is_file(self) -> bool:
        """Whether it is a file, as far as that may be known."""
        with contextlib.suppress(PermissionError):
            return self._type() == "file"
        return False

    def is_dir(self) -> bool:
        """Whether it is a folder, or what other names start with, as far as that may be known."""
        with contextlib.suppress(PermissionError):
            return self._type() == "directory"
        return False

    def _type(self) -> str | None:
        """The kind of the file; None if there is none.

        Raises:
            PermissionError: one that may write may not be allowed to read or to list.
        """
        denied: Exception | None = None
        with _errors("read", self):
            store, key = self._store()
            try:
                return str(store.info(key)["type"])
            except FileNotFoundError:
                return None
            except OSError as error:
                if not _is_denied(error):
                    raise
                denied = error
        raise PermissionError(str(denied))

    def check_writable(self) -> None:
        """Finds out whether it can be written, without writing it: begins an upload and gives it up.

        Where a store has no such uploads, errors are found by :meth:`upload`, except that a container is missing.

        Raises:
            InputError: there is no such bucket, or writing to it is not allowed.
            MachineError: see :meth:`upload`.
        """
        protocol = self.url.partition("://")[0].lower()
        with _errors("write", self):
            store, key = self._store()
            if protocol in _UPLOAD_PROTOCOLS:
                self._begin_upload(store, key)
            elif protocol in _CONTAINER_PROTOCOLS:
                try:
                    store.info(key.partition("/")[0])
                except FileNotFoundError:
                    raise
                except Exception:  # who may write may not be allowed to see the container
                    return

    @staticmethod
    def _begin_upload(store: Any, key: str) -> None:
        file = store.open(key, "wb", autocommit=False)
        file.close()  # sends the request that begins it; it would end when the file is committed
        with contextlib.suppress(Exception):  # whoever may begin it may not be allowed to give it up
            file.discard()

    def open(self) -> RemoteReader:
        """Opens it for reading.

        Raises:
            InputError: there is no such file, or it must not be read.
            MachineError: the store cannot be reached, or its package is not installed.
        """
        with _errors("read", self):
            store, key = self._store()
            return RemoteReader(self, store.open(key, "rb"))

    def upload(self, file: Path) -> None:
        """Gives a file of this machine this name, once all of it is there. It replaces what has the name.

        Raises:
            InputError: it must not be written.
            MachineError: the store cannot be reached, or its package is not installed.
        """
        with _errors("write", self):
            store, key = self._store()
            store.put_file(str(file), key)

    def files_below(self) -> list[tuple[RemotePath, Path]]:
        """The files of a folder, also of folders inside, each with its path below it, in order."""
        with _errors("read", self):
            store, key = self._store()
            return list(self._below(key, store.find(key)))

    def fixed_part(self) -> RemotePath:
        """The folder of a pattern, up to its first wildcard."""
        parts = self.url.split("/")
        fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
        return RemotePath("/".join(parts[: min(fixed, len(parts) - 1)]))

    def matches(self) -> list[tuple[RemotePath, Path]]:
        """The files that match this pattern, each with its path below the fixed part of it, in order."""
        root = self.fixed_part()
        with _errors("read", self):
            store, key = self._store()
            found = store.glob(key, detail=True)
            names = [name for name, entry in found.items() if entry["type"] == "file"]
            return list(root._below(root._store()[1], names))

    def _below(self, key: str, names: list[str]) -> Iterator[tuple[RemotePath, Path]]:
        for name in sorted(names):
            relative = name.removeprefix(key).lstrip("/")
            yield self / relative, Path(relative)

    def _store(self) -> tuple[Any, str]:
        """The file system, and the name there."""
        require("remote")
        import fsspec

        store, key = fsspec.core.url_to_fs(self.url)
        return store, str(key)


#: where an input is, or an output goes to
Location = Path | RemotePath
AnyPath = str | Path | RemotePath


def as_location(path: AnyPath) -> Location:
    """A path of this machine, or one elsewhere if it is a URL. ``file://`` names one of this machine."""
    if not isinstance(path, str):
        return path
    if _LOCAL.match(path):
        return Path(_LOCAL.sub("", path))
    return RemotePath(path.rstrip("/")) if _URL.match(path) else Path(path)


def exists(path: Location) -> bool:
    """Whether there is something of this name, also a link that leads nowhere."""
    return path.exists() if isinstance(path, RemotePath) else os.path.lexists(path)


class RemoteReader(io.RawIOBase):
    """A file that is read from its store.

    Attributes:
        size: its bytes; None if the store does not say, which cannot go back then.

    Raises:
        MachineError: while reading: it failed. The file itself may be in order, and readable later.
    """

    def __init__(self, path: RemotePath, file: Any) -> None:
        self._path, self._file, self._position = path, file, 0
        self.size: int | None = getattr(file, "size", None)

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Whether it is of known size."""
        return self.size is not None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See :class:`io.IOBase`."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size or 0}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """See :class:`io.IOBase`."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Reads the next bytes."""
        view = memoryview(buffer).cast("B")
        try:
            if self.size is not None:  # the file itself may be shared, as one in memory is
                self._file.seek(self._position)
            data = self._file.read(len(view))
        except MemoryError:
            raise
        except Exception as error:
            what = f"cannot read {self._path} after {self._position:,} bytes: {first_line(error)}"
            raise MachineError(what, "Run the command again.") from None
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Closes it."""
        if not self.closed:
            super().close()
            self._file.close()


@contextlib.contextmanager
def _errors(verb: str, path: RemotePath) -> Iterator[None]:
    """The errors of fsspec and of the packages behind it, of which each has its own, as ours."""
    try:
        yield
    except (ToxonnxError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(f"cannot {verb} {path}: there is no such file, folder or bucket") from None
    except ImportError as error:
        raise MachineError(f"cannot {verb} {path}: {first_line(error)}", "Use pip for that.") from None
    except Exception as error:
        if _is_denied(error):
            hint = "Are the credentials of the store set?"
            raise InputError(f"cannot {verb} {path}: access denied", hint) from None
        raise MachineError(f"cannot {verb} {path}: {first_line(error)}") from None


def _is_denied(error: Exception) -> bool:
    if isinstance(error, PermissionError):
        return True
    return isinstance(error, OSError) and str(error).startswith("Forbidden")  # gcsfs
