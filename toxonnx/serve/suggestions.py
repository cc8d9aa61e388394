"""Decisions of moderators as labelled rows, on which the next model can be trained."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["append_suggestion"]


def append_suggestion(path: Path, text: str, labels: Mapping[str, float | None]) -> None:
    """Appends a row to a JSON-lines file: the text, and a score for each label, null where nobody judged it.

    Only the owner may read a new file: it contains what people wrote.
    """
    # 1 and not 1.0: the usual way to write that a label applies
    cells = {label: int(score) if score in {0, 1} else score for label, score in labels.items()}
    row = json.dumps({"text": text, **cells}, ensure_ascii=True) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, row.encode("ascii"))  # as a whole: other threads and processes append, too
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
