"""How far a command is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import click

__all__ = ["show_progress"]

#: seconds between two lines
LINE_SECONDS = 30.0


@contextlib.contextmanager
def show_progress() -> Iterator[Callable[[float | None, str], None]]:
    """Shows progress on standard error, with the time left.

    Yields:
        A function to call with the share that is done (0 to 1, None if the total is unknown) and a note. Any number of
        calls is fine.
    """
    if not sys.stderr.isatty():
        yield _Lines().update
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[note]}"), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
        redirect_stdout=sys.stdout.isatty(),  # lines above the bar; a redirected output stays untouched
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=None, note="")

        def update(share: float | None, note: str) -> None:
            if share is None:
                bar.update(task, note=note)
            else:
                bar.update(task, total=1.0, completed=share, note=note)

        yield update


class _Lines:
    """A line every :data:`LINE_SECONDS` seconds."""

    def __init__(self) -> None:
        self._last = self._started = time.monotonic()
        self._first: float | None = None  # a resumed training does not start at 0
        self._share = 0.0

    def update(self, share: float | None, note: str) -> None:
        """Prints a line if it is time for one."""
        if share is not None:
            if self._first is None or share < self._share:  # another part of the work has begun
                self._first, self._started = share, time.monotonic()
            self._share = share
        now = time.monotonic()
        if now - self._last < LINE_SECONDS:
            return
        self._last = now
        parts = [note]
        if share is not None:
            parts.insert(0, f"{share:.1%}")
            if share > (self._first or 0.0):
                left = (now - self._started) * (1 - share) / (share - (self._first or 0.0))
                parts.append(f"{_duration(left)} left")
        click.echo(", ".join(parts), err=True)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"
