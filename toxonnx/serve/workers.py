"""Several processes that serve on one socket, each with its own models.

One process keeps all cores busy where the model takes most of the time; with many cores, the event loop of a single
process becomes the limit.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable

__all__ = ["METRICS_FOLDER", "run_workers"]

log = logging.getLogger("toxonnx.serve")

_WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
#: names the folder in which the processes keep their metrics; prometheus_client reads it when it is imported
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def run_workers(count: int, serve: Callable[[bool], None], stop_listening: Callable[[], None]) -> int:
    """Runs processes until SIGTERM or SIGINT, which they get, too, as well as SIGHUP.

    A process that a signal ended (for lack of memory, for example) is replaced. One that reported an error ends all.

    Args:
        count: number of processes.
        serve: what each of them does, called with whether it is the first; returns after SIGTERM.
        stop_listening: closes the socket in this process; called when the others are told to end.

    Returns:
        The exit code, in this process as in the others.
    """
    folder = tempfile.mkdtemp(prefix="toxonnx-metrics-")
    os.environ[METRICS_FOLDER] = folder
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    workers = _Workers()
    for number in range(count):
        if workers.fork():
            serve(number == 0)
            return 0
    while workers.started:
        number = signal.sigwait(_WATCHED)
        if number == signal.SIGCHLD:
            for _ in range(workers.reap()):
                time.sleep(1)  # not in a tight loop
                if workers.fork():
                    serve(False)
                    return 0
        elif number == signal.SIGHUP:
            workers.send(signal.SIGHUP)
        else:
            workers.end()
        if workers.are_ending:
            stop_listening()
    shutil.rmtree(folder, ignore_errors=True)
    return workers.exit_code


class _Workers:
    """The processes, seen from the one that started them."""

    def __init__(self) -> None:
        self.started: set[int] = set()
        self.exit_code = 0
        self.are_ending = False
        self._alive = os.pipe()  # never written to: its end tells the processes that this one has ended

    def fork(self) -> bool:
        """Starts a process; returns whether this is the new one."""
        process = os.fork()
        if process:
            self.started.add(process)
            return False
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        reader, writer = self._alive
        os.close(writer)
        threading.Thread(target=_end_with_parent, args=(reader,), daemon=True).start()
        return True

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to all of them."""
        for process in self.started:
            os.kill(process, number)

    def end(self) -> None:
        """Tells all of them to end."""
        self.are_ending = True
        self.send(signal.SIGTERM)

    def reap(self) -> int:
        """Takes note of those that have ended; returns how many have to be replaced."""
        killed = 0
        for process in list(self.started):
            ended, status = os.waitpid(process, os.WNOHANG)
            if not ended:
                continue
            self.started.remove(process)
            _forget_metrics(process)
            code = os.waitstatus_to_exitcode(status)
            if code < 0 and not self.are_ending:
                log.error("a worker was ended by signal %d and is replaced", -code)
                killed += 1
            elif code > 0 and not self.are_ending:  # one that is told to end while it loads has a code, too
                self.exit_code = code
                self.end()
        return 0 if self.are_ending else killed


def _forget_metrics(process: int) -> None:
    """Removes what a process that has ended was just doing; what it had counted stays."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(process)  # type: ignore[no-untyped-call]


def _end_with_parent(reader: int) -> None:
    os.read(reader, 1)
    os.kill(os.getpid(), signal.SIGTERM)
