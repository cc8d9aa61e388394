"""The one place where texts go through tokens, batches and sessions to scores."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from toxonnx.ahead import Ahead
from toxonnx.batches import plan, stack
from toxonnx.bundle import Bundle, open_bundle
from toxonnx.errors import InputError
from toxonnx.labels import Labels
from toxonnx.machine import available_cores
from toxonnx.memo import Memo
from toxonnx.resources import find_bundle
from toxonnx.scores import decide, doubtful, probabilities
from toxonnx.sessions import Session
from toxonnx.tokens import Tokenizer, Tokens

__all__ = ["Classifier", "Prediction"]

T = TypeVar("T")

#: texts that are ordered by length together, for each thread, and at least
WINDOW_A_THREAD, SMALLEST_WINDOW = 256, 1024
#: a window ends here too, so that long texts do not fill the memory
WINDOW_CHARACTERS = 1 << 22
#: windows between being read and being yielded: read, waiting, scored, yielded
IN_FLIGHT = 4
#: seconds after which the cores are asleep
LULL = 0.005
#: distinct texts that are remembered
REMEMBERED = 1 << 15


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one text.

    Attributes:
        labels: names of the labels that hold: exactly one (softmax), or any number (sigmoid).
        score: probability of the label (softmax), or of the likeliest one (sigmoid).
        probabilities: float64 [labels], in the bundle's order.
        truncated: whether the text was cut at the bundle's limit.
        repeated: whether the text was met before and not scored again.
        review: whether a person should look at it, by the bundle's thresholds and the classifier's ``review_band``.
    """

    labels: tuple[str, ...]
    score: float
    probabilities: NDArray[np.float64]
    truncated: bool
    repeated: bool
    review: bool


@dataclass
class _Window(Generic[T]):
    """Texts on their way."""

    items: list[T]
    places: NDArray[np.int64]
    repeated: NDArray[np.bool_]
    scoring: list[Future[None]]


