"""Templates, normalisation and the choice of text columns."""

from __future__ import annotations

import contextlib
import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toxonnx.errors import InputError
from toxonnx.texts import NORMALISERS, TextSpec, unescape

#: HTML character references: decimal, hexadecimal, named; nested, unterminated, huge, of surrogates
REFERENCES = st.builds(
    lambda start, digits, times, end: f"{start}{digits * times}{end}",
    st.sampled_from(["&", "&#", "&#x", "&#X", "&amp;#", "&amp;amp;#x", "&&#", "&##"]),
    st.sampled_from(["0", "9", "65", "d800", "128512", "1114112", "lt", "\u0663"]),
    st.sampled_from([1, 2, 700, 4300, 4301, 9000]),
    st.sampled_from([";", "", " ", "x"]),
)


def test_normalisation() -> None:
    spec = TextSpec(normalise=("html", "urls", "mentions", "spaces"))
    text = "RT @anna_b: see  https://example.org/a?b=1,\tor mail me@example.org &amp;#128512;\n"
    assert spec.clean(text) == "RT @user: see http or mail me@example.org \N{GRINNING FACE}"
    assert spec.clean(spec.clean(text)) == spec.clean(text)
    with pytest.raises(InputError, match="unknown normalisation stem"):
        TextSpec(normalise=("stem",))


@given(parts=st.lists(st.text(st.characters()) | REFERENCES, max_size=6))
def test_normalisation_takes_any_text(parts: list[str]) -> None:
    text = "".join(parts)
    TextSpec(normalise=tuple(NORMALISERS)).clean(text).encode()  # no lone surrogate is left
    with contextlib.suppress(ValueError):  # more digits than int() converts
        assert unescape(text) == html.unescape(text)


def test_a_number_that_is_too_long_stays_as_it_is() -> None:
    huge = f"&#{'9' * 4301};"
    spec = TextSpec(normalise=("html",))
    assert spec.clean(f"&lt; {huge} &amp;lt; &#65;") == f"< {huge} < A"
    assert spec.clean(f"&amp;{huge[1:]}") == huge
    assert spec.clean(f"&#{'9' * 4300};") == "\N{REPLACEMENT CHARACTER}"
    assert spec.clean("\ud83d today") == "\N{REPLACEMENT CHARACTER} today"


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
