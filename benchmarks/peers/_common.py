"""Shared by the engines: tokenization, batches, padding, and a cache of converted models.

Texts are tokenized by the Rust library directly, which is faster than any wrapper around it, so that no engine loses
time there.

Every engine's ``load`` takes ``model`` (a checkpoint folder), ``threads``, ``batch`` (rows per batch), ``order``
(``file`` or ``sorted``), ``max_length`` (tokens), ``cache`` (folder for converted models) and options of its own, and
returns a :class:`toxonnx.inference.scores.Scorer`.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from toxonnx.inference.scores import Scores
from toxonnx.labels import Labels

TokenIds = list[list[int]]
#: batches of token ids -> logits of each batch, in the same order
Run = Callable[[Iterable[TokenIds]], Iterable[np.ndarray]]

PAD = 0  # [PAD] in BERT's vocabularies; the attention mask hides it


def open_tokenizer(model: Path, threads: int, max_length: int) -> Tokenizer:
    """The tokenizer of a checkpoint, with truncation and without padding."""
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    return tokenizer


def load_labels(model: Path) -> Labels:
    """The labels of a checkpoint."""
    return Labels.from_config(json.loads((model / "config.json").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class BatchScorer:
    """Tokenizes texts and runs an engine on batches.

    Attributes:
        labels: of the model.
        run: the engine.
        tokenizer: see :func:`open_tokenizer`.
        batch: rows per batch.
        order: ``file``, each batch is tokenized on its own; or ``sorted``, all texts are tokenized first and sorted by
            length, longest first.
    """

    labels: Labels
    run: Run
    tokenizer: Tokenizer
    batch: int
    order: str

    def __post_init__(self) -> None:
        check_order(self.order, "file", "sorted")

    def score(self, texts: Sequence[str]) -> Scores:
        """See :class:`toxonnx.inference.scores.Scorer`."""
        if self.order == "file":
            batches = (self._tokenize(texts[i : i + self.batch]) for i in range(0, len(texts), self.batch))
            return Scores.of(self.labels, _concatenate(self.run(batches)))
        rows = self._tokenize(texts)
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        batches = ([rows[i] for i in order[start : start + self.batch]] for start in range(0, len(order), self.batch))
        logits = _concatenate(self.run(batches))
        in_file_order = np.empty_like(logits)
        in_file_order[order] = logits
        return Scores.of(self.labels, in_file_order)

    def _tokenize(self, texts: Sequence[str]) -> TokenIds:
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]


def _concatenate(logits: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(logits)).astype(np.float32)


def batch_scorer(model: Path, run: Run, *, threads: int, batch: int, order: str, max_length: int) -> BatchScorer:
    """A scorer around an engine; the arguments are those of ``load``."""
    return BatchScorer(load_labels(model), run, open_tokenizer(model, threads, max_length), batch, order)


def check_order(order: str, *supported: str) -> None:
    """Raises ValueError for an order that the engine does not support."""
    if order not in supported:
        raise ValueError(f"order must be {' or '.join(supported)}, got {order!r}")


def pad(rows: TokenIds) -> dict[str, np.ndarray]:
    """Token ids and attention mask, both int64 [rows, longest row]."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, PAD, np.int64)
    ids[mask] = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}


def run_padded(forward: Callable[[dict[str, np.ndarray]], np.ndarray]) -> Run:
    """The run of an engine that takes one padded batch per call."""

    def run(batches: Iterable[TokenIds]) -> Iterator[np.ndarray]:
        return (forward(pad(rows)) for rows in batches)

    return run


def converted(
    cache: Path, model: Path, name: str, convert: Callable[[Path], object], texts: Iterable[str] = ()
) -> Path:
    """The folder of a converted model; ``convert`` runs once per model weights and calibration texts."""
    with (model / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update("\0".join(texts).encode())
    folder = cache / f"{name}-{digest.hexdigest()[:16]}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            convert(Path(scratch, name))
            Path(scratch, name).rename(folder)
    return folder


def onnx_folder(cache: Path, model: Path) -> Path:
    """Optimum's default fp32 export: ``model.onnx`` and the configuration."""

    def export(folder: Path) -> None:
        from optimum.onnxruntime import ORTModelForSequenceClassification

        ORTModelForSequenceClassification.from_pretrained(model, export=True).save_pretrained(folder)

    return converted(cache, model, "onnx", export)