class Classifier:
    """A loaded bundle. Make one with :meth:`load`. Safe to share between threads.

    Args:
        bundle: an opened bundle.
        threads: threads that score at the same time; all cores this process may use when not given.
        batch_tokens: tokens of a batch at most.
        window: texts that are ordered by length together; more with more threads when not given. Memory grows with
            it, not with the number of texts.
        review_band: a prediction whose probability is under it is marked for review (for several labels a text: where
            any label is less certain than that, either way).
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        batch_tokens: int = 1024,
        window: int | None = None,
        review_band: float = 0.0,
    ) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.threads = threads or available_cores()
        self.batch_tokens = batch_tokens
        self.review_band = review_band
        self.window = window or max(SMALLEST_WINDOW, WINDOW_A_THREAD * self.threads)
        self._tokenizer = Tokenizer(bundle.path / "tokenizer.json", manifest.max_length)
        self._session = Session(bundle.model, len(manifest.labels))
        self._wide: Session | None = None
        self._lock = threading.Lock()
        self._answered = -math.inf

    @classmethod
    def load(cls, bundle: str | Path | None = None, *, threads: int | None = None) -> Classifier:
        """Opens a bundle, by folder or name (the one that ships when not given), checks it and loads its model.

        Raises:
            BundleError: no sound, sealed bundle there.
            MachineError: ONNX Runtime is missing.
        """
        return cls(open_bundle(find_bundle(bundle)), threads=threads)

    @property
    def labels(self) -> Labels:
        """The bundle's labels."""
        return self.bundle.manifest.labels

    @property
    def reviews(self) -> bool:
        """Whether any prediction can be marked for review."""
        return self.review_band > 0 or self.labels.leaves_doubt

    @property
    def plan(self) -> dict[str, Any]:
        """How texts are scored here: what was chosen for the machine, or asked for."""
        return {
            "precision": self.bundle.manifest.precision,
            "provider": self._session.provider,
            "threads": self.threads,
            "batch_tokens": self.batch_tokens,
            "window": self.window,
        }

    def predict(self, texts: str | Iterable[str], *, top_k: int | None = 1) -> list[Any]:
        """Labels and scores of texts, in the shape of a transformers text-classification pipeline.

        Lone texts in quick succession run on all threads, each; the first such call loads the model a second time for
        that. After a pause a lone text runs on one: to wake the other cores costs more than they save.

        Args:
            texts: one text, or several.
            top_k: how many labels for each text; None for all.

        Returns:
            One item a text, in order: ``{"label", "score"}`` for ``top_k=1``, else a list of these, likeliest first.
        """
        rows = [texts] if isinstance(texts, str) else list(texts)
        predictions = [self._alone(rows[0])] if len(rows) == 1 else [prediction for _, prediction in self.stream(rows)]
        results: list[Any] = []
        for prediction in predictions:
            if top_k == 1 and not self.labels.multi:
                # What was decided, which thresholds may have made another than the likeliest.
                results.append({"label": prediction.labels[0], "score": prediction.score})
                continue
            ranked = np.argsort(-prediction.probabilities, kind="stable")[:top_k]
            items = [
                {"label": self.labels.names[i], "score": float(prediction.probabilities[i])} for i in ranked.tolist()
            ]
            results.append(items[0] if top_k == 1 else items)
        return results

    def stream(
        self, items: Iterable[T], text: Callable[[T], Any] = lambda item: item
    ) -> Generator[tuple[T, Prediction], None, None]:
        """Scores an endless or a short series of items, in order and in bounded memory.

        Reading and tokenizing, scoring, and what the caller does with the results go on at the same time.

        Args:
            items: anything; taken a window at a time, three windows ahead at most.
            text: the text of an item; the item itself when not given. The bundle's normalisation is applied here, not
                its template.

        Yields:
            Each item with its prediction. When ``items`` raises, those before it come first.

        Raises:
            InputError: an item has no text: it is None, a number, a dict ...
        """
        memo = Memo(len(self.labels), max(REMEMBERED, 2 * IN_FLIGHT * self.window), IN_FLIGHT * self.window)
        workers = ThreadPoolExecutor(self.threads)
        try:
            with Ahead(self._windows(items, text, memo, workers)) as windows:
                for window in windows:
                    for batch in window.scoring:
                        batch.result()
                    logits, truncated = memo.logits[window.places], memo.truncated[window.places]
                    yield from zip(window.items, self._predictions(logits, truncated, window.repeated), strict=True)
        finally:
            # An interrupted caller does not wait for the windows on their way.
            workers.shutdown(cancel_futures=True)

    def logits(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Raw logits, float32 [texts, labels], of texts that are already normalised."""
        tokens = self._tokenizer(list(texts))
        logits = np.empty((len(tokens.ids), len(self.labels)), dtype=np.float32)
        with ThreadPoolExecutor(self.threads) as workers:
            for batch in self._submit(tokens, logits, np.arange(len(logits)), workers):
                batch.result()
        return logits

    def _windows(
        self, items: Iterable[T], text: Callable[[T], Any], memo: Memo, workers: ThreadPoolExecutor
    ) -> Iterator[_Window[T]]:
        """Windows of items that are being scored. When ``items`` raises, those before it make the last window."""
        texts = self._texts(items, text)
        failed: BaseException | None = None
        while failed is None:
            some: list[T] = []
            cleaned: list[str] = []
            size = 0
            try:
                for item, clean in itertools.islice(texts, self.window):
                    some.append(item)
                    cleaned.append(clean)
                    size += len(clean)
                    if size >= WINDOW_CHARACTERS:
                        break
            except Exception as error:
                failed = error
            if not some:
                break
            yield self._start(some, cleaned, memo, workers)
        if failed is not None:
            raise failed

    def _texts(self, items: Iterable[T], text: Callable[[T], Any]) -> Iterator[tuple[T, str]]:
        clean = self.bundle.manifest.text.clean
        for number, item in enumerate(items):
            value = text(item)
            if not isinstance(value, str):
                raise InputError(f"item {number} is {type(value).__name__}, not a text: {value!r:.60}")
            yield item, clean(value)

    def _start(self, items: list[T], texts: list[str], memo: Memo, workers: ThreadPoolExecutor) -> _Window[T]:
        places, fresh = memo.places(texts)
        tokens = self._tokenizer([texts[i] for i in fresh])
        repeated = np.ones(len(texts), dtype=np.bool_)
        repeated[fresh] = False
        memo.truncated[places[fresh]] = tokens.truncated
        return _Window(items, places, repeated, self._submit(tokens, memo.logits, places[fresh], workers))

    def _submit(
        self, tokens: Tokens, logits: NDArray[np.float32], places: NDArray[np.int64], workers: ThreadPoolExecutor
    ) -> list[Future[None]]:
        """Hands texts to the workers in batches; their logits come to stand at their places."""

        def run(rows: NDArray[np.int64]) -> None:
            logits[places[rows]] = self._session.run(*stack([tokens.ids[i] for i in rows]))

        return [workers.submit(run, batch) for batch in plan(tokens.lengths, max_tokens=self.batch_tokens)]

    def _alone(self, text: Any) -> Prediction:
        """One text, by the shortest way."""
        ((_, clean),) = self._texts([text], lambda item: item)
        session = self._session
        if self.threads > 1 and time.monotonic() - self._answered < LULL:
            with self._lock:
                if self._wide is None:
                    self._wide = Session(self.bundle.model, len(self.labels), threads=self.threads)
                session = self._wide
        tokens = self._tokenizer([clean])
        logits = session.run(*stack(tokens.ids))
        self._answered = time.monotonic()
        return next(self._predictions(logits, tokens.truncated, np.zeros(1, dtype=np.bool_)))

    def _predictions(
        self, logits: NDArray[np.float32], truncated: NDArray[np.bool_], repeated: NDArray[np.bool_]
    ) -> Iterator[Prediction]:
        probs = probabilities(logits, self.labels)
        names, chosen = self.labels.names, decide(probs, self.labels)
        if self.labels.multi:
            held = [tuple(names[i] for i in np.flatnonzero(row)) for row in chosen]
            score = probs.max(axis=1)
        else:
            single = [(name,) for name in names]
            held = [single[i] for i in chosen.argmax(axis=1).tolist()]
            score = probs[chosen]
        review = doubtful(probs, self.labels, self.review_band)
        columns = (score, truncated, repeated, review)
        scores, cut, again, doubt = (column.tolist() for column in columns)
        return map(Prediction, held, scores, probs, cut, again, doubt)
