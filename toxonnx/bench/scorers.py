"""The engines of ``toxonnx bench``: a bundle, the transformers pipeline, and PyTorch with batches sorted by length.

Each factory loads a model and returns a :class:`toxonnx.inference.scores.Scorer`; :mod:`toxonnx.bench.worker` calls
them by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.inference.scores import Scorer, Scores
from toxonnx.inference.tokenizer import EmptyText, Tokenizer, Tokens
from toxonnx.inference.windows import pool_windows
from toxonnx.labels import Labels
from toxonnx.long_texts import TRUNCATE, LongTexts
from toxonnx.texts import TextSpec

__all__ = ["bundle", "pipeline", "pytorch", "scores_from_probabilities"]

#: tokens in a batch of PyTorch on a GPU, padding included
GPU_BATCH_TOKENS = 1 << 15


def scores_from_probabilities(probs: NDArray[np.floating], labels: Labels) -> Scores:
    """Scores of an engine that returns probabilities [texts, labels] only.

    The logits are the logarithms of the probabilities (softmax) or their log-odds (sigmoid), times the temperature, so
    that the probabilities of the result are the given ones up to float32 rounding.
    """
    p = probs.astype(np.float64)
    with np.errstate(divide="ignore"):  # a probability of 0 or 1 has an infinite logit, which is converted back exactly
        logits = np.log(p) - np.log1p(-p) if labels.multi else np.log(p)
    return Scores.of(labels, (labels.temperature * logits).astype(np.float32))


def bundle(
    model: Path, *, threads: int, device: str = "cpu", max_batch_tokens: int | None = None,
    chunk_size: int | None = None, cascade: bool = False,
) -> Scorer:  # fmt: skip
    """A bundle, as ``toxonnx predict`` runs it; a single text as ``Classifier.predict`` scores it."""
    from toxonnx.bundle import open_bundle
    from toxonnx.inference.classifier import Classifier
    from toxonnx.inference.options import RuntimeOptions

    options = RuntimeOptions(
        device=device, threads=threads if device == "cpu" else None, chunk_size=chunk_size,
        max_batch_tokens=max_batch_tokens, cascade=cascade,
    )  # fmt: skip
    return Classifier(open_bundle(model), options)


@dataclass(frozen=True)
class _Pipeline:
    """A transformers pipeline and the arguments of its calls."""

    labels: Labels
    classify: Any
    text: TextSpec
    arguments: dict[str, Any]

    def score(self, texts: Sequence[str]) -> Scores:
        rows = self.classify([self.text.clean(text) for text in texts], **self.arguments)
        by_name = ({item["label"]: item["score"] for item in row} for row in rows)
        probs = np.array([[row[name] for name in self.labels.names] for row in by_name], dtype=np.float32)
        return scores_from_probabilities(probs, self.labels)


def pipeline(
    model: Path, *, threads: int, max_length: int, batch: int = 32, normalise: Sequence[str] = (), multi: bool = False,
    device: str = "cpu",
) -> Scorer:  # fmt: skip
    """A checkpoint in the transformers pipeline, called as its documentation does: batches of rows in file order.

    A text without a known token is read as a bundle reads it.
    """
    import torch
    import transformers

    torch.set_num_threads(threads)
    classify = transformers.pipeline("text-classification", str(model), device=device, pipeline_class=_pipeline_class())
    # It passes everything that the tokenizer returns to the model, but DistilBERT takes no token types.
    accepted = inspect.signature(classify.model.forward).parameters
    classify.tokenizer.model_input_names = [name for name in classify.tokenizer.model_input_names if name in accepted]
    arguments = {
        "batch_size": batch, "truncation": True, "max_length": max_length, "top_k": None,
        "function_to_apply": "sigmoid" if multi else "softmax",
    }  # fmt: skip
    return _Pipeline(_labels(classify.model.config, multi), classify, TextSpec((), "", tuple(normalise)), arguments)


def _pipeline_class() -> Any:
    """The text-classification pipeline, with the tokens of an empty text for each text without a known token."""
    import torch
    import transformers

    class Pipeline(transformers.TextClassificationPipeline):  # type: ignore[misc]  # transformers has no types here
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.empty_text = EmptyText.of(self.tokenizer.backend_tokenizer)

        def preprocess(self, inputs: Any, **kwargs: Any) -> Any:
            encoded = super().preprocess(inputs, **kwargs)
            (ids,) = encoded["input_ids"].numpy().astype(np.int32)
            ids, _, no_tokens = self.empty_text.replace(ids, np.array([len(ids)]))
            if no_tokens.any():
                row = torch.tensor(ids[None], dtype=torch.long)
                values = {
                    "input_ids": row,
                    "attention_mask": torch.ones_like(row),
                    "token_type_ids": torch.zeros_like(row),
                }
                encoded.update({name: values[name] for name in encoded})
            return encoded

    return Pipeline


@dataclass(frozen=True)
class _PyTorch:
    """A PyTorch model with a Rust tokenizer; sorts texts by length."""

    labels: Labels
    model: Any
    tokenizer: Tokenizer
    pad_id: int
    text: TextSpec
    batch: int
    device: str
    pool: str

    def score(self, texts: Sequence[str]) -> Scores:
        import torch

        tokenized = self.tokenizer([self.text.clean(text) for text in texts])
        tokens = tokenized.tokens
        logits = np.empty((len(tokens.lengths), len(self.labels)), dtype=np.float32)
        with torch.inference_mode():
            pending = [(batch, self._forward(tokens, batch)) for batch in self._batches(tokens.lengths)]
            for batch, output in pending:  # after all batches are queued, so that a GPU does not wait in between
                logits[batch] = output.float().cpu().numpy()
        pooled = pool_windows(logits, tokenized.windows, self.labels, self.pool)
        return Scores.of(self.labels, pooled, truncated=tokenized.truncated, no_tokens=tokenized.no_tokens)

    def _batches(self, lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Positions of the rows of each batch, longest rows first."""
        order = np.argsort(-lengths, kind="stable")
        batches, start = [], 0
        while start < len(order):
            size = self.batch if self.device == "cpu" else max(1, GPU_BATCH_TOKENS // int(lengths[order[start]]))
            batches.append(order[start : start + size])
            start += size
        return batches

    def _forward(self, tokens: Tokens, rows: NDArray[np.int64]) -> Any:
        """Logits of a batch, on the device."""
        lengths = tokens.lengths[rows]
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(mask.shape, self.pad_id, dtype=np.int64)
        ids[mask] = tokens.of(rows)
        return self.model(input_ids=self._to_device(ids), attention_mask=self._to_device(mask.astype(np.int64))).logits

    def _to_device(self, array: NDArray[np.int64]) -> Any:
        import torch

        tensor = torch.from_numpy(array)
        return tensor if self.device == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)


