"""What callers may pass as texts: strings, lists, Series and arrays. Tables and missing values are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import numpy as np

from toxonnx.errors import InputError

__all__ = ["Missing", "as_items", "as_text"]

#: what to do about None and NaN in place of a text
Missing = Literal["error", "empty"]


def as_items(items: Any, missing: Missing = "error") -> Iterable[Any]:
    """The items of what a caller passed; a single string is one item.

    Args:
        items: an iterable. Tables and Arrow arrays are recognised without importing their packages.
        missing: only validated here; see :func:`as_text`.

    Raises:
        InputError: iterating over it would not give texts: a data frame, a mapping, bytes; or it is not iterable.
    """
    if missing not in get_args(Missing):
        raise InputError(f"missing must be 'error' or 'empty', got {missing!r}")
    if isinstance(items, str):
        return [items]
    kind = type(items)
    if isinstance(items, bytes | bytearray | memoryview):
        raise InputError(f"expected texts, got {kind.__name__}", "Decode it first, for example with .decode('utf-8').")
    if isinstance(items, Mapping):
        raise InputError(
            f"expected texts, got a {kind.__name__}, whose items are its keys",
            "Pass the text itself, for example row['text'], or a list of texts.",
        )
    # pandas and polars: data frames; Arrow: tables and record batches
    if (hasattr(kind, "columns") and hasattr(kind, "dtypes")) or hasattr(kind, "to_pydict"):
        raise InputError(
            f"expected texts, got a {kind.__name__}",
            "Pass the column that contains the texts, for example table['text'].",
        )
    if hasattr(items, "to_pylist"):  # an Arrow array, whose items are not strings
        plain: Iterable[Any] = items.to_pylist()
        return plain
    if getattr(items, "ndim", 1) != 1:
        raise InputError(f"expected a one-dimensional array of texts, got {items.ndim} dimensions")
    if not isinstance(items, Iterable):
        raise InputError(f"expected texts, got {kind.__name__}", "Pass a string, or an iterable of strings.")
    return items


def as_text(position: int, value: Any, missing: Missing = "error") -> str:
    """The text of an item.

    Args:
        position: of the item, counted from 0, for the error.
        value: the text.
        missing: ``empty`` returns an empty text for None, NaN and pandas' NA.

    Raises:
        InputError: it is not a string. The error does not contain the value.
    """
    if isinstance(value, str):
        return value
    if _is_missing(value):
        if missing == "empty":
            return ""
        raise InputError(
            f"the text at position {position} (counted from 0) is missing: {value}",
            'Remove it, or pass missing="empty" to score it as an empty text.',
        )
    raise InputError(
        f"the text at position {position} (counted from 0) is of type {type(value).__name__}, expected a string"
    )


def _is_missing(value: object) -> bool:
    if isinstance(value, float | np.floating):
        return bool(value != value)
    return value is None or type(value).__name__ in {"NAType", "NaTType", "MaskedConstant"}  # pandas, NumPy
