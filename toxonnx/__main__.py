"""``toxonnx`` and ``python -m toxonnx``

Importing the command line takes some tenths of a second, in which a signal ends the process at once: there is nothing
to clean up. So that this begins early, neither this module nor the package itself imports anything that takes time.
"""

import atexit
import os
import signal
from types import FrameType


def main() -> None:
    """Runs the command line."""
    exit_now = os._exit  # the handler also runs while the interpreter ends, when a module may be gone

    def end(number: int, _: FrameType | None) -> None:
        exit_now(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, end)
    # After all other callbacks, when the exit code is known: Python restores the default handlers before it unloads
    # modules.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    try:
        from toxonnx.cli import main as run

        run()
    except KeyboardInterrupt:  # a second one, while the first was reported
        end(signal.SIGINT, None)


if __name__ == "__main__":
    main()
