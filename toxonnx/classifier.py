"""The one place where texts go through tokens, batches and sessions to scores."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from toxonnx.batches import pad, plan
from toxonnx.bundle import Bundle, open_bundle
from toxonnx.errors import InputError
from toxonnx.labels import Labels
from toxonnx.resources import find_bundle
from toxonnx.scores import decide, probabilities
from toxonnx.sessions import Session, available_cores
from toxonnx.tokens import Tokenizer

__all__ = ["Classifier", "Prediction"]

T = TypeVar("T")

#: a window ends here too, so that long texts do not fill the memory
WINDOW_CHARACTERS = 1 << 22


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one text.

    Attributes:
        labels: names of the labels that hold: exactly one (softmax), or any number (sigmoid).
        score: probability of the likeliest label.
        probabilities: float64 [labels], in the bundle's order.
        truncated: whether the text was cut at the bundle's limit.
    """

    labels: tuple[str, ...]
    score: float
    probabilities: NDArray[np.float64]
    truncated: bool


class Classifier:
    """A loaded bundle. Make one with :meth:`load`.

    Args:
        bundle: an opened bundle.
        threads: threads that score at the same time; all cores this process may use when not given.
        batch_tokens: budget of a batch, in tokens with padding.
        window: texts that are ordered by length together. Memory grows with it, not with the number of texts.
    """

    def __init__(
        self, bundle: Bundle, *, threads: int | None = None, batch_tokens: int = 512, window: int = 1024
    ) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self.threads = threads or available_cores()
        self._batch_tokens = batch_tokens
        self._window = window
        self._max_rows = window if manifest.row_independent else 1
        self._tokenizer = Tokenizer(bundle.path / "tokenizer.json", manifest.max_length)
        self._session = Session(bundle.model, len(manifest.labels))

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

    def predict(self, texts: str | Iterable[str], *, top_k: int | None = 1) -> list[Any]:
        """Labels and scores of texts, in the shape of a transformers text-classification pipeline.

        Args:
            texts: one text, or several.
            top_k: how many labels for each text; None for all.

        Returns:
            One item a text, in order: ``{"label", "score"}`` for ``top_k=1``, else a list of these, likeliest first.
        """
        rows = [texts] if isinstance(texts, str) else texts
        results: list[Any] = []
        for _, prediction in self.stream(rows):
            ranked = np.argsort(-prediction.probabilities, kind="stable")[:top_k]
            items = [
                {"label": self.labels.names[i], "score": float(prediction.probabilities[i])} for i in ranked.tolist()
            ]
            results.append(items[0] if top_k == 1 else items)
        return results

    def stream(
        self, items: Iterable[T], text: Callable[[T], Any] = lambda item: item
    ) -> Iterator[tuple[T, Prediction]]:
        """Scores an endless or a short series of items, in order and in bounded memory.

        Args:
            items: anything; taken a window at a time, one window ahead of the scoring.
            text: the text of an item; the item itself when not given. The bundle's normalisation is applied here, not
                its template.

        Yields:
            Each item with its prediction.

        Raises:
            InputError: an item has no text: it is None, a number, a dict ...
        """
        source, number = iter(items), itertools.count()
        clean = self.bundle.manifest.text.clean

        def ahead() -> tuple[list[T], list[str]]:
            window: list[T] = []
            texts: list[str] = []
            characters = 0
            for item in itertools.islice(source, self._window):
                value, at = text(item), next(number)
                if not isinstance(value, str):
                    raise InputError(f"item {at} is {type(value).__name__}, not a text: {value!r:.60}")
                window.append(item)
                texts.append(clean(value))
                characters += len(texts[-1])
                if characters >= WINDOW_CHARACTERS:
                    break
            return window, texts

        reader, workers = ThreadPoolExecutor(1), ThreadPoolExecutor(self.threads)
        try:
            pending = reader.submit(ahead)
            while (window := pending.result())[0]:
                pending = reader.submit(ahead)
                yield from zip(window[0], self._score(window[1], workers), strict=True)
        finally:
            # An interrupted caller does not wait for the rest of its window.
            workers.shutdown(cancel_futures=True)
            reader.shutdown(cancel_futures=True)

    def logits(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Raw logits, float32 [texts, labels], of texts that are already normalised."""
        with ThreadPoolExecutor(self.threads) as workers:
            return self._logits(list(texts), workers)[0]

    def _score(self, texts: list[str], workers: ThreadPoolExecutor) -> Iterator[Prediction]:
        logits, truncated = self._logits(texts, workers)
        probs = probabilities(logits, self.labels)
        held = decide(probs, self.labels)
        names = self.labels.names
        for row, is_held, cut in zip(probs, held, truncated.tolist(), strict=True):
            yield Prediction(tuple(names[i] for i in np.flatnonzero(is_held)), float(row.max()), row, cut)

    def _logits(self, texts: list[str], workers: ThreadPoolExecutor) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        # Identical texts are scored once: `unique` numbers the distinct ones.
        unique = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        tokens = self._tokenizer(list(unique))
        logits = np.empty((len(unique), len(self.labels)), dtype=np.float32)

        def run(rows: NDArray[np.int64]) -> None:
            logits[rows] = self._session.run(*pad([tokens.ids[i] for i in rows], self.bundle.manifest.pad_id))

        batches = plan(tokens.lengths, max_tokens=self._batch_tokens, max_rows=self._max_rows)
        for _ in workers.map(run, batches):
            pass
        back = np.fromiter((unique[text] for text in texts), dtype=np.int64, count=len(texts))
        return logits[back], tokens.truncated[back]
