"""What the engines share: tokens, batches, padding, softmax, and a folder for what they convert.

Texts are tokenized by the Rust library directly, which is faster than any wrapper: no engine loses by its tokenizer.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

Rows = list[list[int]]
Scorer = Callable[[list[str]], np.ndarray]
#: batches of token ids to one array of logits each, in the same order
Run = Callable[[Iterable[Rows]], Iterable[np.ndarray]]

PAD = 0  # [PAD] in BERT's vocabularies; the mask hides it


def open_tokenizer(model: Path, threads: int, max_length: int) -> Tokenizer:
    """The tokenizer of a checkpoint: truncates, pads nothing."""
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    return tokenizer


def scorer(model: Path, run: Run, *, threads: int, batch: int, order: str, max_length: int) -> Scorer:
    """Texts to probabilities around an engine's ``run``.

    Args:
        model: checkpoint folder.
        run: the engine.
        threads: of the tokenizer.
        batch: texts.
        order: ``file``, tokenized batch by batch; or ``sorted``, all tokenized first, longest first.
        max_length: tokens.
    """
    only(order, "file", "sorted")
    tokenizer = open_tokenizer(model, threads, max_length)

    def tokens(texts: list[str]) -> Rows:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]

    def score(texts: list[str]) -> np.ndarray:
        if order == "file":
            logits = run(tokens(texts[i : i + batch]) for i in range(0, len(texts), batch))
            return softmax(np.concatenate(list(logits)))
        rows = tokens(texts)
        places = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        logits = run([rows[i] for i in places[start : start + batch]] for start in range(0, len(places), batch))
        scores = softmax(np.concatenate(list(logits)))
        restored = np.empty_like(scores)
        restored[places] = scores
        return restored

    return score


def only(order: str, *known: str) -> None:
    """Refuses an order that the engine has not."""
    if order not in known:
        raise ValueError(f"order is {order}, this engine has {' and '.join(known)}")


def pad(rows: Rows) -> dict[str, np.ndarray]:
    """Token ids and their mask, both int64 [rows, longest]."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, PAD, np.int64)
    ids[mask] = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}


def batchwise(forward: Callable[[dict[str, np.ndarray]], np.ndarray]) -> Run:
    """The run of an engine that takes one padded batch a call."""

    def run(batches: Iterable[Rows]) -> Iterator[np.ndarray]:
        return (forward(pad(rows)) for rows in batches)

    return run


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float32."""
    powers = np.exp(logits.astype(np.float32) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def converted(cache: Path, model: Path, name: str, make: Callable[[Path], object], texts: Iterable[str] = ()) -> Path:
    """The folder that ``make`` fills, once for these weights and calibration texts."""
    with (model / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update("\0".join(texts).encode())
    folder = cache / f"{name}-{digest.hexdigest()[:16]}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            make(Path(scratch, name))
            Path(scratch, name).rename(folder)
    return folder


def onnx_folder(cache: Path, model: Path) -> Path:
    """Optimum's plain fp32 export: ``model.onnx`` beside the configuration."""

    def export(folder: Path) -> None:
        from optimum.onnxruntime import ORTModelForSequenceClassification

        ORTModelForSequenceClassification.from_pretrained(model, export=True).save_pretrained(folder)

    return converted(cache, model, "onnx", export)
