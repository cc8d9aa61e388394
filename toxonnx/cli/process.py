"""The process around a command: standard streams, signals, warnings, errors and their exit codes."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, cast

import click

from toxonnx.cli.signals import EndingSignals, signals_as_exceptions
from toxonnx.disk import why_full
from toxonnx.errors import InputError, MachineError, ToxonnxError, place_of

__all__ = ["BUG", "run"]

#: exit code of an error that toxonnx does not raise on purpose (EX_SOFTWARE in sysexits.h)
BUG = 70
#: 128 and the number of the signal, as shells report a process that a signal ended
_INTERRUPTED, _READER_GONE = 128 + signal.SIGINT, 128 + signal.SIGPIPE

_PACKAGE = Path(__file__).parent.parent


def run(command: Callable[[], object], *, debug: bool) -> int:
    """Runs a command and reports its errors on standard error.

    Args:
        command: the click command, not in its standalone mode.
        debug: print the traceback of an error.

    Returns:
        The exit code.
    """
    _open_missing_streams()
    sys.stderr = cast(TextIO, _Messages(sys.stderr))
    warnings.showwarning = _show_warning
    with signals_as_exceptions() as signals:
        return _run(command, signals, debug=debug)


def _run(command: Callable[[], object], signals: EndingSignals, *, debug: bool) -> int:
    stdout = sys.stdout
    try:
        command()
        sys.stdout.flush()
        # Without a reader, console.Terminal replaces the stream; the command has gone on, for its limits and its files.
        return 0 if sys.stdout is stdout else _READER_GONE
    except SystemExit as error:
        if sys.stdout is stdout:
            if notes := _notes(error):
                _report(notes, 0)
            raise
        return _READER_GONE  # click replaces the stream, too, but exits, and with the code of a limit that was not met
    except (KeyboardInterrupt, click.Abort) as error:
        return _report("\n".join(filter(None, ["interrupted", _notes(error)])), _INTERRUPTED)
    except BrokenPipeError:
        return _READER_GONE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        if signals.received is not None:  # while a library was loading, say, which raised another exception
            return _report("interrupted", _INTERRUPTED) if signals.received == signal.SIGINT else 128 + signals.received
        if debug:
            traceback.print_exception(error)
        known = _known(error)
        return _report(f"error: {known}", known.exit_code) if known else _report(_bug(error), BUG)
    finally:
        sys.stdout = stdout
        _flush_or_discard()


def _notes(error: BaseException) -> str:
    """What a command has added to an exception: how to continue."""
    cause = error.__cause__ if isinstance(error, click.Abort) else None  # click's word for an interrupt
    return "\n".join(getattr(cause or error, "__notes__", []))


def _known(error: Exception) -> ToxonnxError | None:
    """An error as one of those that toxonnx raises on purpose; None for a bug."""
    if isinstance(error, ToxonnxError):
        return error
    if isinstance(error, MemoryError):
        return MachineError("not enough memory")
    if not isinstance(error, OSError):
        return None
    if full := why_full(error):
        return MachineError(f"cannot write {error.filename or 'the output'}: {full}")
    if error.filename is None:
        reason = "it is closed" if error.errno == errno.EBADF else error.strerror or str(error)
        return MachineError(f"cannot write the output: {reason}")
    return InputError(f"{error.filename}: {error.strerror}")


def _bug(error: Exception) -> str:
    where = place_of(error)
    found = f"{type(error).__name__}{' at ' if where else ''}{where}"
    return f"internal error: {found}. Please report this, with what 'toxonnx --debug COMMAND ...' prints."


def _report(message: str, code: int) -> int:
    click.echo(message, err=True)
    return code


class _Messages:
    """Standard error, where a message that cannot be written is lost and does not end the command."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _open_missing_streams() -> None:
    """Opens the standard streams that the parent closed.

    Python sets these to None, and the next file that is opened gets their descriptor. Writing to standard output then
    fails, as it should; what would go to standard error is discarded.
    """
    for name, flags, mode in (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            stream = open(os.open(os.devnull, flags), mode, encoding="utf-8")  # noqa: SIM115  (until the process ends)
            setattr(sys, name, stream)


def _flush_or_discard() -> None:
    """Flushes standard output; what cannot be written is discarded, or Python would report it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    own = category.__module__.startswith("toxonnx.") or _PACKAGE in Path(filename).parents
    text = f"warning: {message}" if own else warnings.formatwarning(message, category, filename, lineno).rstrip()
    _report(text, 0)
