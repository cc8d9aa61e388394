"""From columns to the one text that a model reads: template and normalisation.

Training, verification and prediction all come through here, and a bundle's manifest keeps what was used, so that a
served model reads exactly what it was trained on.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from toxonnx.errors import InputError

__all__ = ["NORMALISERS", "USUAL_COLUMNS", "TextSpec", "fold"]

#: names that a text column usually has, when nobody says which one it is
USUAL_COLUMNS = ("text", "comment", "comment_text", "tweet", "content", "message", "body", "sentence", "post", "prompt")

_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_MENTION = re.compile(r"(?<![\w@])@\w+")
_SLOT = re.compile(r"\{([^{}]*)\}")


def _unescape(text: str) -> str:
    # Twice: scraped data often holds "&amp;#128512;", an entity of an entity.
    return html.unescape(html.unescape(text)) if "&" in text else text


#: step name -> function; a recipe names the steps in order
NORMALISERS: dict[str, Callable[[str], str]] = {
    "html": _unescape,
    "urls": lambda text: _URL.sub("http", text),
    "mentions": lambda text: _MENTION.sub("@user", text),
    "spaces": lambda text: " ".join(text.split()),
}


def fold(text: str) -> str:
    """What makes two texts the same text for a split: white space and case do not count."""
    return " ".join(text.split()).casefold()


@dataclass(frozen=True)
class TextSpec:
    """How a row's columns become one text.

    Attributes:
        columns: the columns read, in order. Empty: a bare text, from whatever column the user names.
        template: text with ``{column}`` slots; empty joins the columns with a space.
        normalise: names out of :data:`NORMALISERS`, applied in order after the template.
    """

    columns: tuple[str, ...] = ()
    template: str = ""
    normalise: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [step for step in self.normalise if step not in NORMALISERS]
        if unknown:
            raise InputError(f"unknown normalisation {', '.join(unknown)}", f"Known: {', '.join(NORMALISERS)}.")
        slots = _SLOT.findall(self.template)
        if self.template and set(slots) != set(self.columns):
            raise InputError(
                f"the text template reads {_listing(slots)}, the text columns are {_listing(self.columns)}",
                "Name the same columns in both.",
            )

    def join(self, values: Sequence[str]) -> str:
        """The text of one row, from the values of its columns in order, not yet normalised."""
        if self.template and len(self.columns) == len(values):
            by_name: Mapping[str, str] = dict(zip(self.columns, values, strict=True))
            return _SLOT.sub(lambda slot: by_name[slot[1]], self.template)
        return " ".join(values)

    def render(self, values: Sequence[str]) -> str:
        """The text of one row, normalised: what the model reads."""
        return self.clean(self.join(values))

    def clean(self, text: str) -> str:
        """The normalised form of a text that is already one."""
        for step in self.normalise:
            text = NORMALISERS[step](text)
        return text

    def choose_columns(self, header: Sequence[str], asked: Sequence[str] = ()) -> tuple[str, ...]:
        """The columns of a file to read: those asked for, else the spec's own, else the only usual one.

        Raises:
            InputError: none, or more than one, fits; lists the file's columns.
        """
        listing = f"Its columns: {_listing(header)}."
        if asked:
            missing = [name for name in asked if name not in header]
            if missing:
                raise InputError(f"no column {_listing(missing)} in the header", listing)
            if len(asked) not in {1, len(self.columns) or len(asked)}:
                raise InputError(
                    f"{len(asked)} text columns given, the model reads {len(self.columns)}: {_listing(self.columns)}",
                    "Give one column that holds the whole text, or as many as the model reads, in its order.",
                )
            return tuple(asked)
        if self.columns and all(name in header for name in self.columns):
            return self.columns
        usual = [name for name in header if name.strip().lower() in USUAL_COLUMNS]
        if len(usual) == 1:
            return (usual[0],)
        why = f"several columns might hold the text: {_listing(usual)}" if usual else "no text column in the header"
        raise InputError(why, f"{listing} Name the one to read with --text-column COLUMN.")


def _listing(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
