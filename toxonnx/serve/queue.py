"""Dynamic batching: the texts of many requests are scored together, as soon as a thread of the model is free.

::

    requests (event loop) -> tokenizer threads -> waiting windows -> one model thread per core -> requests

A few short texts are tokenized on the event loop. A text is one window, or several if it is long and the bundle reads
long texts in windows. A free model thread takes the window whose turn it is (requests take turns), and the windows that
the engine's batcher would score with it, up to the token budget. So a lone request does not wait, batches become larger
under load, and on a CPU the windows of a batch have equal lengths, so that their scores are bit-for-bit those of
``predict``. A text that is waiting, or was scored before, is not scored again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import ToxonnxError
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.tokenizer import Tokens, split_texts
from toxonnx.inference.windows import pool_windows
from toxonnx.serve.metrics import Metrics
from toxonnx.serve.options import ServeOptions
from toxonnx.serve.rows import PendingRequest, Row, WaitingWindows, Window
from toxonnx.serve.scored import Scored
from toxonnx.wire.errors import RequestError

__all__ = ["ScoringQueue"]

#: characters and texts of a request that are tokenized at a time, so that a long request does not hold up short ones
CHUNK_CHARACTERS, CHUNK_TEXTS = 1 << 16, 256
#: texts and characters of a request that is tokenized on the event loop: that takes less time than to hand it to
#: another thread
SHORT_TEXTS, SHORT_CHARACTERS = 8, 512
#: a sentence that shows whether the model still works, and the seconds for which a scored text shows the same
CANARY, RECENT = "This sentence shows that the model works.", 1.0


class ScoringQueue:
    """Scores texts of concurrent requests with one model.

    Args:
        classifier: the model.
        options: of the server.
        metrics: counts batches.
    """

    def __init__(self, classifier: Classifier, options: ServeOptions, metrics: Metrics) -> None:
        self._classifier, self._engine = classifier, classifier.engine
        self._metrics, self._max_wait, self._capacity = metrics, options.max_wait, options.cached_texts
        self._chunk_size = self._engine.settings.chunk_size
        self._changed = threading.Condition()
        self._waiting = WaitingWindows()
        self._in_flight: dict[bytes, Row] = {}  # waiting, or in the model
        self._cache: OrderedDict[bytes, Row] = OrderedDict()
        self._active = self._being_tokenized = 0  # requests
        self._shown = 0  # windows in the metric of the queue's size
        self._closed = self._has_stopped = False
        self._last_success = -float("inf")
        self._checking = asyncio.Lock()
        threads = self._engine.settings.threads
        # At least two, or a request of many long texts would hold up all others.
        self._tokenizers = ThreadPoolExecutor(max(2, threads), thread_name_prefix="tokenizer")
        self._workers = [
            threading.Thread(target=self._work, name=f"model-{number}", daemon=True) for number in range(threads)
        ]
        for worker in self._workers:
            worker.start()

    async def score(self, texts: Sequence[str]) -> Scored:
        """Scores of texts, which need not be normalised. A cancelled call's work is dropped.

        Raises:
            RequestError: the model has stopped.
        """
        return await self._score(texts)

    async def check(self, timeout: float) -> None:
        """Does nothing if the model works: it scored a text a moment ago, or scores one now, ahead of all others.

        Raises:
            RequestError: it does not, or not within the timeout in seconds.
        """
        self._check_threads()
        try:
            async with asyncio.timeout(timeout), self._checking:  # one at a time, and the others have its result
                if time.monotonic() - self._last_success < RECENT:
                    return
                scored = await self._score([CANARY], urgent=True)
        except TimeoutError:
            raise RequestError("unhealthy", f"the model scored no text within {timeout:g} seconds") from None
        if scored.errors:
            raise RequestError("unhealthy", f"the model does not work: {scored.errors[0]}")

    def close(self) -> None:
        """Answers what was accepted, and ends the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()
        self._tokenizers.shutdown()

    @property
    def is_alive(self) -> bool:
        """Whether all threads of the model run."""
        return not self._has_stopped and all(worker.is_alive() for worker in self._workers)

    def _check_threads(self) -> None:
        if not self.is_alive:
            raise RequestError("unhealthy", "a thread of the model has stopped; restart the server")

    async def _score(self, texts: Sequence[str], *, urgent: bool = False) -> Scored:
        self._check_threads()
        loop = asyncio.get_running_loop()
        request = PendingRequest(loop, loop.create_future(), urgent)
        with self._changed:
            self._active += 1
            self._being_tokenized += 1
        try:
            if self._is_short(texts):
                self._tokenize(request, texts)
            else:
                for chunk in split_texts(texts, CHUNK_CHARACTERS, CHUNK_TEXTS):
                    await loop.run_in_executor(self._tokenizers, self._tokenize, request, chunk)
            self._end_of_texts(request)
            await request.answered
        finally:
            self._leave(request)
        return Scored.of(request, self._classifier)

    def _is_short(self, texts: Sequence[str]) -> bool:
        # A batch that waits, waits for texts that are being tokenized: those that come together have to be so at once.
        return not self._max_wait and len(texts) <= SHORT_TEXTS and sum(map(len, texts)) <= SHORT_CHARACTERS

    def _tokenize(self, request: PendingRequest, texts: Sequence[str]) -> None:
        """Tokenizes some of a request's texts and puts the new ones into the queue; runs in a tokenizer thread."""
        if request.abandoned:
            return
        start = time.monotonic()
        preprocessed = self._classifier.preprocess(texts)
        keys = [os.urandom(16)] if request.urgent else preprocessed.keys
        with self._changed:
            known = {key: row for key in keys if (row := self._find(key)) is not None}
        missing = {key: i for i, key in enumerate(keys) if key not in known}
        tokenized = preprocessed.tokens(list(missing.values()))
        first = self._classifier.cascade.answer(tokenized, self._classifier.review_below)
        new = {
            key: Row(key=key, truncated=truncated, no_tokens=no_tokens, length=length, kept=not request.urgent)
            for key, truncated, no_tokens, length in zip(
                missing,
                tokenized.truncated.tolist(),
                tokenized.no_tokens.tolist(),
                tokenized.lengths.tolist(),
                strict=True,
            )
        }
        ids = np.split(tokenized.tokens.ids, tokenized.tokens.starts[1:])
        for i, (row, first_row, count) in enumerate(
            zip(new.values(), tokenized.first_rows, tokenized.windows, strict=True)
        ):
            if first.early[i] and not request.urgent:  # which is to test the model
                row.early, row.logits = True, first.logits[i].copy()
            else:
                row.windows = [Window(row, each) for each in ids[first_row : first_row + count]]
        request.tokenization += time.monotonic() - start
        with self._changed:
            if request.abandoned:
                return
            for key in keys:
                # A known row may have been dropped in the meantime, with the request it belonged to, and another one of
                # the same text may have come.
                row = self._find(key) or known.get(key)
                request.cached.append(row is not None)
                row = row or new[key]
                if row.early:
                    self._keep(row)
                if not row.is_done and key not in self._in_flight:
                    self._enqueue(row, request)
                else:
                    self._waiting.offer(row, request)
                request.rows.append(row)
                if not row.is_done and request not in row.requests:
                    row.requests.append(request)
                    request.unfinished += 1
            request.repaired += preprocessed.repaired
            request.cut += preprocessed.cut
            self._wake_workers()

    def _find(self, key: bytes) -> Row | None:
        if (row := self._cache.get(key)) is not None:
            self._cache.move_to_end(key)
            return row
        return self._in_flight.get(key)

    def _enqueue(self, row: Row, request: PendingRequest) -> None:
        row.queued = time.monotonic()
        self._in_flight[row.key] = row
        for window in row.windows:
            if window.logits is None:
                self._waiting.add(window, request)
        self._show_queue_size()

    def _show_queue_size(self) -> None:
        """Adds what changed: the metric is the sum over the queues of all bundles."""
        waiting = len(self._waiting)
        self._metrics.queue_size.inc(waiting - self._shown)
        self._shown = waiting

    def _end_of_texts(self, request: PendingRequest) -> None:
        with self._changed:
            request.is_tokenized = True
            self._being_tokenized -= 1
            request.unfinished -= 1
            if not request.unfinished:
                request.answered.set_result(None)
            self._wake_workers()

    def _leave(self, request: PendingRequest) -> None:
        """Its texts are scored, or nobody waits for them any more: drops the rows that are only its own."""
        with self._changed:
            self._active -= 1
            self._being_tokenized -= not request.is_tokenized
            if request.unfinished:
                request.abandoned = True
                self._drop(request)
                self._wake_workers()  # they may have waited for its texts
            if self._closed:
                self._changed.notify_all()

    def _wake_workers(self) -> None:
        """As many as can have something to do: each of the others would only take time from them."""
        self._changed.notify(len(self._waiting))

    def _drop(self, request: PendingRequest) -> None:
        for row in request.rows:
            if row.is_done or request not in row.requests:
                continue
            row.requests.remove(request)
            waiting = self._waiting.of(row)
            for window in waiting:
                self._waiting.remove(window)
                if row.requests:
                    self._waiting.add(window, row.requests[0])
            if waiting and not row.requests:
                del self._in_flight[row.key]
        self._show_queue_size()

    def _work(self) -> None:
        """The loop of a model thread."""
        windows: list[Window] = []
        try:
            while windows := self._next_batch():
                self._run(windows)
        except BaseException as error:  # the thread ends, and from now on nothing is accepted
            with self._changed:
                self._has_stopped = True
                windows += self._waiting.pop_all()
            self._finish(windows, None, f"the model has stopped: {type(error).__name__}")
            raise

    def _next_batch(self) -> list[Window]:
        """The windows to score next; waits for some, and returns none when the queue is closed and empty."""
        with self._changed:
            while True:
                if self._waiting and (seconds := self._seconds_to_wait()) <= 0:
                    return self._take_batch()
                if self._closed and not self._waiting and not self._active:
                    return []
                self._changed.wait(seconds if self._waiting else None)

    def _seconds_to_wait(self) -> float:
        if not self._max_wait or not self._being_tokenized:
            return 0.0
        if self._waiting.tokens >= self._engine.batcher.max_tokens:
            return 0.0
        return next(iter(self._waiting)).row.queued + self._max_wait - time.monotonic()

    def _take_batch(self) -> list[Window]:
        """The window whose turn it is, with those that the batcher puts into its batch."""
        waiting = self._waiting.next(self._chunk_size, has_equal_lengths=self._engine.batcher.has_equal_lengths)
        lengths = np.fromiter((len(window.ids) for window in waiting), dtype=np.int64, count=len(waiting))
        chosen = next(batch for batch in self._engine.batches(lengths) if 0 in batch)
        windows = [waiting[i] for i in chosen]
        now = time.monotonic()
        for window in windows:
            self._waiting.remove(window)
            window.row.taken = window.row.taken or now
        self._show_queue_size()
        return windows

    def _run(self, windows: list[Window]) -> None:
        lengths = np.array([len(window.ids) for window in windows], dtype=np.int64)
        tokens = Tokens(np.concatenate([window.ids for window in windows]), lengths)
        error = ""
        logits: NDArray[np.float32] | None = None
        try:
            logits = self._engine.run(tokens, np.arange(len(windows)))
        except ToxonnxError as known:
            error = known.what
        except Exception as bug:  # its message may quote a text
            error = f"internal error: {type(bug).__name__}"
        if logits is None and len(windows) > 1:  # which of them is it?
            for window in windows:
                self._run([window])
            return
        self._metrics.observe_batch(len(windows), len(tokens.ids))
        self._finish(windows, logits, error)

    def _finish(self, windows: list[Window], logits: NDArray[np.float32] | None, error: str) -> None:
        now = time.monotonic()
        with self._changed:
            if logits is not None:
                self._last_success = now
            for i, window in enumerate(windows):
                window.logits = None if logits is None else logits[i].copy()
                self._finish_row(window.row, now, error)

    def _finish_row(self, row: Row, now: float, error: str) -> None:
        """Takes note of a window that was scored, or could not be: with the last one, or an error, the text is done."""
        scored = [window.logits for window in row.windows if window.logits is not None]
        if row.is_done or not (error or len(scored) == len(row.windows)):
            return
        for window in self._waiting.of(row):  # of a text with an error
            self._waiting.remove(window)
        row.finished, row.error = now, error
        if not error:
            labels, pool = self._classifier.labels, self._classifier.long_texts.pool
            row.logits = pool_windows(np.stack(scored), np.array([len(scored)]), labels, pool)[0]
        row.windows = []
        self._in_flight.pop(row.key, None)
        if not error and row.kept:
            self._keep(row)
        for request in row.requests:
            request.unfinished -= 1
            if not request.unfinished:
                _wake(request)
        row.requests = []

    def _keep(self, row: Row) -> None:
        """Puts a finished row into the cache."""
        self._cache[row.key] = row
        while len(self._cache) > self._capacity:
            self._cache.popitem(last=False)


def _wake(request: PendingRequest) -> None:
    def answer() -> None:
        if not request.answered.done():
            request.answered.set_result(None)

    with contextlib.suppress(RuntimeError):  # the event loop is closed
        request.loop.call_soon_threadsafe(answer)
