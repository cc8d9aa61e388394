"""Tokens of long texts."""

from __future__ import annotations

import numpy as np
from helpers import SHIPPED
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer

from toxonnx.inference.tokenizer import Tokenizer


@settings(max_examples=30, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(["a", "fine", "day", "unbelievably", "\N{SNOWMAN}", "x" * 300, "...", "\n"]), max_size=30
    ),
    times=st.integers(1, 3000),
)
def test_the_start_of_a_long_text_has_the_same_tokens(words: list[str], times: int) -> None:
    text = " ".join(words * times)
    path = SHIPPED / "tokenizer.json"
    theirs = RawTokenizer.from_file(str(path))
    theirs.enable_truncation(128)
    tokens = Tokenizer(path, 128)(["a", text, text])
    expected = theirs.encode(text)
    for row in (1, 2):
        assert tokens.of(np.array([row])).tolist() == expected.ids
        assert tokens.truncated[row] == bool(expected.overflowing)
