"""Long texts in windows: what each window contains, how they are pooled, what is beyond, and what it costs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from helpers import SHIPPED, each_alone, sentences
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer

from toxonnx import Classifier, Prediction, RuntimeOptions
from toxonnx.bundle import open_bundle
from toxonnx.errors import InputError
from toxonnx.inference import tokenizer as tokenizer_module
from toxonnx.inference.scores import probabilities
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.inference.windows import pool_windows
from toxonnx.labels import Labels
from toxonnx.long_texts import TRUNCATE, LongTexts

PATH = SHIPPED / "tokenizer.json"
RAW = RawTokenizer.from_file(str(PATH))
RAW.no_truncation()
SHORT = [text for text, _ in sentences(6)]
#: of two to eight windows of 128 tokens
LONG = [" ".join(text for text, _ in sentences(count, count)) for count in (15, 40, 60)]
POOL = [*SHORT, *LONG, "", "\N{SNOWMAN}" * 300, "word " * 300]
WORDS = st.sampled_from(["a", "fine", "day", "unbelievably", "\N{SNOWMAN}", "x" * 300, "...", "\n", "\u6c64", "[MASK]"])


@settings(max_examples=25, deadline=None)
@given(
    words=st.lists(WORDS, max_size=30), between=st.sampled_from(["", " "]), times=st.integers(1, 200),
    max_length=st.integers(6, 40), stride=st.integers(0, 40), max_windows=st.integers(1, 12),
)  # fmt: skip
def test_windows_cover_every_token_and_overlap_by_the_stride(
    words: list[str], between: str, times: int, max_length: int, stride: int, max_windows: int
) -> None:
    room = max_length - 2
    stride %= room
    text = "so " + between.join(words * times)
    whole = RAW.encode(text).ids[1:-1]
    reading = LongTexts(stride=stride, pool="max", max_windows=max_windows)
    tokenized = Tokenizer(PATH, max_length, reading)(["a", text, "b"])
    assert tokenized.windows.tolist() == [1, tokenized.windows[1], 1]
    rows = [tokenized.tokens.of(np.array([row])).tolist() for row in range(1, 1 + tokenized.windows[1])]
    assert len(rows) <= max_windows
    empty = [101, 102]
    start = 0
    for row in rows:
        expected = whole[start : start + room]
        assert row == [101, *expected, 102] or (row == empty and set(expected) <= {100})
        end, start = start + len(expected), start + room - stride
    assert tokenized.truncated.tolist() == [False, end < len(whole), False]
    assert end == len(whole) or len(rows) == max_windows
    assert end + 2 <= reading.tokens(max_length, 2)


@given(
    rows=st.lists(st.lists(st.floats(-30, 30, width=32), min_size=3, max_size=3), min_size=1, max_size=9),
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    pool=st.sampled_from(["max", "mean"]),
    activation=st.sampled_from(["softmax", "sigmoid"]),
    constant=st.integers(-8, 8),
)
def test_pooling(rows: list[list[float]], counts: list[int], pool: str, activation: str, constant: int) -> None:
    labels = Labels(("a", "b", "c"), activation)
    windows = np.array(counts)
    logits = np.resize(np.array(rows, np.float32), (windows.sum(), 3))
    pooled = pool_windows(logits, windows, labels, pool)
    parts = np.split(logits, np.cumsum(windows)[:-1])
    for i, (part, result) in enumerate(zip(parts, pooled, strict=True)):
        if len(part) == 1:
            assert result.tobytes() == part.tobytes()
        elif pool == "mean":
            np.testing.assert_allclose(result, part.mean(axis=0), rtol=1e-4, atol=1e-4)
        elif labels.multi:
            assert result.tolist() == part.max(axis=0).tolist()
        else:  # adding a constant to a window's logits changes no probability of that window, so none of the text
            ratios = probabilities(part, labels).max(axis=0)
            np.testing.assert_allclose(probabilities(result[None], labels)[0], ratios / ratios.sum(), atol=1e-5)
        alone = pool_windows(part, np.array([len(part)]), labels, pool)
        assert result.tobytes() == alone[0].tobytes(), i


@pytest.fixture(scope="module")
def alone() -> dict[str, Prediction]:
    """Each text scored by itself, in windows."""
    classifier = Classifier.load(long_texts="windows", threads=1)
    return each_alone(classifier, POOL)


@settings(max_examples=8, deadline=None)
@given(
    texts=st.lists(st.sampled_from(POOL), min_size=1, max_size=12),
    threads=st.integers(1, 3),
    max_batch_tokens=st.sampled_from([1, 300, 4096]),
    chunk_size=st.sampled_from([1, 7, 2048]),
)
def test_scores_do_not_depend_on_neighbours(
    alone: dict[str, Prediction], texts: list[str], threads: int, max_batch_tokens: int, chunk_size: int
) -> None:
    options = RuntimeOptions(
        threads=threads, max_batch_tokens=max_batch_tokens, chunk_size=chunk_size, long_texts="windows"
    )  # fmt: skip
    classifier = Classifier(open_bundle(SHIPPED), options)
    for text, prediction in classifier.stream(texts):
        assert prediction._replace(cached=False) == alone[text]
    (single,) = classifier.score(texts[0])
    assert single == alone[texts[0]]


def test_texts_of_one_window_have_the_scores_of_truncation(alone: dict[str, Prediction]) -> None:
    truncated = Classifier.load(long_texts="truncate").score(POOL)
    for text, prediction in zip(POOL, truncated, strict=True):
        assert prediction.truncated == (text in {*LONG, "word " * 300})
        assert (prediction == alone[text]) == (not prediction.truncated)
        assert not alone[text].truncated


def test_the_scores_of_a_text_are_those_of_its_windows() -> None:
    classifier = Classifier.load(long_texts="windows")
    tokenized = classifier.preprocess.tokenizer([classifier.preprocess.clean(text) for text in LONG])
    tokens = tokenized.tokens
    each = np.concatenate([classifier.engine.run(tokens, np.array([row])) for row in range(len(tokens.lengths))])
    parts = np.split(each, np.cumsum(tokenized.windows)[:-1])
    assert [len(part) for part in parts] == tokenized.windows.tolist() and min(tokenized.windows) > 1
    highest = np.stack([part.max(axis=0) for part in parts])  # as for every model of several labels per text
    assert classifier.score(LONG).logits.tobytes() == highest.tobytes()


def test_what_is_beyond_the_last_window_is_flagged() -> None:
    classifier = Classifier.load(long_texts="windows", max_windows=3)
    assert classifier.score(POOL).truncated.tolist() == [text in LONG[1:] for text in POOL]
    # It reads nothing of it.
    start, other = (LONG[2] + end for end in (" And so on.", " The soup was cold and nobody came."))
    one, two = classifier.score([start, other]).logits
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize(
    "unit", ["A fine day, and so it goes. ", "\u4eca\u5929\u7684\u6c64\u5f88\u51b7\u3002", "word" + " " * 40]
)
def test_a_text_of_megabytes_costs_no_more_than_its_windows(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in tokens that are made and scored, not in seconds."""
    made: list[int] = []

    class Counting:
        def __init__(self, inner: RawTokenizer) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def encode_batch(self, texts: list[str]) -> Any:
            made.extend(len(text) for text in texts)
            return self._inner.encode_batch(texts)

        def encode_batch_fast(self, texts: list[str]) -> Any:
            made.extend(len(text) for text in texts)
            return self._inner.encode_batch_fast(texts)

    class Raw:
        @staticmethod
        def from_file(path: str) -> Counting:
            return Counting(RawTokenizer.from_file(path))

    monkeypatch.setattr(tokenizer_module, "_Tokenizer", Raw)
    classifier = Classifier.load(long_texts="windows", max_windows=4)
    scored: list[int] = []
    run = classifier.engine.run

    def counting(tokens: Any, rows: np.ndarray) -> np.ndarray:
        scored.append(int(tokens.lengths[rows].sum()))
        return run(tokens, rows)

    monkeypatch.setattr(classifier.engine, "run", counting)
    text = unit * (5_000_000 // len(unit))
    read = classifier.preprocess.tokenizer.max_tokens
    scores = classifier.score([text, "a fine day"])
    assert scores.truncated.tolist() == [True, False]
    assert sum(scored) <= 4 * 128 + 128
    assert sum(made) <= (8 + 64 * unit.endswith("  ")) * read + 128  # characters
    # The windows are those of a text that is just long enough.
    shorter = classifier.score(text[: 200 * read] if unit.endswith("  ") else text[: 9 * read])
    assert shorter.truncated.all() and shorter.logits[0].tobytes() == scores.logits[0].tobytes()


@pytest.mark.parametrize(
    "options", [{"long_texts": "all"}, {"max_windows": 4}, {"long_texts": "truncate", "max_windows": 2}]
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="long_texts"):
        Classifier.load(**options)


def test_a_stride_without_progress_is_refused() -> None:
    with pytest.raises(InputError, match="room for 6 tokens"):
        Tokenizer(PATH, 8, LongTexts(stride=6, pool="max", max_windows=4))
    with pytest.raises(InputError, match="stride is 128"):
        LongTexts.with_defaults(max_length=128, multi=False, stride=128)


def test_a_bundle_keeps_how_long_texts_are_read() -> None:
    manifest = open_bundle(SHIPPED).manifest
    assert manifest.long_texts is None and RuntimeOptions().long_texts_of(manifest) == TRUNCATE
    chosen = LongTexts.with_defaults(max_length=128, multi=False, max_windows=5)
    changed = dataclasses.replace(manifest, long_texts=chosen)
    assert type(manifest).from_dict(changed.to_dict()) == changed
    assert RuntimeOptions().long_texts_of(changed) == chosen
    assert RuntimeOptions(long_texts="truncate").long_texts_of(changed) == TRUNCATE
    assert RuntimeOptions(max_windows=9).long_texts_of(changed) == dataclasses.replace(chosen, max_windows=9)
    with pytest.raises(InputError, match="stride is 32"):
        dataclasses.replace(changed, max_length=32)
