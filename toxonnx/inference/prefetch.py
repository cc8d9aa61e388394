"""Iterators that run ahead of their consumer, in a thread of their own."""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, TypeVar

__all__ = ["Prefetcher"]

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Iterates over ``items`` in a thread: one item is ready while the next is being produced.

    An exception that ``items`` raises is re-raised at its place in the sequence. Leaving the ``with`` block stops the
    thread at its next item; a thread that is blocked in its source (a pipe that nobody writes to) is abandoned and ends
    with the process.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), daemon=True)
        # A thread inside a native library while the interpreter exits could crash the process.
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

    def __enter__(self) -> Prefetcher[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stops the thread and waits for it briefly."""
        self._stopped.set()
        if self._thread.is_alive():  # a signal may have come before it was started
            self._thread.join(timeout=2)
        atexit.unregister(self.close)

    def _run(self, items: Iterator[T]) -> None:
        try:
            for item in items:
                self._put(item, None)
                if self._stopped.is_set():
                    return
            self._put(None, None)
        except BaseException as error:
            self._put(None, error)
        finally:
            close = getattr(items, "close", None)  # a generator releases its resources
            if close is not None:
                close()

    def _put(self, item: T | None, error: BaseException | None) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put((item, error), timeout=0.1)
                return
