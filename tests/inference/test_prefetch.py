"""Reading ahead in a thread."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from typing import Any

import pytest

from toxonnx.inference.prefetch import Prefetcher


def test_a_signal_before_the_thread_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    at_exit: list[Callable[[], Any]] = []

    def interrupt(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(atexit, "register", at_exit.append)
    monkeypatch.setattr(threading.Thread, "start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Prefetcher(iter([1]))
    (close,) = at_exit
    close()
