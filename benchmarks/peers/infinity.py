"""Infinity's classify, PyTorch fp32 on CPU: it queues all texts and sorts them into batches by itself."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import torch

from ._common import Scorer, converted, only


def load(
    model: Path, *, threads: int, batch: int, order: str, max_length: int = 128, cache: Path, **_: object
) -> Scorer:
    """See the package."""
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    only(order, "sorted")
    torch.set_num_threads(threads)
    folder = converted(cache, model, f"infinity-{max_length}", lambda into: _limit(model, max_length, into))
    settings = EngineArgs(
        model_name_or_path=str(folder),
        engine="torch",
        device="cpu",
        dtype="float32",
        batch_size=batch,
        model_warmup=False,
    )
    engine = AsyncEmbeddingEngine.from_args(settings)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(engine.astart())
    # Its threads never end by themselves, and what plain atexit calls comes after the wait for them.
    threading._register_atexit(lambda: loop.run_until_complete(engine.astop()))
    places = json.loads((model / "config.json").read_text())["label2id"]

    def score(texts: list[str]) -> np.ndarray:
        scores = np.empty((len(texts), len(places)), np.float32)
        answers, _ = loop.run_until_complete(engine.classify(sentences=texts))
        for row, answer in zip(scores, answers, strict=True):
            for label in answer:
                row[places[label["label"]]] = label["score"]
        return scores

    return score


def _limit(model: Path, max_length: int, folder: Path) -> None:
    """A copy whose tokenizer truncates at ``max_length``: Infinity has no setting for it."""
    shutil.copytree(model, folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": max_length}))
