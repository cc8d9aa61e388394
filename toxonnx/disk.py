"""One error for a full disk, whichever library finds it."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toxonnx.errors import MachineError, ToxonnxError

__all__ = ["FULL_DISK", "reports_full_disk"]

#: no space left, quota exceeded, file larger than the limit of the process
FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: libraries that raise no OSError: those written in Rust quote the code; PyTorch and NumPy count the bytes
_MESSAGES = re.compile(
    rf"\(os error ({'|'.join(map(str, sorted(FULL_DISK)))})\)|No space left on device|File too large"
    r"|Disk quota exceeded|PytorchStreamWriter failed writing|unexpected pos \d+ vs \d+|\d+ requested and \d+ written"
)


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


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL_DISK
    return _MESSAGES.search(str(error)) is not None
