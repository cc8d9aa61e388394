"""The signals that end a process, as exceptions."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["EndingSignals", "signals_as_exceptions"]

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

#: seconds after which a signal is repeated whose exception was lost
_REPEAT_AFTER = 0.01


class EndingSignals:
    """Raises KeyboardInterrupt for SIGINT, and for the others SystemExit, but only once: files are being removed then.

    Attributes:
        received: the first signal; None before. A library may raise another exception in place of the signal's.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._is_exiting = False

    def handle(self, number: int, _: FrameType | None) -> None:
        """The handler; see :func:`signal.signal`."""
        if self.received is None:
            self.received = number
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self._is_exiting:
            self._is_exiting = True
            sys.exit(128 + number)

    def repeat(self, number: int) -> None:
        """Has the signal handled once more, a moment later."""
        self._is_exiting = False
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
        # Python ends by SIGINT, whatever the exit code, if an interrupt came in code that exec runs from a string, as
        # dataclass() does; running another string forgets it.
        exec("")
