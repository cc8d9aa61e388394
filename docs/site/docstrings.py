"""What the docstrings and comments of dataclasses say about their fields, as Markdown."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from typing import Any

from sphinx.pycode import ModuleAnalyzer

__all__ = ["cell", "field_docs", "summary", "to_markdown"]


def summary(kind: type) -> str:
    """The docstring of a class without its sections, as Markdown."""
    return to_markdown(re.split(r"\n\n?(?:Attributes|Args|Raises):\n", inspect.getdoc(kind) or "")[0])


def field_docs(kind: type) -> dict[str, str]:
    """Field -> its description, for a class and those it derives from.

    A field that is itself a dataclass needs none: its class has one.

    Raises:
        LookupError: another field has none.
    """
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        if base.__module__.startswith("toxonnx."):
            docs |= _comments(base) | _attributes(base)
    hints = typing.get_type_hints(kind)
    fields = [name for name, hint in hints.items() if name in docs or not dataclasses.is_dataclass(hint)]
    if missing := set(fields) - docs.keys():
        raise LookupError(f"{kind.__module__}.{kind.__name__}: no description of {', '.join(sorted(missing))}")
    return {name: to_markdown(docs[name]) for name in fields}


def _comments(kind: type) -> dict[str, str]:
    """The comments ``#: ...`` above fields."""
    analyzer = ModuleAnalyzer.for_module(kind.__module__)
    docs = analyzer.find_attr_docs()
    return {name: " ".join(lines).strip() for (owner, name), lines in docs.items() if owner == kind.__name__}


def _attributes(kind: type) -> dict[str, str]:
    """The section ``Attributes:`` of the docstring; ``a, b: ...`` is about both."""
    _, _, section = (inspect.getdoc(kind) if "__doc__" in vars(kind) else "").partition("Attributes:\n")
    docs = {}
    for entry in re.findall(r"^    (\w[\w, ]*): (.*(?:\n        .*)*)", section, re.MULTILINE):
        docs |= dict.fromkeys(entry[0].split(", "), " ".join(entry[1].split()).removesuffix("."))
    return docs


def to_markdown(text: str) -> str:
    """reStructuredText of a docstring as Markdown."""
    return re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text).replace("``", "`")


def cell(value: Any) -> str:
    """Text as a cell of a Markdown table."""
    return str(value).replace("|", r"\|").replace("\n", " ")
