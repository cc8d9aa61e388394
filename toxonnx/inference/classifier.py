"""The classifier: texts through tokenizer, batches and sessions to scores."""

from __future__ import annotations

import contextlib
import functools
import reprlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, NoReturn, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from toxonnx.bundle import Bundle, open_bundle
from toxonnx.errors import InputError
from toxonnx.html import key_value_table
from toxonnx.inference.cache import LogitCache
from toxonnx.inference.cascade import AuditResult, CascadeRunner
from toxonnx.inference.chunks import preprocessed_chunks
from toxonnx.inference.engine import Engine
from toxonnx.inference.inputs import Missing, as_items, as_text
from toxonnx.inference.options import ExecutionSettings, RuntimeOptions, as_share
from toxonnx.inference.prefetch import Prefetcher
from toxonnx.inference.scores import LabelScore, Prediction, Scores
from toxonnx.inference.tokenizer import TokenizedTexts, Tokens
from toxonnx.inference.tokenizer_pool import PreprocessedTexts, TextPreprocessor, TokenizerPool
from toxonnx.inference.windows import pool_windows
from toxonnx.labels import Labels
from toxonnx.resources import find_bundle

__all__ = ["Classifier"]

T = TypeVar("T")

_NOT_GIVEN: Final = object()

#: chunks between reading and results: being read, waiting, being scored, being consumed
CHUNKS_IN_FLIGHT = 4
#: distinct texts whose logits are kept
CACHED_TEXTS = 1 << 15


@dataclass
class _Chunk(Generic[T]):
    """Items whose texts are being scored."""

    items: list[T]
    slots: NDArray[np.int64]
    cached: NDArray[np.bool_]
    repaired: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    batches: list[Future[None]]
    finish: Callable[[], None]  # to be called when the batches are done


