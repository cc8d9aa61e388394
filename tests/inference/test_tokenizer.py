"""Tokens of long texts, and of texts without a known token."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SHIPPED
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, models, pre_tokenizers, processors
from tokenizers import Tokenizer as RawTokenizer

from toxonnx.errors import BundleError, InputError
from toxonnx.inference.tokenizer import Tokenizer


@settings(max_examples=30, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(["a", "fine", "day", "unbelievably", "\N{SNOWMAN}", "x" * 300, "...", "\n"]), max_size=30
    ),
    times=st.integers(1, 3000),
)
def test_the_start_of_a_long_text_has_the_same_tokens(words: list[str], times: int) -> None:
    text = " ".join(["so", *words * times])  # with a known token
    path = SHIPPED / "tokenizer.json"
    theirs = RawTokenizer.from_file(str(path))
    theirs.enable_truncation(128)
    tokens = Tokenizer(path, 128)(["a", text, text])
    expected = theirs.encode(text)
    for row in (1, 2):
        assert tokens.tokens.of(np.array([row])).tolist() == expected.ids
        assert tokens.truncated[row] == bool(expected.overflowing)


def _tokenizers() -> dict[str, tuple[RawTokenizer, list[str]]]:
    """Tokenizers of each kind, with the tokens of an empty text."""
    wordpiece = RawTokenizer.from_file(str(SHIPPED / "tokenizer.json"))
    words = RawTokenizer(models.WordLevel({"day": 0, "[UNK]": 1, "fine": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    letters: list[tuple[str, float]] = [(letter, -2.0) for letter in "\u2581abcdefghijklmnopqrstuvwxyz"]
    pieces = RawTokenizer(models.Unigram([("<s>", 0.0), *letters, ("<unk>", 0.0)], unk_id=len(letters) + 1))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    pieces.enable_padding(length=8)
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    byte_level = RawTokenizer(models.BPE({symbol: i for i, symbol in enumerate(symbols)}, []))
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    return {
        "wordpiece": (wordpiece, ["[CLS]", "[SEP]"]),
        "words": (words, ["[UNK]"]),
        "pieces": (pieces, ["<s>"]),
        "byte-level": (byte_level, ["<|endoftext|>"]),
    }


@pytest.mark.parametrize("kind", _tokenizers())
def test_a_text_without_a_known_token_has_the_tokens_of_an_empty_text(kind: str, tmp_path: Path) -> None:
    theirs, of_empty = _tokenizers()[kind]
    path = tmp_path / "tokenizer.json"
    theirs.save(str(path))
    theirs.no_padding()
    tokenizer = Tokenizer(path, 64)
    empty = [theirs.token_to_id(token) for token in of_empty]
    thumb = "\N{THUMBS UP SIGN}"

    @settings(max_examples=50, deadline=None)
    @given(texts=st.lists(st.text(st.characters(), max_size=9) | st.sampled_from(["", " ", thumb, "fine day"])))
    def check(texts: list[str]) -> None:
        tokens = tokenizer(texts)
        assert len(tokens) == len(tokens.truncated) == len(tokens.no_tokens) == len(texts)
        for i, text in enumerate(texts):
            ids = tokens.tokens.of(np.array([i])).tolist()
            if tokens.no_tokens[i]:
                assert ids == empty
            else:
                assert ids == theirs.encode(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")).ids
            if not text or (text == thumb and kind != "byte-level"):  # bytes are always known
                assert tokens.no_tokens[i]
            if "fine day" in text:
                assert not tokens.no_tokens[i]

    check()


def _changed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    table = json.loads((SHIPPED / "tokenizer.json").read_text(encoding="utf-8"))
    change(table)
    path.write_text(json.dumps(table), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table["post_processor"]["special_tokens"].clear(),
        lambda table: table["post_processor"]["special_tokens"]["[CLS]"].update(ids=[1 << 31]),
    ],
)
def test_a_tokenizer_that_fails_on_the_empty_text_is_an_error(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    with pytest.raises(InputError, match="is not a tokenizer"):
        Tokenizer(_changed(tmp_path / "tokenizer.json", change), 64)


def test_an_id_that_no_model_has_is_an_error(tmp_path: Path) -> None:
    path = _changed(tmp_path / "tokenizer.json", lambda table: table["model"]["vocab"].update(morning=1 << 31))
    tokenizer = Tokenizer(path, 64)
    with pytest.raises(BundleError, match="an id that no model has"):
        tokenizer(["What a lovely morning!"])


def test_a_tokenizer_that_fails_on_unknown_words_is_an_error(tmp_path: Path) -> None:
    RawTokenizer(models.WordLevel({"day": 0}, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="cannot tokenize unknown words"):
        Tokenizer(tmp_path / "tokenizer.json", 64)