def pytorch(
    model: Path, *, threads: int, max_length: int, batch: int = 32, normalise: Sequence[str] = (), multi: bool = False,
    device: str = "cpu", long_texts: dict[str, Any] | None = None,
) -> Scorer:  # fmt: skip
    """A checkpoint in PyTorch at its best: sorted by length, inference mode, the Rust tokenizer called directly.

    On a GPU in fp16 with SDPA, in batches of about GPU_BATCH_TOKENS tokens instead of ``batch`` rows. Not compiled.
    Long texts are read as :class:`toxonnx.long_texts.LongTexts` with these values says.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(threads)
    network: Any = AutoModelForSequenceClassification.from_pretrained(model, trust_remote_code=False).eval().to(device)
    if device != "cpu":
        network = network.half()
    reading = LongTexts(**long_texts) if long_texts else TRUNCATE
    return _PyTorch(
        labels=_labels(network.config, multi),
        model=network,
        tokenizer=Tokenizer(model / "tokenizer.json", max_length, reading),
        pad_id=AutoTokenizer.from_pretrained(model, trust_remote_code=False).pad_token_id or 0,
        text=TextSpec((), "", tuple(normalise)),
        batch=batch,
        device=device,
        pool=reading.pool,
    )


def _labels(config: Any, multi: bool) -> Labels:
    names = tuple(config.id2label[i] for i in range(config.num_labels))
    return Labels(names, "sigmoid" if multi else "softmax")
