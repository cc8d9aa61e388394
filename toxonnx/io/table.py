"""Whole files in memory, for the commands that need every row at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toxonnx.errors import InputError
from toxonnx.io.base import ReadOptions, open_source

__all__ = ["Table", "read_table"]


@dataclass(frozen=True)
class Table:
    """A whole file in memory.

    Attributes:
        path: the file.
        columns: column name -> values.
        lines: the line at which each row starts.
        columns_hint: see :attr:`toxonnx.io.base.Source.columns_hint`.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    columns_hint: str = ""

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> list[str]:
        """The values of one column.

        Raises:
            InputError: there is no such column; lists the columns there are.
        """
        if name not in self.columns:
            raise _no_column(self.path, name, list(self.columns), self.columns_hint)
        return self.columns[name]

    def subset(self, rows: Sequence[int]) -> Table:
        """Some of the rows, by index."""
        columns = {name: [values[i] for i in rows] for name, values in self.columns.items()}
        return Table(self.path, columns, [self.lines[i] for i in rows])


def read_table(path: str | Path, options: ReadOptions | None = None, *, columns: Sequence[str] | None = None) -> Table:
    """Reads some columns of a file, or all of them.

    Args:
        path: the file.
        options: how to read it.
        columns: the columns to keep; all when None.

    Raises:
        InputError: the file cannot be read, or a column is missing.
        RowError: a row cannot be read.
    """
    with open_source(path, options) as source:
        for name in columns or ():
            if name not in source.columns:
                raise _no_column(path, name, source.columns, source.columns_hint)
        # A table finds a column by its name: of several without one, it can have the first only.
        kept = [name for name in dict.fromkeys(source.columns) if columns is None or name in columns]
        values: dict[str, list[str]] = {name: [] for name in kept}
        lines: list[int] = []
        get = source.cell_getter(kept)
        for record in source:
            row = get(record)
            if row is None:
                continue
            lines.append(record.line)
            for name, value in zip(kept, row, strict=True):
                values[name].append(value)
        return Table(Path(path), values, lines, source.columns_hint)


def _no_column(path: str | Path, name: str, columns: Sequence[str], hint: str) -> InputError:
    return InputError(f"{path} has no column {name!r}", hint or f"Its columns: {', '.join(map(repr, columns))}.")
