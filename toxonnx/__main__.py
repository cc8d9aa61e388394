"""``toxonnx`` and ``python -m toxonnx``"""

import signal


def main() -> None:
    """Runs the command line. An interrupt while that is imported ends the process, without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from toxonnx.cli import main as run

    run()


if __name__ == "__main__":
    main()
