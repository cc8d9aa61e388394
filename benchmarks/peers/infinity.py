"""Infinity's classify in PyTorch fp32 on the CPU: it queues all texts and sorts them into batches itself."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toxonnx.bench.scorers import scores_from_probabilities
from toxonnx.inference.scores import Scores
from toxonnx.labels import Labels

from ._common import check_order, converted, load_labels


@dataclass(frozen=True)
class InfinityScorer:
    """Infinity's engine and the event loop that it runs in."""

    labels: Labels
    engine: Any
    loop: asyncio.AbstractEventLoop

    def score(self, texts: Sequence[str]) -> Scores:
        """See :class:`toxonnx.inference.scores.Scorer`."""
        probs = np.empty((len(texts), len(self.labels)), np.float32)
        positions = {name: position for position, name in enumerate(self.labels.names)}
        answers, _ = self.loop.run_until_complete(self.engine.classify(sentences=list(texts)))
        for row, answer in zip(probs, answers, strict=True):
            for item in answer:
                row[positions[item["label"]]] = item["score"]
        return scores_from_probabilities(probs, self.labels)


def load(
    model: Path, *, threads: int, batch: int, order: str, max_length: int = 128, cache: Path, **_: object
) -> InfinityScorer:
    """See ``_common.py``."""
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    check_order(order, "sorted")
    torch.set_num_threads(threads)
    folder = converted(
        cache, model, f"infinity-{max_length}", lambda target: _copy_with_limit(model, max_length, target)
    )
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
    # Its threads do not end on their own, and functions registered with atexit run only after all threads have ended.
    threading._register_atexit(lambda: loop.run_until_complete(engine.astop()))
    return InfinityScorer(load_labels(model), engine, loop)


def _copy_with_limit(model: Path, max_length: int, folder: Path) -> None:
    """A copy whose tokenizer truncates at ``max_length``: Infinity has no setting for it."""
    shutil.copytree(model, folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": max_length}))
