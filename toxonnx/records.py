"""Dataclasses from plain values, as they come out of JSON or TOML: the reverse of :func:`dataclasses.asdict`.

The types of the fields are the schema. ``Annotated[int, Rule(...)]`` narrows a type, a ``TypedDict`` describes an
object that stays a dictionary, and ``Any`` stands for any value that JSON can express.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypeVar

from toxonnx.errors import InputError

__all__ = ["Count", "NotNegative", "Rule", "Share", "from_plain", "one_of", "read_json", "read_toml", "to_json"]

R = TypeVar("R")

#: largest JSON file that is read, in bytes; manifests have some 100 kB
MAX_BYTES = 1 << 23
#: deepest nesting of values whose type is ``Any``
MAX_DEPTH = 32
_TYPE_NAMES = {int: "an integer", float: "a number", str: "a string", bool: "true or false", dict: "an object"}


@dataclass(frozen=True, eq=False)  # compared and hashed by identity, as the parts of a type have to be hashable
class Rule:
    """What the values of a type have to fulfil besides.

    Attributes:
        description: completes "must be ...".
        holds: whether a value, which has the right type, fulfils it.
        json_schema: the same in keywords of JSON Schema, as far as they can express it.
    """

    description: str
    holds: Callable[[Any], bool]
    json_schema: Mapping[str, Any] = field(default_factory=dict)


def one_of(*values: str) -> Rule:
    """The rule that a string is one of a few."""
    return Rule(f"one of {', '.join(values)}", lambda value: value in values, {"enum": list(values)})


_NOT_NEGATIVE = Rule("0 or more", lambda value: value >= 0, {"minimum": 0})
Count = Annotated[int, _NOT_NEGATIVE]
NotNegative = Annotated[float, _NOT_NEGATIVE]
Share = Annotated[float, Rule("between 0 and 1", lambda value: 0 <= value <= 1, {"minimum": 0, "maximum": 1})]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of limited size.

    Raises:
        InputError: it is too large, or not a JSON object.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
    try:
        table = json.loads(content.decode("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    except ValueError:  # of int()
        raise InputError(f"{path} contains a number with too many digits") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply") from None
    if not isinstance(table, dict):
        raise InputError(f"{path} must contain a JSON object, got {_shown(table)}")
    return table


def to_json(table: Any) -> str:
    """Plain values as the JSON of a file: indented, and with nothing escaped that UTF-8 can express."""
    text = json.dumps(table, indent=2, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        InputError: it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None


def from_plain(kind: type[R], table: Any, where: str = "") -> R:
    """Builds a dataclass, and the dataclasses inside it, by the types of its fields.

    Args:
        kind: a dataclass, or a ``TypedDict``.
        table: a mapping of its fields; fields with a default may be missing.
        where: path of ``table`` in the document, for errors.

    Raises:
        InputError: a key is unknown or missing, or a value has the wrong type or is out of range; names the key.
    """
    if not isinstance(table, Mapping):
        raise InputError(f"{where or 'the document'} must be an object, got {_shown(table)}")
    fields: Any = _fields  # a class can be hashed, which mypy doubts
    hints, required = fields(kind)
    for key in table:
        if key not in hints:
            raise InputError(f"unknown key {_path(where, key)}", f"The known keys are {', '.join(hints)}.")
    for key in required:
        if key not in table:
            raise InputError(f"missing key {_path(where, key)}")
    values = {key: _value(hints[key], value, _path(where, key)) for key, value in table.items()}
    try:
        return kind(**values)
    except InputError as error:  # of __post_init__, which checks fields against each other
        raise InputError(f"{where}: {error.what}" if where else error.what, error.hint) from None


@functools.cache
def _fields(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Types of the fields, and the names of those without a default."""
    hints = typing.get_type_hints(kind, include_extras=True)
    if not dataclasses.is_dataclass(kind):
        optional = {key for key, hint in hints.items() if typing.get_origin(hint) is NotRequired}
        hints |= {key: typing.get_args(hints[key])[0] for key in optional}
        return hints, frozenset(hints) - optional
    return hints, frozenset(
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    )


