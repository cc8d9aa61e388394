"""One error for a full disk, from any library; small files that are replaced as a whole."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toxonnx.errors import MachineError, ToxonnxError

__all__ = ["replace_text", "reports_full_disk", "why_full"]

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is exceeded",
    errno.EFBIG: "the file would be larger than the system or a limit allows",
}
#: libraries that raise no OSError: those written in Rust quote the code; PyTorch and NumPy count the bytes
_MESSAGES = re.compile(
    rf"\(os error ({'|'.join(map(str, sorted(_REASONS)))})\)|No space left on device|File too large"
    r"|Disk quota exceeded|PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+|\d+ requested and \d+ written"
)


def why_full(error: OSError) -> str:
    """Why a file takes no more bytes; empty if that is not the reason of the error."""
    return _REASONS.get(error.errno or 0, "")


@contextmanager
def reports_full_disk(folder: Path, advice: str) -> Iterator[None]:
    """Turns the errors of libraries about a full disk into one that names the folder.

    Args:
        folder: what is written inside the ``with`` block.
        advice: what to do once there is space.

    Raises:
        MachineError: the disk is full, or a quota or the limit on file sizes is reached.
    """
    try:
        yield
    except ToxonnxError:
        raise
    except Exception as error:
        if not _is_full(error):
            raise
        raise MachineError(
            f"cannot write {folder}: the disk is full, or a quota or a limit on file sizes is reached",
            f"Free some space; {advice}",
        ) from error


def replace_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8. If that fails, or the process is killed meanwhile, the file keeps what it contained.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _REASONS
    return _MESSAGES.search(str(error)) is not None
