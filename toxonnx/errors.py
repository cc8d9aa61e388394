"""The errors that toxonnx raises on purpose, with their exit codes on the command line.

::

    ToxonnxError            1
    ├── GateError           1   a measured value is beyond its limit
    ├── InputError          2   wrong usage or bad input: what, where, what to do
    │   ├── RowError        2   ... in a line of a file
    │   ├── RecipeError     2   ... in a recipe
    │   ├── BundleError     2   ... in a bundle
    │   └── CheckpointError 2   ... in a checkpoint or an adapter
    └── MachineError        3   the machine lacks something: a package, a provider, disk, memory

Anything else that escapes is a bug.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

__all__ = [
    "BundleError",
    "CheckpointError",
    "GateError",
    "InputError",
    "MachineError",
    "RecipeError",
    "RowError",
    "ToxonnxError",
    "first_line",
    "place_of",
]


class ToxonnxError(Exception):
    """Base of all errors here.

    Args:
        what: what is wrong and where, without a full stop.
        hint: what to do about it; may be empty.
    """

    exit_code = 1

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.__dict__)

    def __str__(self) -> str:
        return f"{self.what}\n{self.hint}" if self.hint else self.what


def _restore(kind: type[ToxonnxError], attributes: dict[str, Any]) -> ToxonnxError:
    """An error that was pickled in another process."""
    error = kind.__new__(kind, attributes["what"])
    error.__dict__.update(attributes)
    return error


class GateError(ToxonnxError):
    """A measured value exceeds its limit."""


class InputError(ToxonnxError):
    """Wrong usage or bad input."""

    exit_code = 2


class RowError(InputError):
    """Bad input in a line of a file, or in a row of one without lines; both are counted from 1.

    Attributes:
        line: its number.
        problem: what is wrong, without where.
        error_type: the kind of it, as --rejects lists it; may be empty.
        column: the column, if a single one is concerned.
        raw: the row as it is in the file, if its format has lines and it is valid by itself. Never part of a message.
    """

    def __init__(
        self,
        path: object,
        line: int,
        what: str,
        hint: str = "",
        *,
        unit: str = "line",
        error_type: str = "",
        column: str = "",
        raw: str = "",
    ) -> None:
        super().__init__(f"{path}, {unit} {line}: {what}", hint)
        self.line, self.problem = line, what
        self.error_type, self.column, self.raw = error_type, column, raw


class RecipeError(InputError):
    """A recipe that is not valid."""


class BundleError(InputError):
    """A folder that is not a valid, sealed bundle."""


class CheckpointError(InputError):
    """A checkpoint or an adapter that is not a complete classifier."""


class MachineError(ToxonnxError):
    """The machine lacks something: a package, a provider, disk space."""

    exit_code = 3


def place_of(error: Exception) -> str:
    """The file and line of toxonnx in which an error was raised, for reports that must not quote its message, which may
    contain a text; empty if there is none."""
    package = Path(__file__).parent
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if package in Path(frame.filename).parents]
    return f"toxonnx/{Path(frames[-1].filename).relative_to(package)}:{frames[-1].lineno}" if frames else ""


def first_line(error: Exception) -> str:
    """The first line of another library's message, with the second if it ends in a colon; without a message, the name
    of the exception."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
