"""From the columns of a row to the text that a model reads: template and normalisation.

Training, verification and prediction all use this module, and a bundle's manifest records the settings, so that a
deployed model reads exactly what it was trained on.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from toxonnx.errors import InputError

__all__ = ["NORMALISERS", "USUAL_TEXT_COLUMNS", "TextSpec", "fold", "replace_surrogates", "unescape"]

#: usual names of a text column, if none is given
USUAL_TEXT_COLUMNS = (
    "text",
    "comment",
    "comment_text",
    "tweet",
    "content",
    "message",
    "body",
    "sentence",
    "post",
    "prompt",
)

_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_MENTION = re.compile(r"(?<![\w@])@\w+")
_SLOT = re.compile(r"\{([^{}]*)\}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_DECIMAL_REFERENCE = re.compile("(&#[0-9]+;?)")


def unescape(text: str) -> str:
    """The text with its HTML character references decoded; what cannot be decoded stays as it is."""
    try:
        return html.unescape(text)
    except ValueError:  # a decimal reference with more digits than int() converts
        return "".join(map(_unescape_part, _DECIMAL_REFERENCE.split(text)))


def _unescape_part(part: str) -> str:
    try:
        return html.unescape(part)
    except ValueError:
        return part


def _unescape_twice(text: str) -> str:
    # Scraped data often contains "&amp;#128512;", an escaped reference.
    return unescape(unescape(text)) if "&" in text else text


def replace_surrogates(text: str) -> str:
    """The text with U+FFFD for each lone surrogate, which UTF-8 cannot encode and no tokenizer takes."""
    return text if text.isascii() else _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


#: step -> function; a recipe lists the steps in order
NORMALISERS: dict[str, Callable[[str], str]] = {
    "html": _unescape_twice,
    "urls": lambda text: _URL.sub("http", text),
    "mentions": lambda text: _MENTION.sub("@user", text),
    "spaces": lambda text: " ".join(text.split()),
}


def fold(text: str) -> str:
    """A key under which texts that differ only in white space and case are equal."""
    return " ".join(text.split()).casefold()


@dataclass(frozen=True)
class TextSpec:
    """How the columns of a row become one text.

    Attributes:
        columns: the columns, in order; empty for a model that reads a single text column of any name.
        template: text with ``{column}`` placeholders; by default the columns are joined with a space.
        normalise: steps that are applied in this order after the template: "html" (resolve entities), "urls" (links
            become http), "mentions" (names become @user), "spaces" (collapse white space).
    """

    columns: tuple[str, ...] = ()
    template: str = ""
    normalise: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [step for step in self.normalise if step not in NORMALISERS]
        if unknown:
            raise InputError(
                f"unknown normalisation {', '.join(unknown)}", f"The known steps are {', '.join(NORMALISERS)}."
            )
        slots = _SLOT.findall(self.template)
        if self.template and set(slots) != set(self.columns):
            raise InputError(
                f"the text template uses {_listing(slots)}, but the text columns are {_listing(self.columns)}",
                "Use the same columns in both.",
            )

    def join(self, values: Sequence[str]) -> str:
        """The text of one row, from the values of its columns in order, not normalised yet."""
        if self.template and len(self.columns) == len(values):
            by_name: Mapping[str, str] = dict(zip(self.columns, values, strict=True))
            return _SLOT.sub(lambda slot: by_name[slot[1]], self.template)
        return " ".join(values)

    def render(self, values: Sequence[str]) -> str:
        """The normalised text of one row, as the model reads it."""
        return self.clean(self.join(values))

    def clean(self, text: str) -> str:
        """The normalised form of a text, without lone surrogates. Takes any string."""
        text = replace_surrogates(text)
        for step in self.normalise:
            text = NORMALISERS[step](text)
        return text

    def choose_columns(self, header: Sequence[str], requested: Sequence[str] = ()) -> tuple[str, ...]:
        """The text columns of a file: the requested ones, else the model's own, else the only column with a usual name.

        Raises:
            InputError: no column fits, or several do; lists the file's columns.
        """
        listing = f"Its columns: {_listing(header)}."
        if requested:
            missing = [name for name in requested if name not in header]
            if missing:
                raise InputError(f"no column {_listing(missing)}", listing)
            if len(requested) not in {1, len(self.columns) or len(requested)}:
                raise InputError(
                    f"{len(requested)} text columns given, the model reads {len(self.columns)}: "
                    f"{_listing(self.columns)}",
                    "Give one column with the whole text, or as many as the model reads, in its order.",
                )
            return tuple(requested)
        if self.columns and all(name in header for name in self.columns):
            return self.columns
        usual = [name for name in header if name.strip().lower() in USUAL_TEXT_COLUMNS]
        if len(usual) == 1:
            return (usual[0],)
        why = f"several columns may contain the text: {_listing(usual)}" if usual else "no text column"
        raise InputError(why, f"{listing} Name the text column with --text-column COLUMN.")


def _listing(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
