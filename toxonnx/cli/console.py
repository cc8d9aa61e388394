"""What the verbs that show tables have in common: a terminal that shows what stands in files as it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["Terminal", "plain"]


def plain(text: str) -> str:
    """Text without what a terminal would act on: control characters, and those that turn its direction."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


class Terminal(Console):
    """Standard output. When its reader goes away (head, less), the rest goes nowhere and nothing else stops."""

    def __init__(self, width: int | None = None) -> None:
        super().__init__(width=None if sys.stdout.isatty() else width, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        """Called by rich."""
        sink: IO[str] = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (to the end of the process)
        self.file = sys.stdout = sink

    def print_text(self, text: str, style: str = "") -> None:
        """Lines of plain text, wrapped by the terminal alone."""
        for line in text.split("\n"):
            self.print(Text(plain(line), style=style), soft_wrap=True)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, **options: Any) -> None:
        """A table of plain text; its first ``left`` columns are words."""
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=any(header), **options)
        for at, name in enumerate(header):
            table.add_column(Text(plain(name)), justify="left" if at < left else "right")
        for row in rows:
            table.add_row(*(Text(plain(cell)) for cell in row))
        self.print(table)
