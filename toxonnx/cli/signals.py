"""The signals that end a process, as exceptions."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

__all__ = ["EndingSignals", "signals_as_exceptions"]

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

#: seconds after which a signal is repeated whose exception was lost
_REPEAT_AFTER = 0.01
#: seconds for which further signals are ignored
_IGNORE_FOR = 1.0


class EndingSignals:
    """Raises KeyboardInterrupt for SIGINT, and SystemExit for the others, once: files are being removed then.

    Others that follow at once are ignored, as when a terminal and a parent process send the same one; later ones end
    the process as it is.

    Attributes:
        received: the first signal; None before. A library may raise another exception in place of the signal's.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._time = 0.0
        self._is_lost = False

    def handle(self, number: int, _: FrameType | None) -> None:
        """The handler; see :func:`signal.signal`."""
        if self.received is not None and not self._is_lost:
            if time.monotonic() - self._time > _IGNORE_FOR:
                os._exit(128 + number)
            return
        self.received, self._time, self._is_lost = number, time.monotonic(), False
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    def repeat(self, number: int) -> None:
        """Has the signal handled once more, a moment later."""
        self._is_lost = True
        timer = threading.Timer(_REPEAT_AFTER, signal.pthread_kill, (threading.main_thread().ident, number))
        timer.daemon = True
        timer.start()


@contextlib.contextmanager
def signals_as_exceptions() -> Iterator[EndingSignals]:
    """Lets signals raise exceptions, so that partial output files are removed; signals that are ignored remain so."""
    signals = EndingSignals()
    handlers = {number: signal.getsignal(number) for number in _ENDING}
    handled = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
    report = sys.unraisablehook

    def repeat_or_report(unraisable: sys.UnraisableHookArgs) -> None:
        # Python drops what is raised in a destructor, or in a callback such as those of its import locks.
        if signals.received is not None and issubclass(unraisable.exc_type, (KeyboardInterrupt, SystemExit)):
            signals.repeat(signals.received)
        else:
            report(unraisable)

    sys.unraisablehook = repeat_or_report
    try:
        for number in handled:
            signal.signal(number, signals.handle)
        yield signals
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        sys.unraisablehook = report
