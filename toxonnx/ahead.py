"""An iterator that works ahead of its consumer, in a thread of its own."""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, TypeVar

__all__ = ["Ahead"]

T = TypeVar("T")


class Ahead(Generic[T]):
    """Runs ``items`` in a thread; one item waits to be taken while the next is being made.

    What ``items`` raises is raised where it would have come. Leaving the ``with`` stops the thread at its next item; a
    thread that is stuck in its source (a pipe that nobody writes to) is left behind and ends with the process.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), daemon=True)
        # A thread that is inside a library when the interpreter ends would take the process down.
        atexit.register(self.close)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            item, error = self._ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stops the thread, and waits a moment for it."""
        self._stopped.set()
        self._thread.join(timeout=2)
        atexit.unregister(self.close)

    def _run(self, items: Iterator[T]) -> None:
        try:
            for item in items:
                self._hand_on(item, None)
                if self._stopped.is_set():
                    return
            self._hand_on(None, None)
        except BaseException as error:
            self._hand_on(None, error)
        finally:
            close = getattr(items, "close", None)  # a generator lets go of what it holds
            if close is not None:
                close()

    def _hand_on(self, item: T | None, error: BaseException | None) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put((item, error), timeout=0.1)
                return
