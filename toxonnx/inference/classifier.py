"""The classifier: texts through tokenizer, batches and sessions to scores."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from toxonnx.bundle import Bundle, open_bundle
from toxonnx.errors import InputError
from toxonnx.inference.cache import LogitCache
from toxonnx.inference.engine import Engine
from toxonnx.inference.options import ExecutionSettings, RuntimeOptions
from toxonnx.inference.prefetch import Prefetcher
from toxonnx.inference.scores import Prediction, Scores
from toxonnx.inference.tokenizer import Tokens
from toxonnx.inference.tokenizer_pool import PreprocessedTexts, TextPreprocessor, TokenizerPool
from toxonnx.labels import Labels
from toxonnx.resources import find_bundle

__all__ = ["Classifier"]

T = TypeVar("T")

#: characters after which a window ends early, so that long texts do not fill the memory
WINDOW_CHARACTERS = 1 << 22
#: windows between reading and results: being read, waiting, being scored, being consumed
WINDOWS_IN_FLIGHT = 4
#: windows that may be with the tokenizer processes
WINDOWS_BEING_TOKENIZED = 3
#: distinct texts whose logits are kept
CACHED_TEXTS = 1 << 15


@dataclass
class _Window(Generic[T]):
    """Items whose texts are being scored."""

    items: list[T]
    slots: NDArray[np.int64]
    cached: NDArray[np.bool_]
    batches: list[Future[None]]


class Classifier:
    """A loaded bundle; :meth:`load` is the short way to make one. Safe to share between threads.

    Args:
        bundle: an opened bundle.
        options: how to run it.
        review_below: a prediction whose probability is below this is marked for review (in a multi-label model: where
            the presence or the absence of any label is less certain than this).

    Raises:
        InputError: the bundle does not run on the device.
        MachineError: the machine lacks something that the device needs; names it and what to do.
    """

    def __init__(self, bundle: Bundle, options: RuntimeOptions | None = None, *, review_below: float = 0.0) -> None:
        self.bundle = bundle
        self.review_below = review_below
        self._engine = Engine(bundle, options)
        manifest = bundle.manifest
        self._preprocessor_arguments = (bundle.path / "tokenizer.json", manifest.max_length, manifest.text)
        self._preprocess = TextPreprocessor(*self._preprocessor_arguments)

    @classmethod
    def load(
        cls,
        bundle: str | Path | None = None,
        *,
        device: str = "cpu",
        allow_fallback: bool = False,
        threads: int | None = None,
        review_below: float = 0.0,
    ) -> Classifier:
        """Opens a bundle, checks it and loads its model.

        Args:
            bundle: folder, or name of a bundle that ships with toxonnx; the default one when None.
            device, allow_fallback, threads: see :class:`toxonnx.inference.options.RuntimeOptions`.
            review_below: see :class:`Classifier`.

        Raises:
            BundleError: there is no valid, sealed bundle.
            InputError, MachineError: see :class:`Classifier`.
        """
        options = RuntimeOptions(device=device, allow_fallback=allow_fallback, threads=threads)
        return cls(open_bundle(find_bundle(bundle)), options, review_below=review_below)

    @property
    def labels(self) -> Labels:
        """The bundle's labels."""
        return self.bundle.manifest.labels

    @property
    def can_mark_for_review(self) -> bool:
        """Whether any prediction can be marked for review."""
        return self.review_below > 0 or self.labels.can_abstain

    @property
    def settings(self) -> ExecutionSettings:
        """How texts are scored on this machine."""
        return self._engine.settings

    def predict(self, texts: str | Iterable[str], *, top_k: int | None = 1) -> list[Any]:
        """Labels and scores of texts, in the format of a transformers text-classification pipeline.

        Args:
            texts: one text, or several.
            top_k: number of labels per text; None for all.

        Returns:
            One item per text, in order: ``{"label", "score"}`` for ``top_k=1``, else a list of these, most probable
            first.

        Raises:
            InputError: an item is not a string.
        """
        results: list[Any] = []
        for prediction in self.score(texts):
            if top_k == 1 and not self.labels.multi:
                # The decision, which thresholds may have made another label than the most probable one.
                results.append({"label": prediction.labels[0], "score": prediction.score})
                continue
            ranked = np.argsort(-prediction.probabilities, kind="stable")[:top_k]
            items = [
                {"label": self.labels.names[i], "score": float(prediction.probabilities[i])} for i in ranked.tolist()
            ]
            results.append(items[0] if top_k == 1 else items)
        return results

    def score(self, texts: str | Iterable[str]) -> Scores:
        """Scores of texts, as arrays with one row per text: logits, probabilities, decisions, flags.

        A single text (on CUDA with a packed bundle, up to eight) is scored with the lowest latency: the first such
        calls may load the model a second time for that.

        Args:
            texts: one text, or any number of them, whose scores have to fit in memory. The bundle's normalisation is
                applied here.

        Raises:
            InputError: an item is not a string.
        """
        rows = [texts] if isinstance(texts, str) else list(texts)
        if 0 < len(rows) <= self._engine.small_batch:
            return self._score_small_batch(rows)
        parts = [scores for _, scores in self.score_batches(rows, lambda text: text)]
        return Scores.concatenate(self.labels, parts, self.review_below)

    def stream(
        self, items: Iterable[T], text: Callable[[T], Any] = lambda item: item
    ) -> Generator[tuple[T, Prediction], None, None]:
        """Scores any number of items, in order and in bounded memory, one by one.

        Args:
            items: anything; see :meth:`score_batches`.
            text: a function that returns an item's text; by default the item itself.

        Yields:
            Each item with its prediction. When ``items`` raises, the items before the error come first.

        Raises:
            InputError: the text of an item is not a string.
        """
        with contextlib.closing(self.score_batches(items, text)) as batches:
            for batch, scores in batches:
                yield from zip(batch, scores, strict=True)

    def score_batches(
        self, items: Iterable[T], text: Callable[[T], Any]
    ) -> Generator[tuple[list[T], Scores], None, None]:
        """Scores any number of items, in order and in bounded memory, some thousand at a time.

        Reading and tokenizing, scoring, and what the caller does with the results run concurrently.

        Args:
            items: anything; read one window at a time, up to a few windows ahead.
            text: a function that returns an item's text. The bundle's normalisation is applied here, its template is
                not.

        Yields:
            Items, in order, with their scores. When ``items`` raises, the items before the error come first.

        Raises:
            InputError: the text of an item is not a string.
        """
        in_flight = WINDOWS_IN_FLIGHT * self.settings.window
        cache = LogitCache(len(self.labels), max(CACHED_TEXTS, 2 * in_flight), in_flight)
        workers = ThreadPoolExecutor(self.settings.threads)
        with contextlib.ExitStack() as stack:
            # An interrupted caller does not wait for the windows in flight.
            stack.callback(workers.shutdown, cancel_futures=True)
            for window in stack.enter_context(Prefetcher(self._windows(items, text, cache, workers))):
                for batch in window.batches:
                    batch.result()
                logits, truncated = cache.logits[window.slots], cache.truncated[window.slots]
                yield window.items, Scores(self.labels, logits, truncated, window.cached, self.review_below)

    def logits(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Raw logits, float32 [texts, labels], of texts that are already normalised."""
        tokens = self._preprocess.tokenizer(list(texts))
        logits = np.empty((len(tokens.lengths), len(self.labels)), dtype=np.float32)
        with ThreadPoolExecutor(self.settings.threads) as workers:
            for batch in self._submit(tokens, logits, np.arange(len(logits)), workers):
                batch.result()
        return logits

    def _windows(
        self, items: Iterable[T], text: Callable[[T], Any], cache: LogitCache, workers: ThreadPoolExecutor
    ) -> Iterator[_Window[T]]:
        """Windows of items that are being scored. When ``items`` raises, the items before form the last window."""
        pairs = self._with_texts(items, text)
        being_tokenized: deque[tuple[list[T], Callable[[], PreprocessedTexts]]] = deque()
        error: BaseException | None = None
        processes = self.settings.tokenizer_processes
        with contextlib.ExitStack() as stack:
            pool: TokenizerPool | None = None
            for number in itertools.count():
                window, texts, error = self._read_window(pairs)
                if not window:
                    break
                if number == 1 and processes:  # a single window is not worth starting processes for
                    pool = stack.enter_context(TokenizerPool(processes, *self._preprocessor_arguments))
                result = pool.submit(texts) if pool else functools.partial(self._preprocess, texts)
                being_tokenized.append((window, result))
                if len(being_tokenized) > (WINDOWS_BEING_TOKENIZED if pool else 0):
                    yield self._start(*being_tokenized.popleft(), cache, workers)
                if error is not None:
                    break
            while being_tokenized:
                yield self._start(*being_tokenized.popleft(), cache, workers)
        if error is not None:
            raise error

    def _read_window(self, pairs: Iterator[tuple[T, str]]) -> tuple[list[T], list[str], Exception | None]:
        """The items and texts of a window, and the error that the source raised after them."""
        items: list[T] = []
        texts: list[str] = []
        size = 0
        try:
            for item, text in itertools.islice(pairs, self.settings.window):
                items.append(item)
                texts.append(text)
                size += len(text)
                if size >= WINDOW_CHARACTERS:
                    break
        except Exception as error:  # raised again after the last window, so that earlier items are not lost
            return items, texts, error
        return items, texts, None

    def _with_texts(self, items: Iterable[T], text: Callable[[T], Any]) -> Iterator[tuple[T, str]]:
        for number, item in enumerate(items):
            value = text(item)
            if not isinstance(value, str):
                raise InputError(f"item {number} is of type {type(value).__name__}, expected a string: {value!r:.60}")
            yield item, value

    def _start(
        self,
        items: list[T],
        result: Callable[[], PreprocessedTexts],
        cache: LogitCache,
        workers: ThreadPoolExecutor,
    ) -> _Window[T]:
        preprocessed = result()
        slots, misses = cache.assign(preprocessed.keys)
        tokens = preprocessed.tokens(misses)
        cached = np.ones(len(items), dtype=np.bool_)
        cached[misses] = False
        cache.truncated[slots[misses]] = tokens.truncated
        return _Window(items, slots, cached, self._submit(tokens, cache.logits, slots[misses], workers))

    def _submit(
        self, tokens: Tokens, logits: NDArray[np.float32], slots: NDArray[np.int64], workers: ThreadPoolExecutor
    ) -> list[Future[None]]:
        """Scores texts in batches on the workers, which write row i to ``logits[slots[i]]``."""

        def run(rows: NDArray[np.int64]) -> None:
            logits[slots[rows]] = self._engine.run(tokens, rows)

        return [workers.submit(run, batch) for batch in self._engine.batches(tokens.lengths)]

    def _score_small_batch(self, items: list[str]) -> Scores:
        texts = [text for _, text in self._with_texts(items, lambda item: item)]
        tokens = self._preprocess(texts).tokens(range(len(texts)))
        cached = np.zeros(len(texts), dtype=np.bool_)
        return Scores(self.labels, self._engine.run_small_batch(tokens), tokens.truncated, cached, self.review_below)
