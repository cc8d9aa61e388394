"""The one place where texts go through tokens, batches and sessions to scores."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from toxonnx.ahead import Ahead
from toxonnx.bundle import Bundle, open_bundle
from toxonnx.encoding import Encoded, Encoder, Encoders
from toxonnx.engine import Engine
from toxonnx.errors import InputError
from toxonnx.labels import Labels
from toxonnx.memo import Memo
from toxonnx.resources import find_bundle
from toxonnx.scores import decide, doubtful, probabilities
from toxonnx.tokens import Tokens

__all__ = ["Classifier", "Prediction"]

T = TypeVar("T")

#: a window ends here too, so that long texts do not fill the memory
WINDOW_CHARACTERS = 1 << 22
#: windows between being read and being yielded: read, waiting, scored, yielded
IN_FLIGHT = 4
#: windows that may be with processes that tokenize
BEING_ENCODED = 3
#: distinct texts that are remembered
REMEMBERED = 1 << 15


class Prediction(NamedTuple):
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
        device: ``cpu``, ``cuda``, ``tensorrt``, or ``auto``: CUDA where bundle and machine allow it, else the CPU.
        allow_fallback: use the CPU where the GPU that was asked for cannot be had; ``plan["fallback"]`` says why.
        threads: batches that are scored at the same time; when not given, one for each core that this process may
            use, and two on a GPU.
        batch_tokens: tokens of a batch at most.
        window: texts that are ordered by length together; more with more threads when not given. Memory grows with
            it, not with the number of texts.
        encoders: processes that tokenize, where one window is not enough; when not given, none on the CPU, and beside
            a GPU as many as there are cores, up to 16.
        review_band: a prediction whose probability is under it is marked for review (for several labels a text: where
            any label is less certain than that, either way).

    Raises:
        InputError: the bundle is not made for the device.
        MachineError: the machine lacks what the device needs; says what, and what to do.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "cpu",
        allow_fallback: bool = False,
        threads: int | None = None,
        batch_tokens: int | None = None,
        window: int | None = None,
        encoders: int | None = None,
        review_band: float = 0.0,
    ) -> None:
        self.bundle = bundle
        self.review_band = review_band
        self._engine = Engine(
            bundle,
            device=device,
            allow_fallback=allow_fallback,
            threads=threads,
            batch_tokens=batch_tokens,
            encoders=encoders,
        )
        self.threads = self._engine.threads
        self.window = window or self._engine.window
        manifest = bundle.manifest
        self._reads = (bundle.path / "tokenizer.json", manifest.max_length, manifest.text)
        self._encoder = Encoder(*self._reads)

    @classmethod
    def load(
        cls,
        bundle: str | Path | None = None,
        *,
        device: str = "cpu",
        allow_fallback: bool = False,
        threads: int | None = None,
    ) -> Classifier:
        """Opens a bundle, by folder or name (the one that ships when not given), checks it and loads its model.

        Raises:
            BundleError: no sound, sealed bundle there.
            InputError, MachineError: see :class:`Classifier`.
        """
        return cls(open_bundle(find_bundle(bundle)), device=device, allow_fallback=allow_fallback, threads=threads)

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
        return {**self._engine.plan, "window": self.window}

    def predict(self, texts: str | Iterable[str], *, top_k: int | None = 1) -> list[Any]:
        """Labels and scores of texts, in the shape of a transformers text-classification pipeline.

        One text (on CUDA with a packed bundle, up to eight) goes the shortest way: the first such calls may load the
        model a second time for that.

        Args:
            texts: one text, or several.
            top_k: how many labels for each text; None for all.

        Returns:
            One item a text, in order: ``{"label", "score"}`` for ``top_k=1``, else a list of these, likeliest first.
        """
        rows = [texts] if isinstance(texts, str) else list(texts)
        few = 0 < len(rows) <= self._engine.few
        predictions = self._few(rows) if few else (prediction for _, prediction in self.stream(rows))
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
            items: anything; taken a window at a time, a few windows ahead.
            text: the text of an item; the item itself when not given. The bundle's normalisation is applied here, not
                its template.

        Yields:
            Each item with its prediction. When ``items`` raises, those before it come first.

        Raises:
            InputError: an item has no text: it is None, a number, a dict ...
        """
        memo = Memo(len(self.labels), max(REMEMBERED, 2 * IN_FLIGHT * self.window), IN_FLIGHT * self.window)
        workers = ThreadPoolExecutor(self.threads)
        with contextlib.ExitStack() as stack:
            # An interrupted caller does not wait for the windows on their way.
            stack.callback(workers.shutdown, cancel_futures=True)
            for window in stack.enter_context(Ahead(self._windows(items, text, memo, workers))):
                for batch in window.scoring:
                    batch.result()
                logits, truncated = memo.logits[window.places], memo.truncated[window.places]
                yield from zip(window.items, self._predictions(logits, truncated, window.repeated), strict=True)

    def logits(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Raw logits, float32 [texts, labels], of texts that are already normalised."""
        tokens = self._encoder.tokenizer(list(texts))
        logits = np.empty((len(tokens.lengths), len(self.labels)), dtype=np.float32)
        with ThreadPoolExecutor(self.threads) as workers:
            for batch in self._submit(tokens, logits, np.arange(len(logits)), workers):
                batch.result()
        return logits

    def _windows(
        self, items: Iterable[T], text: Callable[[T], Any], memo: Memo, workers: ThreadPoolExecutor
    ) -> Iterator[_Window[T]]:
        """Windows of items that are being scored. When ``items`` raises, those before it make the last window."""
        source = self._texts(items, text)
        being_encoded: deque[tuple[list[T], Callable[[], Encoded]]] = deque()
        failed: BaseException | None = None
        with contextlib.ExitStack() as stack:
            encoders: Encoders | None = None
            for number in itertools.count():
                some, texts, failed = self._read(source)
                if not some:
                    break
                if number == 1 and self._engine.encoders:  # one window is not worth the start of processes
                    encoders = stack.enter_context(Encoders(self._engine.encoders, *self._reads))
                later = encoders.submit(texts) if encoders else functools.partial(self._encoder, texts)
                being_encoded.append((some, later))
                if len(being_encoded) > (BEING_ENCODED if encoders else 0):
                    yield self._start(*being_encoded.popleft(), memo, workers)
                if failed is not None:
                    break
            while being_encoded:
                yield self._start(*being_encoded.popleft(), memo, workers)
        if failed is not None:
            raise failed

    def _read(self, source: Iterator[tuple[T, str]]) -> tuple[list[T], list[str], Exception | None]:
        """The items and texts of a window, and what the source raised after them."""
        items: list[T] = []
        texts: list[str] = []
        size = 0
        try:
            for item, text in itertools.islice(source, self.window):
                items.append(item)
                texts.append(text)
                size += len(text)
                if size >= WINDOW_CHARACTERS:
                    break
        except Exception as error:  # raised again after the last window, so that what came before is not lost
            return items, texts, error
        return items, texts, None

    def _texts(self, items: Iterable[T], text: Callable[[T], Any]) -> Iterator[tuple[T, str]]:
        for number, item in enumerate(items):
            value = text(item)
            if not isinstance(value, str):
                raise InputError(f"item {number} is {type(value).__name__}, not a text: {value!r:.60}")
            yield item, value

    def _start(
        self, items: list[T], later: Callable[[], Encoded], memo: Memo, workers: ThreadPoolExecutor
    ) -> _Window[T]:
        encoded = later()
        places, fresh = memo.places(encoded.keys)
        tokens = encoded.tokens(fresh)
        repeated = np.ones(len(items), dtype=np.bool_)
        repeated[fresh] = False
        memo.truncated[places[fresh]] = tokens.truncated
        return _Window(items, places, repeated, self._submit(tokens, memo.logits, places[fresh], workers))

    def _submit(
        self, tokens: Tokens, logits: NDArray[np.float32], places: NDArray[np.int64], workers: ThreadPoolExecutor
    ) -> list[Future[None]]:
        """Hands texts to the workers in batches; their logits come to stand at their places."""

        def run(rows: NDArray[np.int64]) -> None:
            logits[places[rows]] = self._engine.run(tokens, rows)

        return [workers.submit(run, batch) for batch in self._engine.batches(tokens.lengths)]

    def _few(self, items: list[Any]) -> Iterator[Prediction]:
        """Few texts, by the shortest way."""
        texts = [text for _, text in self._texts(items, lambda item: item)]
        tokens = self._encoder(texts).tokens(range(len(texts)))
        return self._predictions(self._engine.run_few(tokens), tokens.truncated, np.zeros(len(texts), dtype=np.bool_))

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
