"""Whether the first line of a file names its columns, or is a row."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from toxonnx.texts import USUAL_TEXT_COLUMNS

__all__ = ["USUAL_LABEL_COLUMNS", "has_usual_text_column", "looks_like_data", "reads_like_text"]

#: usual names of a label column
USUAL_LABEL_COLUMNS = (
    "label", "labels", "class", "category", "target", "toxic", "toxicity", "hate", "hateful", "hate_speech",
    "offensive", "label_gold", "gold_label", "annotation", "y",
)  # fmt: skip
#: a column name with more characters, or at least this many words, is probably a text
TEXT_CHARACTERS, TEXT_WORDS = 60, 8
#: a column name with at least this many words may be a text, if there is other evidence
SENTENCE_WORDS = 3

_IN_SENTENCES_ONLY = re.compile(r"[.!…]$|https?://|(?<!\w)@\w")


def reads_like_text(name: str) -> bool:
    """Whether a column name is probably a text, which no report may contain."""
    words = len(name.split())
    return (
        len(name) > TEXT_CHARACTERS
        or words >= TEXT_WORDS
        or (words >= SENTENCE_WORDS and _IN_SENTENCES_ONLY.search(name.strip()) is not None)
    )


def has_usual_text_column(names: Sequence[str]) -> bool:
    """Whether one of the names is usual for a text column, which hardly is a value of a row."""
    return any(name.strip().lower() in USUAL_TEXT_COLUMNS for name in names)


def looks_like_data(columns: Mapping[str, Sequence[str]], named_columns: Collection[str] = ()) -> bool:
    """Whether the names of columns are probably the values of a row.

    Args:
        columns: column name -> its values, or the first of them.
        named_columns: columns that somebody named. A header that contains one of them is one, unless it reads like a
            sentence.
    """
    usual = [name for name in columns if name.strip().lower() in {*USUAL_TEXT_COLUMNS, *USUAL_LABEL_COLUMNS}]
    named = {name: values for name, values in columns.items() if name in named_columns}
    if not named:
        return not usual and any(reads_like_text(name) or name in values for name, values in columns.items())
    # A label such as "hate" is a usual name and a usual value.
    if any(name not in columns[name] for name in usual):
        return False
    # A column named spam may contain the labels spam and ham, so a single repeated name is not enough.
    repeated = any(name in values for name, values in named.items())
    return any(reads_like_text(name) or (repeated and len(name.split()) >= SENTENCE_WORDS) for name in named)
