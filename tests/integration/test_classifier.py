"""The shipped bundle, and the law that a text's scores do not depend on what stands beside it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, sentences
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer

from toxonnx import Classifier
from toxonnx.bundle import open_bundle
from toxonnx.convert.sample_texts import SENTENCES
from toxonnx.errors import InputError, MachineError
from toxonnx.inference.tokenizer import Tokenizer

SHIPPED = ROOT / "export" / "bundles" / "minilm-hate-int8"
POOL = [*SENTENCES, *(text for text, _ in sentences(30)), "", "word " * 300, "a", "\N{SNOWMAN}"]


@pytest.fixture(scope="module")
def alone() -> dict[str, np.ndarray]:
    """Probabilities of each text scored by itself."""
    classifier = Classifier.load(threads=1)
    return {text: next(p for _, p in classifier.stream([text])).probabilities for text in POOL}


def test_the_shipped_bundle_says_what_pytorch_said() -> None:
    expected = json.loads((SHIPPED / "expected.json").read_text(encoding="utf-8"))
    assert len(expected["pytorch"]) == 20
    classifier = Classifier.load()
    assert list(classifier.labels.names) == expected["labels"]
    for row, (_, prediction) in zip(
        expected["pytorch"], classifier.stream(row["text"] for row in expected["pytorch"]), strict=True
    ):
        reference = np.array(row["probabilities"])
        assert np.abs(prediction.probabilities - reference).max() < 0.08, row["text"]
        assert prediction.labels == (expected["labels"][reference.argmax()],), row["text"]


def test_the_shipped_bundle_is_small_and_good() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 26e6
    measured = open_bundle(SHIPPED).manifest.verification["test"]
    assert measured["metrics"]["final"]["accuracy"] >= 0.90
    assert measured["metrics"]["final"]["macro_f1"] >= 0.75


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.sampled_from(POOL), min_size=1, max_size=40),
    threads=st.integers(1, 4),
    max_batch_tokens=st.sampled_from([1, 64, 512, 4096]),
    window=st.sampled_from([1, 7, 2048]),
)
def test_neighbours_order_threads_and_windows_change_nothing(
    alone: dict[str, np.ndarray], texts: list[str], threads: int, max_batch_tokens: int, window: int
) -> None:
    classifier = Classifier(open_bundle(SHIPPED), threads=threads, max_batch_tokens=max_batch_tokens, window=window)
    results = list(classifier.stream(texts))
    assert [text for text, _ in results] == texts
    for text, prediction in results:
        assert (prediction.probabilities == alone[text]).all()
        assert prediction.truncated == (text == "word " * 300)


@settings(max_examples=30, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(["a", "fine", "day", "unbelievably", "\N{SNOWMAN}", "x" * 300, "...", "\n"]), max_size=30
    ),
    times=st.integers(1, 3000),
)
def test_the_start_of_a_long_text_is_enough(words: list[str], times: int) -> None:
    text = " ".join(words * times)
    path = SHIPPED / "tokenizer.json"
    theirs = RawTokenizer.from_file(str(path))
    theirs.enable_truncation(128)
    tokens = Tokenizer(path, 128)(["a", text, text])
    expected = theirs.encode(text)
    for row in (1, 2):
        assert tokens.of(np.array([row])).tolist() == expected.ids
        assert tokens.truncated[row] == bool(expected.overflowing)


def test_a_pipeline_shaped_answer() -> None:
    classifier = Classifier.load()
    (best,) = classifier.predict("What a lovely morning!")
    assert set(best) == {"label", "score"} and best["label"] == "neither"
    (ranked,) = classifier.predict(["What a lovely morning!"], top_k=None)
    assert ranked[0]["label"] == "neither" and len(ranked) == 3
    assert sum(item["score"] for item in ranked) == pytest.approx(1)
    assert classifier.predict([]) == []
    for wrong in (None, float("nan"), {"text": "a"}):
        with pytest.raises(InputError, match="item 1 is "):
            classifier.predict(["fine", wrong])


def test_streaming_takes_a_window_ahead_and_no_more() -> None:
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield f"day {taken % 5}"

    stream = Classifier(open_bundle(SHIPPED), window=16).stream(endless())
    for _ in range(20):
        next(stream)
    stream.close()
    assert taken <= 4 * 16


@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
def test_one_row_alone_is_scored_as_among_others(bundles: dict[str, Path], precision: str) -> None:
    opened = open_bundle(bundles[precision])
    together = Classifier(opened, max_batch_tokens=4096)
    apart = Classifier(opened, max_batch_tokens=1, threads=1)
    limit = 0 if precision == "int8" else 1e-5
    for (text, one), (_, other) in zip(together.stream(POOL), apart.stream(POOL), strict=True):
        (lone,) = together.predict(text, top_k=None)
        by_name = {item["label"]: item["score"] for item in lone}
        assert np.abs(one.probabilities - other.probabilities).max() <= limit
        assert np.abs(one.probabilities - [by_name[name] for name in together.labels.names]).max() <= limit
        assert one.labels == other.labels == (max(by_name, key=by_name.__getitem__),)


def test_lone_texts_in_quick_succession_are_scored_as_ever(
    alone: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toxonnx.inference.engine.IDLE_SECONDS", float("inf"))  # so that every call runs on all threads
    classifier = Classifier.load(threads=3)
    for text in POOL:
        (answer,) = classifier.predict([text], top_k=None)
        scores = {item["label"]: item["score"] for item in answer}
        assert [scores[name] for name in classifier.labels.names] == alone[text].tolist()


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> Classifier:
    """The shipped bundle, tokenizing in processes as it does beside a GPU."""
    classifier = Classifier(open_bundle(SHIPPED), window=40, tokenizer_processes=2)
    monkeypatch.setattr("toxonnx.inference.tokenizer_pool.PIECE", 7)
    return classifier


def test_processes_that_tokenize_change_nothing(alone: dict[str, np.ndarray], encoding: Classifier) -> None:
    texts = POOL * 5
    results = list(encoding.stream(texts))
    assert [text for text, _ in results] == texts
    for text, prediction in results:
        assert (prediction.probabilities == alone[text]).all()
        assert prediction.truncated == (text == "word " * 300)
    assert sum(prediction.repeated for _, prediction in results) == len(texts) - len(set(texts))


def test_processes_that_end_at_once_are_an_error(encoding: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    for program, message in (("/bin/false", r"has ended \(exit code 1\)"), ("", "does not start")):
        monkeypatch.setattr("sys.executable", program)
        with pytest.raises(MachineError, match=message):
            list(encoding.stream(f"day {number}" for number in range(200)))


def test_processes_import_nothing_from_the_folder_they_are_started_in(
    encoding: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokenizers.py").write_text("raise SystemExit('a file of the user was run')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert len(list(encoding.stream(f"day {number}" for number in range(90)))) == 90


def test_half_a_character_is_named_wherever_it_is_met(encoding: Classifier) -> None:
    for classifier in (Classifier.load(), encoding):
        with pytest.raises(InputError, match=r"half of a surrogate pair: '.ud83d today'"):
            list(classifier.stream([*(f"day {number}" for number in range(90)), "\ud83d today"]))


def test_a_process_that_is_killed_is_an_error_and_none_is_left_behind(encoding: Classifier) -> None:
    stream = encoding.stream(f"day {number}" for number in itertools.count())
    for _, _ in itertools.islice(stream, 200):
        pass
    children = [int(pid) for pid in Path("/proc/self/task").glob("*/children") for pid in pid.read_text().split()]
    assert len(children) == 2
    os.kill(children[0], signal.SIGKILL)
    with pytest.raises(MachineError, match=r"a process that tokenizes has ended .was killed; did memory run out"):
        for _ in stream:
            pass
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def test_a_consumer_that_leaves_does_not_wait_for_a_silent_source() -> None:
    silent = threading.Event()

    def source() -> Iterator[str]:
        yield from (f"day {number}" for number in range(8))
        silent.wait(30)

    stream = Classifier(open_bundle(SHIPPED), window=4).stream(source())
    assert next(stream)[0] == "day 0"
    started = time.monotonic()
    stream.close()
    assert time.monotonic() - started < 10
    silent.set()


def test_what_comes_before_a_failure_is_not_lost() -> None:
    def source() -> Iterator[str]:
        yield from ("a fine day", "a fine day", "rain")
        raise OSError("the line went dead")

    stream = Classifier.load().stream(source())
    assert [(text, prediction.repeated) for text, prediction in itertools.islice(stream, 3)] == [
        ("a fine day", False), ("a fine day", True), ("rain", False),
    ]  # fmt: skip
    with pytest.raises(OSError, match="the line went dead"):
        next(stream)
