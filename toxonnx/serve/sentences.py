"""Where the sentences of a text are."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Span", "sentence_spans"]

#: what ends a sentence: marks before white space or the end, marks of Chinese and Japanese, or a line break
_SENTENCE = re.compile(r"\S(?:[^\n.!?…\u3002\uff01\uff1f]|[.!?…]+(?=[^\s.!?…]))*[.!?…\u3002\uff01\uff1f]*")


class Span(NamedTuple):
    """A part of a text, by the positions of its characters; the end is exclusive."""

    begin: int
    end: int


def sentence_spans(text: str) -> list[Span]:
    """The sentences of a text in order, without the white space around them; at least one for a text that has any."""
    spans = []
    for found in _SENTENCE.finditer(text):
        spans.append(Span(found.start(), found.start() + len(found[0].rstrip())))
    return spans