class Classifier:
    """A loaded bundle; :meth:`load` is the short way to make one. Safe to share between threads.

    Args:
        bundle: an opened bundle.
        options: how to run it.
        review_below: a prediction whose probability is below this is marked for review (in a multi-label model: where
            the presence or the absence of any label is less certain than this).

    Raises:
        InputError: the bundle does not run on the device, ``review_below`` is no probability, or ``thresholds`` names
            a label that it does not have.
        MachineError: the machine lacks something that the device needs; names it and what to do.

    Attributes:
        bundle: with the thresholds of ``options``, if there are any.
        engine: the model on its device, for programs that form batches themselves, like the next two.
        preprocess: what turns texts into the model's tokens.
        cascade: the first stage.
        long_texts: how texts beyond the maximum length are read.
    """

    def __init__(self, bundle: Bundle, options: RuntimeOptions | None = None, *, review_below: float = 0.0) -> None:
        options = options or RuntimeOptions()
        self.bundle = bundle = bundle.with_thresholds(options.thresholds or {})
        self.review_below = as_share(review_below, "review_below", "probability")
        self.engine = Engine(bundle, options)
        self.cascade = CascadeRunner(bundle, options)
        manifest = bundle.manifest
        self.long_texts = options.long_texts_of(manifest)
        self._preprocessor_arguments = (
            bundle.path / "tokenizer.json", manifest.max_length, manifest.text, self.long_texts,
        )  # fmt: skip
        self.preprocess = TextPreprocessor(*self._preprocessor_arguments)

    @classmethod
    def load(
        cls,
        bundle: str | Path | None = None,
        *,
        device: str = "cpu",
        allow_fallback: bool = False,
        threads: int | None = None,
        max_batch_tokens: int | None = None,
        chunk_size: int | None = None,
        tokenizer_processes: int | None = None,
        cascade: bool = True,
        audit: float = 0.0,
        audit_stop: bool = False,
        long_texts: str | None = None,
        max_windows: int | None = None,
        thresholds: Mapping[str, float] | None = None,
        review_below: float = 0.0,
    ) -> Classifier:
        """Opens a bundle, checks it and loads its model. The other arguments are those of :class:`RuntimeOptions`.

        Args:
            bundle: folder, or name of a bundle that ships with toxonnx; the default one when None.
            review_below: see :class:`Classifier`.

        Raises:
            BundleError: there is no valid, sealed bundle.
            InputError, MachineError: see :class:`Classifier`.
        """
        options = RuntimeOptions(
            device=device,
            allow_fallback=allow_fallback,
            threads=threads,
            max_batch_tokens=max_batch_tokens,
            chunk_size=chunk_size,
            tokenizer_processes=tokenizer_processes,
            cascade=cascade,
            audit=audit,
            audit_stop=audit_stop,
            long_texts=long_texts,
            max_windows=max_windows,
            thresholds=thresholds,
        )
        return cls(open_bundle(find_bundle(bundle)), options, review_below=review_below)

    def __repr__(self) -> str:
        name, labels = self.bundle.manifest.name, reprlib.repr(self.labels.names)
        return f"Classifier({name!r}, labels={labels}, device={self.settings.device!r})"

    def __reduce__(self) -> NoReturn:
        """Refuses to be pickled or copied.

        Raises:
            InputError: always.
        """
        raise InputError(
            "a classifier cannot be pickled or copied, since its model is in the memory of this process",
            "Load it in each process that needs it: Classifier.load(...).",
        )

    def _repr_html_(self) -> str:
        """The bundle and how it runs here, for notebooks."""
        return key_value_table({**self.bundle.lines(), "settings": str(self.settings)})

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
        return self.engine.settings

    @property
    def audit(self) -> AuditResult | None:
        """The result of the audit so far, over all streams; None if there is none."""
        return self.cascade.audit.result if self.cascade.audit else None

    @overload
    def predict(self, texts: str | Iterable[Any], *, missing: Missing = "error") -> list[LabelScore]: ...

    @overload
    def predict(self, texts: str, *, top_k: int | None, missing: Missing = "error") -> list[LabelScore]: ...

    @overload
    def predict(
        self, texts: Iterable[Any], *, top_k: int | None, missing: Missing = "error"
    ) -> list[list[LabelScore]]: ...

    def predict(
        self, texts: str | Iterable[Any], *, top_k: Any = _NOT_GIVEN, missing: Missing = "error"
    ) -> list[LabelScore] | list[list[LabelScore]]:
        """Labels and scores of texts, in the shapes of a transformers text-classification pipeline.

        Args:
            texts: one text, or several: a list, a pandas or polars Series, a NumPy or Arrow array.
            top_k: number of labels per text, or None for all of them, by their probabilities only. If it is not given,
                the result is the decision.
            missing: ``error``, or ``empty`` to score None and NaN as empty texts.

        Returns:
            Without ``top_k``, the decision for each text, as in a scored file: the label that applies by the bundle's
            thresholds, and its probability. In a multi-label model ``label`` contains all that apply, joined by "|",
            or is empty if none does, and ``score`` is that of the most probable label.
            With ``top_k``, a list for each text, most probable label first; for a single string that list itself.

        Raises:
            InputError: see :meth:`score`; or ``top_k`` is not a positive integer.
        """
        decide = top_k is _NOT_GIVEN
        is_count = isinstance(top_k, int | np.integer) and not isinstance(top_k, bool) and top_k > 0
        if not (decide or top_k is None or is_count):
            raise InputError(f"top_k must be a positive integer or None, got {top_k!r}")
        scores = self.score(texts, missing=missing)
        if decide:
            return [self._decision(prediction) for prediction in scores]
        rows = [row[:top_k] for row in scores.ranked()]
        return rows[0] if isinstance(texts, str) else rows

    def _decision(self, prediction: Prediction) -> LabelScore:
        decision: LabelScore = {"label": "|".join(prediction.labels), "score": prediction.score}
        if self.can_mark_for_review:
            decision["review"] = prediction.needs_review
        return decision

    def score(self, texts: str | Iterable[Any], *, missing: Missing = "error") -> Scores:
        """Scores of texts, as arrays with one row per text: logits, probabilities, decisions, flags.

        A single text (on CUDA with a packed bundle, up to eight) is scored with the lowest latency: the first such
        calls may load the model a second time for that.

        Args:
            texts: one text, or several: a list, a pandas or polars Series, a NumPy or Arrow array. Their scores have to
                fit in memory. The bundle's normalisation is applied here.
            missing: ``error``, or ``empty`` to score None and NaN as empty texts.

        Raises:
            InputError: ``texts`` is a table or of another type that does not contain texts, or an item is not a string;
                names its position.
        """
        rows = [as_text(i, item, missing) for i, item in enumerate(as_items(texts, missing))]
        if 0 < len(rows) <= self.engine.small_batch:
            return self._score_small_batch(rows)
        parts = [scores for _, scores in self.score_batches(rows)]
        return Scores.concatenate(self.labels, parts, self.review_below)

    def stream(
        self, items: Iterable[T], text: Callable[[T], Any] = lambda item: item, *, missing: Missing = "error"
    ) -> Generator[tuple[T, Prediction], None, None]:
        """Scores any number of items, in order and in bounded memory, one by one.

        Args:
            items, text, missing: see :meth:`score_batches`.

        Yields:
            Each item with its prediction. When ``items`` raises, the items before the error come first.

        Raises:
            InputError: see :meth:`score`.
        """
        with contextlib.closing(self.score_batches(items, text, missing=missing)) as batches:
            for batch, scores in batches:
                yield from zip(batch, scores, strict=True)

    def score_batches(
        self, items: Iterable[T], text: Callable[[T], Any] = lambda item: item, *, missing: Missing = "error"
    ) -> Generator[tuple[list[T], Scores], None, None]:
        """Scores any number of items, in order and in bounded memory, some thousand at a time.

        Reading and tokenizing, scoring, and what the caller does with the results run concurrently.

        Args:
            items: anything; read one chunk at a time, up to a few chunks ahead.
            text: a function that returns an item's text; by default the item itself. The bundle's normalisation is
                applied here, its template is not.
            missing: ``error``, or ``empty`` to score None and NaN as empty texts.

        Yields:
            Items, in order, with their scores. When ``items`` raises, the items before the error come first.

        Raises:
            InputError: see :meth:`score`.
        """
        texts = ((item, as_text(i, text(item), missing)) for i, item in enumerate(as_items(items, missing)))
        in_flight = CHUNKS_IN_FLIGHT * self.settings.chunk_size
        cache = LogitCache(len(self.labels), max(CACHED_TEXTS, 2 * in_flight), in_flight)
        workers = ThreadPoolExecutor(self.settings.threads)
        with contextlib.ExitStack() as stack:
            # An interrupted caller does not wait for the chunks in flight.
            stack.callback(workers.shutdown, cancel_futures=True)
            for chunk in stack.enter_context(Prefetcher(self._chunks(texts, cache, workers))):
                for batch in chunk.batches:
                    batch.result()
                chunk.finish()
                scores = Scores(
                    self.labels,
                    cache.logits[chunk.slots],
                    truncated=cache.truncated[chunk.slots] | chunk.cut,
                    no_tokens=cache.no_tokens[chunk.slots],
                    repaired=chunk.repaired,
                    cached=chunk.cached,
                    early=cache.early[chunk.slots],
                    review_below=self.review_below,
                )
                yield chunk.items, scores

    def logits(self, texts: str | Iterable[Any]) -> NDArray[np.float32]:
        """Raw logits of the full model, float32 [texts, labels], of texts that are already normalised.

        Raises:
            InputError: see :meth:`score`.
        """
        return self._score_all(self.preprocess.tokenizer([as_text(i, item) for i, item in enumerate(as_items(texts))]))

    def _pool(self, logits: NDArray[np.float32], windows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The logits of texts from those of their windows."""
        return pool_windows(logits, windows, self.labels, self.long_texts.pool)

    def _score_all(self, texts: TokenizedTexts) -> NDArray[np.float32]:
        logits = np.empty((len(texts.tokens.lengths), len(self.labels)), dtype=np.float32)
        with ThreadPoolExecutor(self.settings.threads) as workers:
            for batch in self._submit(texts.tokens, np.arange(len(logits)), logits, workers):
                batch.result()
        return self._pool(logits, texts.windows)

    def _chunks(
        self, pairs: Iterator[tuple[T, str]], cache: LogitCache, workers: ThreadPoolExecutor
    ) -> Iterator[_Chunk[T]]:
        """Chunks of items that are being scored; see :func:`toxonnx.inference.chunks.preprocessed_chunks`."""
        processes = self.settings.tokenizer_processes
        start = functools.partial(TokenizerPool, processes, *self._preprocessor_arguments) if processes else None
        with contextlib.closing(preprocessed_chunks(pairs, self.settings.chunk_size, self.preprocess, start)) as chunks:
            for items, preprocessed in chunks:
                yield self._start(items, preprocessed, cache, workers)

    def _start(
        self, items: list[T], preprocessed: PreprocessedTexts, cache: LogitCache, workers: ThreadPoolExecutor
    ) -> _Chunk[T]:
        slots, misses = cache.assign(preprocessed.keys)
        texts = preprocessed.tokens(misses)
        cached = np.ones(len(items), dtype=np.bool_)
        cached[misses] = False
        new = slots[misses]
        cache.truncated[new], cache.no_tokens[new] = texts.truncated, texts.no_tokens
        repaired = np.array(preprocessed.repaired, dtype=np.bool_)
        cut = np.array(preprocessed.cut, dtype=np.bool_)
        first = self.cascade.answer(texts, self.review_below)
        cache.early[new] = first.early
        audit = self.cascade.audit
        drawn = audit.draws([preprocessed.keys[i] for i in misses]) if audit else np.zeros(len(misses), dtype=np.bool_)
        logits = np.zeros((len(texts.tokens.lengths), len(self.labels)), dtype=np.float32)
        batches = self._submit(texts.tokens, texts.rows(np.flatnonzero(~first.early | drawn)), logits, workers)

        def finish() -> None:
            full = self._pool(logits, texts.windows)
            cache.logits[new] = np.where(first.early[:, None], first.logits, full)
            if audit:
                audit.add(int(drawn.sum()), first.logits, full, np.flatnonzero(drawn & first.early))

        return _Chunk(items, slots, cached, repaired, cut, batches, finish)

    def _submit(
        self, tokens: Tokens, rows: NDArray[np.int64], logits: NDArray[np.float32], workers: ThreadPoolExecutor
    ) -> list[Future[None]]:
        """Scores some of the rows in batches on the workers, which write row i to ``logits[i]``."""

        def run(batch: NDArray[np.int64]) -> None:
            logits[batch] = self.engine.run(tokens, batch)

        return [workers.submit(run, rows[batch]) for batch in self.engine.batches(tokens.lengths[rows])]

    def _score_small_batch(self, texts: list[str]) -> Scores:
        preprocessed = self.preprocess(texts)
        tokenized = preprocessed.tokens(range(len(texts)))
        first = self.cascade.answer(tokenized, self.review_below)
        logits = first.logits
        if len(others := np.flatnonzero(~first.early)):
            rest = tokenized.subset(others)
            if len(rest.tokens.lengths) > self.engine.small_batch:  # windows of long texts
                logits[others] = self._score_all(rest)
            else:
                logits[others] = self._pool(self.engine.run_small_batch(rest.tokens), rest.windows)
        return Scores(
            self.labels,
            logits,
            truncated=tokenized.truncated | np.array(preprocessed.cut, dtype=np.bool_),
            no_tokens=tokenized.no_tokens,
            repaired=np.array(preprocessed.repaired, dtype=np.bool_),
            cached=np.zeros(len(texts), dtype=np.bool_),
            early=first.early,
            review_below=self.review_below,
        )
