"""The queue: what is scored together, once, or not at all; and what happens if the model fails."""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SHIPPED, sentences
from hypothesis import given, settings
from hypothesis import strategies as st

from toxonnx import Classifier, RuntimeOptions
from toxonnx.bundle import open_bundle
from toxonnx.errors import GateError
from toxonnx.inference.tokenizer import Tokens
from toxonnx.serve.metrics import Metrics
from toxonnx.serve.options import ServeOptions
from toxonnx.serve.queue import ScoringQueue
from toxonnx.serve.scored import Scored
from toxonnx.wire.errors import RequestError

TEXTS = [*(text for text, _ in sentences(20)), "", "\N{THUMBS UP SIGN}", "word " * 300, "\ud83d today"]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """Reads up to two windows of a text: the longest of TEXTS is truncated after them."""
    options = RuntimeOptions(threads=2, max_batch_tokens=1024, long_texts="windows", max_windows=2)
    return Classifier(open_bundle(SHIPPED), options)


@asynccontextmanager
async def queue(classifier: Classifier, **options: Any) -> AsyncIterator[ScoringQueue]:
    made = ScoringQueue(classifier, ServeOptions(**options), Metrics())
    try:
        yield made
    finally:
        await asyncio.to_thread(made.close)


class Engine:
    """Records the batches of an engine, and lets a test stop it, at once or after a number of batches."""

    def __init__(self, classifier: Classifier) -> None:
        self.batches: list[list[int]] = []
        self._allowed, self._changed = math.inf, threading.Condition()
        self._run = classifier.engine.run
        self.fails: Callable[[Tokens], BaseException | None] = lambda _: None

    def run(self, tokens: Tokens, rows: np.ndarray) -> np.ndarray:
        with self._changed:
            self.batches.append(tokens.lengths.tolist())
            number = len(self.batches)
            assert self._changed.wait_for(lambda: number <= self._allowed, 30)
        if (error := self.fails(tokens)) is not None:
            raise error
        return self._run(tokens, rows)

    def allow(self, batches: float) -> None:
        """Lets so many batches run in all, and stops those after them."""
        with self._changed:
            self._allowed = batches
            self._changed.notify_all()

    async def has_started(self, batches: int) -> None:
        while len(self.batches) < batches:
            await asyncio.sleep(0.001)


async def all_queued(one: ScoringQueue) -> None:
    """Waits until the texts of all requests are tokenized."""
    await asyncio.sleep(0)  # the tasks begin
    while one._being_tokenized:
        await asyncio.sleep(0.001)


