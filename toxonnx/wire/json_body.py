"""Strict JSON, and the values that a protocol expects in it. No message contains a value: it may be a user's text."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from toxonnx.wire.errors import RequestError

__all__ = ["MAX_DEPTH", "as_object", "get", "parse_json", "require", "type_name"]

T = TypeVar("T")

#: deepest nesting of objects and lists; the deepest request of a protocol has 6 levels
MAX_DEPTH = 32
#: a string, also one without an end: every byte is looked at once
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_OTHERS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_CHANGES = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_TYPE_NAMES: dict[type, str] = {
    str: "a string", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object",
    type(None): "null",
}  # fmt: skip


def parse_json(body: bytes) -> Any:
    """The JSON value of a body.

    Raises:
        RequestError: it is not UTF-8 or not JSON, is nested too deeply, or has a repeated key, NaN or infinity.
    """
    nesting = _STRINGS.sub(b"", body).translate(None, _OTHERS)
    if max(itertools.accumulate(map(_CHANGES.__getitem__, nesting)), default=0) > MAX_DEPTH:
        raise RequestError("malformed", f"the body is nested more than {MAX_DEPTH} levels deep")
    try:
        return json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        raise RequestError("malformed", f"the body is not UTF-8, at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise RequestError(
            "malformed", f"the body is not JSON: {error.msg}, line {error.lineno} column {error.colno}"
        ) from None
    except (ValueError, RecursionError):  # of int()
        raise RequestError("malformed", "the body has a number with too many digits") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise RequestError("malformed", "the body has an object with a repeated key")
    return table


def _no_constant(_: str) -> float:
    raise RequestError("malformed", "the body contains NaN or Infinity, which are not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise RequestError("malformed", "the body has a number that is too large")
    return number


def type_name(value: object) -> str:
    """The type of a JSON value in words."""
    return _TYPE_NAMES[type(value)]


def require(value: Any, kind: type[T], where: str) -> T:
    """The value, if it is of a type; for float, also an integer, which becomes a float.

    Raises:
        RequestError: it is of another type, or an integer that is too large for a float.
    """
    if kind is float and type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            raise RequestError("invalid", f"{where} is too large", field=where) from None
    if type(value) is kind:
        return value
    raise RequestError("invalid", f"{where} must be {_TYPE_NAMES[kind]}, got {type_name(value)}", field=where)


def as_object(value: Any, where: str = "the body") -> Mapping[str, Any]:
    """The value, if it is an object; see :func:`require`."""
    return require(value, dict, where)


def get(table: Mapping[str, Any], key: str, kind: type[T], default: T, where: str = "") -> T:
    """The value of an optional key, of which null is the same as no value; see :func:`require`."""
    value = table.get(key)
    return default if value is None else require(value, kind, f"{where}{key}")
