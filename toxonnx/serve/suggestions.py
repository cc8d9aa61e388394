"""Decisions of moderators as labelled rows, on which the next model can be trained."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["append_suggestion"]


def append_suggestion(path: Path, text: str, labels: Mapping[str, float | None]) -> None:
    """Appends a row to a JSON-lines file: the text, and a score for each label, null where nobody judged it.

    Only the owner may read a new file: it contains what people wrote.

    Raises:
        OSError: the row was not written, and the file is as it was; most often the disk is full.
    """
    # 1 and not 1.0: the usual way to write that a label applies
    cells = {label: int(score) if score in {0, 1} else score for label, score in labels.items()}
    row = json.dumps({"text": text, **cells}, ensure_ascii=True) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # other threads and processes append, too
        before = os.fstat(descriptor).st_size
        try:
            _write(descriptor, row.encode("ascii"))
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)  # half a row would spoil the next one
            raise
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    """Writes all of it: on a full disk, the first call may write a part, and only the next one fails."""
    while content:
        content = content[os.write(descriptor, content) :]
