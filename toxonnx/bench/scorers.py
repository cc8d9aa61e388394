"""The engines that every race has: a bundle here, and PyTorch as people run it and at its best.

Each function loads a model and returns one from texts to probabilities, float32 [texts, labels], in the texts' order.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.texts import TextSpec

__all__ = ["bundle", "pipeline", "pytorch"]

#: tokens of a batch of PyTorch on a GPU, padding included
GPU_TOKENS = 1 << 15

Scorer = Callable[[list[str]], NDArray[np.float32]]


def bundle(
    model: Path, *, threads: int, device: str = "cpu", max_batch_tokens: int | None = None, window: int | None = None
) -> Scorer:
    """A bundle, as ``toxonnx predict`` runs it; a text that comes alone, as ``Classifier.predict`` does."""
    from toxonnx.bundle import open_bundle
    from toxonnx.inference.classifier import Classifier
    from toxonnx.inference.options import RuntimeOptions

    classifier = Classifier(
        open_bundle(model),
        RuntimeOptions(
            device=device,
            threads=threads if device == "cpu" else None,
            window=window,
            max_batch_tokens=max_batch_tokens,
        ),
    )

    def score(texts: list[str]) -> NDArray[np.float32]:
        if len(texts) == 1:
            (answer,) = classifier.predict(texts, top_k=None)
            by_name = {item["label"]: item["score"] for item in answer}
            return np.array([[by_name[name] for name in classifier.labels.names]], dtype=np.float32)
        return np.array([prediction.probabilities for _, prediction in classifier.stream(texts)], dtype=np.float32)

    return score


def pipeline(
    model: Path, *, threads: int, max_length: int, batch: int = 32, normalise: Sequence[str] = (), multi: bool = False,
    device: str = "cpu",
) -> Scorer:  # fmt: skip
    """A checkpoint in transformers' own pipeline, batches in the file's order, as its documentation writes it."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    classify = transformers.pipeline("text-classification", str(model), device=device)
    # It hands the model whatever the tokenizer makes; a DistilBERT with a BERT's tokenizer takes no token types.
    takes = inspect.signature(classify.model.forward).parameters
    classify.tokenizer.model_input_names = [name for name in classify.tokenizer.model_input_names if name in takes]
    names = [classify.model.config.id2label[i] for i in range(classify.model.config.num_labels)]
    function = "sigmoid" if multi else "softmax"

    clean = TextSpec((), "", tuple(normalise)).clean

    def score(texts: list[str]) -> NDArray[np.float32]:
        rows = classify(
            [clean(text) for text in texts],
            batch_size=batch,
            truncation=True,
            max_length=max_length,
            top_k=None,
            function_to_apply=function,
        )
        by_name = ({item["label"]: item["score"] for item in row} for row in rows)
        return np.array([[row[name] for name in names] for row in by_name], dtype=np.float32)

    return score


def pytorch(
    model: Path, *, threads: int, max_length: int, batch: int = 32, normalise: Sequence[str] = (), multi: bool = False,
    device: str = "cpu",
) -> Scorer:  # fmt: skip
    """A checkpoint in PyTorch at its best: sorted by length, inference mode, the Rust tokenizer called directly.

    On a GPU in fp16 with SDPA, in batches of about GPU_TOKENS tokens in place of ``batch`` rows. Not compiled.
    """
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(threads)
    network: Any = AutoModelForSequenceClassification.from_pretrained(model).eval().to(device)
    if device != "cpu":
        network = network.half()
    pad_id = AutoTokenizer.from_pretrained(model).pad_token_id or 0
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    clean = TextSpec((), "", tuple(normalise)).clean

    def sent(array: NDArray[np.int64]) -> Any:
        tensor = torch.from_numpy(array)
        return tensor if device == "cpu" else tensor.pin_memory().to(device, non_blocking=True)

    def score(texts: list[str]) -> NDArray[np.float32]:
        rows = [encoding.ids for encoding in tokenizer.encode_batch_fast([clean(text) for text in texts])]
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        logits = np.empty((len(rows), network.config.num_labels), dtype=np.float32)
        waiting: list[tuple[list[int], Any]] = []
        start = 0
        with torch.inference_mode():
            while start < len(order):
                width = len(rows[order[start]])
                some = order[start : start + (batch if device == "cpu" else max(1, GPU_TOKENS // width))]
                start += len(some)
                lengths = np.array([len(rows[i]) for i in some])
                held = np.arange(width) < lengths[:, None]
                ids = np.full(held.shape, pad_id, dtype=np.int64)
                ids[held] = np.fromiter(itertools.chain.from_iterable(rows[i] for i in some), np.int64, lengths.sum())
                waiting.append((some, network(input_ids=sent(ids), attention_mask=sent(held.astype(np.int64))).logits))
            for some, found in waiting:  # a GPU is waited for once
                logits[some] = found.float().cpu().numpy()
        scores = torch.from_numpy(logits)
        result: NDArray[np.float32] = (torch.sigmoid(scores) if multi else torch.softmax(scores, dim=-1)).numpy()
        return result

    return score