def _value(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return _plain(value, where)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        value = _value(inner[0], value, where)
        for rule in inner[1:]:
            if not rule.holds(value):
                raise InputError(f"{where} must be {rule.description}, got {_shown(value)}")
        return value
    if origin in {types.UnionType, typing.Union}:
        if value is None and type(None) in inner:
            return None
        options = [option for option in inner if option is not type(None)]
        kind = tuple if isinstance(value, list) else type(value)
        fits = (option for option in options if (typing.get_origin(option) or option) is kind)
        if (option := next(fits, None)) is None:
            option = options[0]
            if len(options) > 1:
                names = " or ".join(_type_name(option) for option in options)
                raise InputError(f"{where} must be {names}, got {_shown(value)}")
        return _value(option, value, where)
    if dataclasses.is_dataclass(hint) or typing.is_typeddict(hint):
        return from_plain(hint, value, where)
    if origin in {list, tuple}:
        return origin(_items(origin, inner, value, where))
    if origin is dict and isinstance(value, Mapping):
        return {
            _value(inner[0], key, f"key {_shown(key)} of {where}"): _value(inner[1], item, _path(where, key))
            for key, item in value.items()
        }
    return _scalar(origin or hint, value, where)


def _type_name(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in {list, tuple}:
        return _list_name(inner[0])
    return _TYPE_NAMES.get(origin or hint, getattr(hint, "__name__", "a value"))


def _list_name(item: Any) -> str:
    return "a list of strings" if item is str else "a list"


def _items(origin: Any, inner: tuple[Any, ...], value: Any, where: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where} must be {_list_name(inner[0])}, got {_shown(value)}")
    if origin is list or inner[1] is Ellipsis:
        inner = (inner[0],) * len(value)
    if len(value) != len(inner):
        raise InputError(f"{where} must have {len(inner)} values, got {len(value)}")
    return [_value(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(inner, value, strict=True))]


def _scalar(hint: Any, value: Any, where: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and is_number:
        if abs(value) <= 1e300:  # written so that NaN and infinity fail
            return float(value)
        raise InputError(f"{where} must be a finite number, got {_shown(value)}")
    if not isinstance(value, hint) or (hint is int and not is_number):
        raise InputError(f"{where} must be {_type_name(hint)}, got {_shown(value)}")
    if hint is int and abs(value) >= 1 << 63:
        raise InputError(f"{where} must be an integer of 64 bits, got {_shown(value)}")
    if hint is str and not _is_unicode(value):
        raise InputError(f"{where} must be a string without lone surrogates, got {_shown(value)}")
    return value


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """The same value, if JSON can express it."""
    if depth > MAX_DEPTH:
        raise InputError(f"{where} is nested too deeply")
    if isinstance(value, Mapping):
        return {
            _scalar(str, key, f"key {_shown(key)} of {where}"): _plain(item, _path(where, key), depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    if value is None:
        return None
    return _scalar(next((kind for kind in (bool, int, float) if isinstance(value, kind)), str), value, where)


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _path(where: str, key: Any) -> str:
    """The path of a key inside an object; keys with other characters than a name has are quoted and shortened."""
    name = key if isinstance(key, str) and key.replace("-", "_").isidentifier() and len(key) <= 60 else _shown(key)
    return f"{where}.{name}" if where else name


def _shown(value: Any) -> str:
    """A value as JSON, for an error: in ASCII, and short."""
    if isinstance(value, Mapping | list | tuple):
        return "an object" if isinstance(value, Mapping) else "a list"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 63:
        return "a number of more than 64 bits"  # Python does not print the longest ones
    shown = json.dumps(value) if value is None or isinstance(value, bool | int | float | str) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
