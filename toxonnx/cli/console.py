"""Text and tables on standard output, lines of progress on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import IO, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["Terminal", "log", "sanitize"]


def sanitize(text: str) -> str:
    """Text without characters that a terminal acts on: control characters and changes of writing direction."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def log(line: str) -> None:
    """Prints a line of progress, or a warning, on standard error."""
    click.echo(line, err=True)


class Terminal(Console):
    """Standard output. If its reader goes away (head, less), further output is discarded, and the command goes on."""

    def __init__(self, width: int | None = None) -> None:
        super().__init__(width=None if sys.stdout.isatty() else width, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        """Called by rich."""
        null: IO[str] = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (until the process ends)
        self.file = sys.stdout = null

    def print_text(self, text: str, style: str = "") -> None:
        """Prints lines of plain text without inserting line breaks."""
        for line in text.split("\n"):
            self.print(Text(sanitize(line), style=style), soft_wrap=True)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, **options: Any) -> None:
        """Prints a table of plain text; its first ``left`` columns are left-aligned, the others right-aligned."""
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=any(header), **options)
        for index, name in enumerate(header):
            table.add_column(Text(sanitize(name)), justify="left" if index < left else "right")
        for row in rows:
            table.add_row(*(Text(sanitize(cell)) for cell in row))
        self.print(table)
