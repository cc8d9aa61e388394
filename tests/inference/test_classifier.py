"""A text's scores do not depend on the texts around it."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import SHIPPED, each_alone, sentences
from hypothesis import given, settings
from hypothesis import strategies as st

from toxonnx import Classifier, Prediction, RuntimeOptions
from toxonnx.bundle import open_bundle
from toxonnx.convert.sample_texts import SENTENCES
from toxonnx.errors import InputError

POOL = [*SENTENCES, *(text for text, _ in sentences(30)), "", "word " * 300, "a", "\N{SNOWMAN}"]


@pytest.fixture(scope="module")
def reference() -> dict[str, Prediction]:
    """Each text scored by itself."""
    classifier = Classifier.load(threads=1)
    return each_alone(classifier, POOL)


@pytest.mark.parametrize("copies", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_classifier_that_is_copied_says_to_load_it_in_each_process(copies: Callable[[Classifier], object]) -> None:
    with pytest.raises(InputError, match="cannot be pickled or copied") as caught:
        copies(Classifier.load())
    assert "Load it in each process" in caught.value.hint


def test_options_may_be_numbers_of_numpy() -> None:
    counts = dict.fromkeys(("threads", "max_batch_tokens", "chunk_size", "max_windows"), np.int64(2))
    options = RuntimeOptions(**counts, tokenizer_processes=np.uint8(0), audit=np.float32(0.5), long_texts="windows")
    assert options == RuntimeOptions(**dict.fromkeys(counts, 2), tokenizer_processes=0, audit=0.5, long_texts="windows")
    assert all(type(value) in {int, float, str, bool, type(None)} for value in vars(options).values())
    assert Classifier.load(review_below=np.float32(0.5)).review_below == 0.5


@pytest.mark.parametrize("name", ["threads", "audit", "review_below"])
@pytest.mark.parametrize("value", [True, np.True_, "1", np.nan, -1])
def test_options_are_numbers_in_their_range(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name} must be"):
        Classifier.load(**{name: value})


def test_the_shipped_bundle_agrees_with_pytorch() -> None:
    expected = json.loads((SHIPPED / "expected.json").read_text(encoding="utf-8"))
    assert len(expected["pytorch"]) == 20
    classifier = Classifier.load()
    assert list(classifier.labels.names) == expected["labels"]
    for row, (_, prediction) in zip(
        expected["pytorch"], classifier.stream(row["text"] for row in expected["pytorch"]), strict=True
    ):
        reference = np.array(row["probabilities"])
        assert np.abs(np.array([*prediction.probabilities.values()]) - reference).max() < 0.08, row["text"]


def test_the_shipped_bundle_is_small_and_accurate() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 26e6
    verification = open_bundle(SHIPPED).manifest.verification
    assert verification is not None and verification.test is not None
    assert verification.test.metrics["final"]["macro_f1"] >= 0.65


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.sampled_from(POOL), min_size=1, max_size=40),
    threads=st.integers(1, 4),
    max_batch_tokens=st.sampled_from([1, 64, 512, 4096]),
    chunk_size=st.sampled_from([1, 7, 2048]),
)
def test_scores_do_not_depend_on_neighbours_order_threads_or_windows(
    reference: dict[str, Prediction], texts: list[str], threads: int, max_batch_tokens: int, chunk_size: int
) -> None:
    classifier = Classifier(
        open_bundle(SHIPPED), RuntimeOptions(threads=threads, max_batch_tokens=max_batch_tokens, chunk_size=chunk_size)
    )
    results = list(classifier.stream(texts))
    assert [text for text, _ in results] == texts
    for text, prediction in results:
        assert prediction._replace(cached=False) == reference[text]
        assert prediction.truncated == (text == "word " * 300)


def test_streaming_reads_only_a_few_windows_ahead() -> None:
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield f"day {taken % 5}"

    stream = Classifier(open_bundle(SHIPPED), RuntimeOptions(chunk_size=16)).stream(endless())
    for _ in range(20):
        next(stream)
    stream.close()
    assert taken <= 4 * 16


@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
def test_a_single_row_is_scored_as_in_a_batch(bundles: dict[str, Path], precision: str) -> None:
    opened = open_bundle(bundles[precision])
    together = Classifier(opened, RuntimeOptions(max_batch_tokens=4096))
    apart = Classifier(opened, RuntimeOptions(max_batch_tokens=1, threads=1))
    limit = 0 if precision == "int8" else 1e-5
    for (text, one), (_, other) in zip(together.stream(POOL), apart.stream(POOL), strict=True):
        by_name = {item["label"]: item["score"] for item in together.predict(text, top_k=None)}
        for label, probability in one.probabilities.items():
            assert abs(probability - other.probabilities[label]) <= limit
            assert abs(probability - by_name[label]) <= limit
        assert one.labels == other.labels == (max(by_name, key=by_name.__getitem__),)


def test_single_texts_in_quick_succession_have_the_same_scores(
    reference: dict[str, Prediction], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toxonnx.inference.engine.IDLE_SECONDS", float("inf"))  # so that every call runs on all threads
    classifier = Classifier.load(threads=3)
    for text in POOL:
        (scored,) = classifier.score(text)
        assert scored == reference[text]


def test_closing_a_stream_does_not_wait_for_a_blocked_source() -> None:
    silent = threading.Event()

    def source() -> Iterator[str]:
        yield from (f"day {number}" for number in range(8))
        silent.wait(30)

    stream = Classifier(open_bundle(SHIPPED), RuntimeOptions(chunk_size=4)).stream(source())
    assert next(stream)[0] == "day 0"
    started = time.monotonic()
    stream.close()
    assert time.monotonic() - started < 10
    silent.set()


def test_items_before_an_error_are_scored() -> None:
    def source() -> Iterator[str]:
        yield from ("a fine day", "a fine day", "rain")
        raise OSError("the line went dead")

    stream = Classifier.load().stream(source())
    assert [(text, prediction.cached) for text, prediction in itertools.islice(stream, 3)] == [
        ("a fine day", False), ("a fine day", True), ("rain", False),
    ]  # fmt: skip
    with pytest.raises(OSError, match="the line went dead"):
        next(stream)