@pytest.fixture
def engine(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> Engine:
    recorded = Engine(classifier)
    monkeypatch.setattr(classifier.engine, "run", recorded.run)
    return recorded


@contextmanager
def stopped(engine: Engine) -> Iterator[None]:
    engine.allow(0)
    try:
        yield
    finally:
        engine.allow(math.inf)


def test_concurrent_requests_get_the_scores_of_predict(classifier: Classifier) -> None:
    reference = {text: next(classifier.score_batches([text]))[1].logits[0].tobytes() for text in TEXTS}
    requests = st.lists(st.lists(st.sampled_from(TEXTS), max_size=8), max_size=12)

    async def score(groups: list[list[str]], **options: Any) -> list[Scored]:
        async with queue(classifier, **options) as one:
            return await asyncio.gather(*(one.score(texts) for texts in groups))

    @settings(max_examples=25, deadline=None)
    @given(requests, st.sampled_from([0, 3, 100]), st.sampled_from([0.0, 0.01]))
    def check(groups: list[list[str]], cached_texts: int, max_wait: float) -> None:
        results = asyncio.run(score(groups, cached_texts=cached_texts, max_wait=max_wait))
        for texts, scored in zip(groups, results, strict=True):
            assert [row.tobytes() for row in scored.scores.logits] == [reference[text] for text in texts]
            assert scored.scores.truncated.tolist() == [text == "word " * 300 for text in texts]
            assert scored.scores.repaired.tolist() == ["\ud83d" in text for text in texts]
            assert not scored.errors

    check()


def test_rows_that_a_first_stage_answers_do_not_enter_the_queue(cascade: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier.load(cascade, threads=2)
    texts = [*(text for text, _ in sentences(40, 12)), "zxq vbn qqk wpf", ""] * 2
    expected = classifier.score(texts)
    recorded = Engine(classifier)
    monkeypatch.setattr(classifier.engine, "run", recorded.run)

    async def run() -> Scored:
        async with queue(classifier) as one:
            await one.check(30)
            return await one.score(texts)

    scored = asyncio.run(run())
    assert scored.scores.logits.tobytes() == expected.logits.tobytes()
    assert scored.scores.early.tolist() == expected.early.tolist()
    distinct = {text for text, early in zip(texts, expected.early, strict=True) if not early}
    assert 0 < len(distinct) < len(set(texts))
    # The health check's sentence is scored by the model in any case.
    assert sum(map(len, recorded.batches)) == len(distinct) + 1


def test_identical_texts_in_flight_are_scored_once_and_equal_lengths_together(
    classifier: Classifier, engine: Engine
) -> None:
    async def run() -> None:
        async with queue(classifier, cached_texts=0) as one:
            with stopped(engine):
                blocking = [asyncio.create_task(one.score([text])) for text in ("one", "two words")]
                await engine.has_started(2)
                same = [asyncio.create_task(one.score(["good day to you", "bread"])) for _ in range(5)]
                other = asyncio.create_task(one.score(["fine day to them"]))
                await all_queued(one)
            scored = await asyncio.gather(*same)
            await asyncio.gather(other, *blocking)
        assert sorted(engine.batches[2:]) == [[3], [6, 6]]
        assert sum(int((~one.scores.cached).sum()) for one in scored) == 2

    asyncio.run(run())


def test_a_request_with_many_texts_does_not_hold_up_the_others(classifier: Classifier, engine: Engine) -> None:
    many = [f"{word} {number}" for number in range(300) for word in ("soup", "long bread", "a very long garden")]

    async def run() -> None:
        async with queue(classifier) as one:
            with stopped(engine):
                large = [asyncio.create_task(one.score(many[i:])) for i in (0, 1)]
                await engine.has_started(2)
                small = asyncio.create_task(one.score(["a text of quite another length than the others have"]))
                same = asyncio.create_task(one.score([many[-1]]))
                await all_queued(one)
                engine.allow(8)
                await asyncio.wait_for(asyncio.gather(small, same), 20)
                assert not any(task.done() for task in large)
            await asyncio.gather(*large)

            # Truncated texts have the same length: 8 windows get into a batch, half of them from each of the requests.
            long = [f"{number} " + "word " * 600 for number in range(88)]
            engine.batches.clear()
            with stopped(engine):
                others = asyncio.create_task(one.score(long[:80]))
                await engine.has_started(2)
                eight = asyncio.create_task(one.score(long[80:]))
                await all_queued(one)
                engine.allow(8)
                await asyncio.wait_for(eight, 20)
                assert not others.done()
            await others
            assert len(one._waiting) == one._waiting.tokens == 0

    asyncio.run(run())


def test_a_lone_request_does_not_wait(classifier: Classifier) -> None:
    async def run() -> float:
        async with queue(classifier, max_wait=5.0) as one:
            start = time.monotonic()
            await one.score(["a fine day"])
            return time.monotonic() - start

    assert asyncio.run(run()) < 4


def test_the_work_of_a_cancelled_request_is_dropped(classifier: Classifier, engine: Engine) -> None:
    async def run() -> None:
        async with queue(classifier) as one:
            with stopped(engine):
                blocking = [asyncio.create_task(one.score([text])) for text in ("one", "two words")]
                await engine.has_started(2)
                gone = asyncio.create_task(one.score(["nobody waits for this", "but for this somebody does"]))
                stays = asyncio.create_task(one.score(["but for this somebody does"]))
                await all_queued(one)
                gone.cancel()
                await asyncio.wait([gone])
                assert one._metrics.queue_size._value.get() == 1
            await asyncio.gather(stays, *blocking)
            assert len(engine.batches) == 3
            # A request that is cancelled while it is tokenized leaves nothing behind either.
            early = asyncio.create_task(one.score(["this one is cancelled early"] * 3))
            await asyncio.sleep(0)
            early.cancel()
            await asyncio.wait([early])
            await one.score(["a last one"])
            async with asyncio.timeout(30):  # what the model had begun when it was cancelled is finished
                while len(one._waiting) or one._in_flight:
                    await asyncio.sleep(0.001)

    asyncio.run(run())


def test_one_bad_text_does_not_fail_the_others_of_its_batch(classifier: Classifier, engine: Engine) -> None:
    bad = int(classifier.preprocess.tokenizer(["bread"]).tokens.ids[1])
    texts = ["soup", "word " * 200 + "bread", "film"]  # in its second window
    engine.fails = lambda tokens: GateError("NaN") if bad in tokens.ids else None

    async def run() -> None:
        async with queue(classifier) as one:
            scored = await one.score(texts)
            assert scored.errors == {1: "NaN"}
            engine.fails = lambda _: None
            again = await one.score(texts)
            assert not again.errors and again.scores.cached.tolist() == [True, False, True]

    asyncio.run(run())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_model_that_stopped_is_not_healthy_and_nobody_waits_for_it(
    classifier: Classifier, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toxonnx.serve.queue.RECENT", 0.05)

    async def run() -> None:
        made = ScoringQueue(classifier, ServeOptions(), Metrics())
        await made.check(30)
        with stopped(engine):  # it was healthy a moment ago, but not any more
            blocking = [asyncio.create_task(made.score([text])) for text in ("one", "two words")]
            await asyncio.sleep(0.1)
            with pytest.raises(RequestError, match="no text within"):
                await made.check(0.2)
        await asyncio.gather(*blocking)
        engine.fails = lambda _: SystemExit()
        assert "has stopped" in (await made.score(["three"])).errors[0]
        for call in (made.check(30), made.score(["four"])):
            with pytest.raises(RequestError, match="a thread of the model has stopped"):
                await call
        await asyncio.to_thread(made.close)

    asyncio.run(run())


def test_cancelled_requests_leave_the_others_alone(classifier: Classifier) -> None:
    texts = [*TEXTS[:5], "word " * 300]
    reference = {text: next(classifier.score_batches([text]))[1].logits[0].tobytes() for text in texts}
    rng = random.Random(0)

    async def request(one: ScoringQueue) -> None:
        await asyncio.sleep(rng.random() / 4)
        chosen = rng.choices(texts, k=rng.randint(1, 8))
        scored = await one.score(chosen)
        assert [row.tobytes() for row in scored.scores.logits] == [reference[text] for text in chosen]

    async def run() -> None:
        async with queue(classifier, cached_texts=0) as one:
            stay = [asyncio.create_task(request(one)) for _ in range(150)]
            leave = [asyncio.create_task(request(one)) for _ in range(300)]
            for task in leave:
                await asyncio.sleep(0.001)
                task.cancel()
            await asyncio.wait_for(asyncio.gather(*stay), 30)
            await asyncio.wait(leave)
            assert not len(one._waiting) and not one._in_flight and not one._active

    asyncio.run(run())
