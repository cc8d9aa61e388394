"""Templates, normalisation and the choice of text columns."""

from __future__ import annotations

import pytest

from toxonnx.errors import InputError
from toxonnx.texts import TextSpec


def test_normalisation() -> None:
    spec = TextSpec(normalise=("html", "urls", "mentions", "spaces"))
    text = "RT @anna_b: see  https://example.org/a?b=1,\tor mail me@example.org &amp;#128512;\n"
    assert spec.clean(text) == "RT @user: see http or mail me@example.org \N{GRINNING FACE}"
    assert spec.clean(spec.clean(text)) == spec.clean(text)
    with pytest.raises(InputError, match="unknown normalisation stem"):
        TextSpec(normalise=("stem",))


def test_template() -> None:
    spec = TextSpec(("query", "image descriptions"), "{query} [image: {image descriptions}]")
    assert spec.render(["why {query}?", "a dog"]) == "why {query}? [image: a dog]"
    with pytest.raises(InputError, match="template uses 'a'"):
        TextSpec(("b",), "{a}")


def test_choosing_text_columns() -> None:
    pair = TextSpec(("query", "image"), "{query} {image}")
    assert pair.choose_columns(["id", "image", "query"]) == ("query", "image")
    assert pair.choose_columns(["id", "Comment"]) == ("Comment",)
    assert pair.choose_columns(["q", "i"], ["q", "i"]) == ("q", "i")
    assert pair.choose_columns(["q", "i"], ["i"]) == ("i",)
    for header, asked, message in (
        (["id", "n"], (), "no text column"),
        (["text", "body"], (), "several columns may contain the text: 'text', 'body'"),
        (["id", "n"], ("text",), "no column 'text'"),
        (["a", "b", "c"], ("a", "b", "c"), "3 text columns given, the model reads 2"),
    ):
        with pytest.raises(InputError, match=message):
            pair.choose_columns(header, asked)
