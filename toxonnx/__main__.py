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
    code: object = None

    def end(number: int, _: FrameType | None) -> None:
        exit_now(128 + number)

    def finish() -> None:
        # Python restores the default handlers before it unloads modules, but the exit code is known.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if isinstance(code, int) and code > 128:
            # Threads may still be inside libraries, which abort the process if they return to an interpreter that has
            # ended; and Python itself ends by SIGINT if an interrupt came in code that exec() runs from a string.
            exit_now(code)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, end)
    atexit.register(finish)  # the first is called last
    try:
        from toxonnx.cli import main as run

        run()
    except KeyboardInterrupt:  # a second one, while the first was reported
        end(signal.SIGINT, None)
    except SystemExit as ending:
        code = ending.code
        raise


if __name__ == "__main__":
    main()
