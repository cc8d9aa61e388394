"""Properties of the benchmark texts that speed depends on: lengths in tokens, repeats, padding."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.inference.engine import Engine
from toxonnx.inference.tokenizer import TokenizedTexts, Tokens

__all__ = ["TextStatistics", "padding_share", "padding_shares"]


@dataclass(frozen=True, kw_only=True)
class TextStatistics:
    """Texts of a benchmark.

    Attributes:
        source: where they come from.
        rows: number of texts.
        distinct: number of distinct texts.
        tokens, tokens_mean, tokens_p95, tokens_longest: sum, mean, 95th percentile and maximum of tokens per text.
        truncated: number of texts of which the end is not read.
        padding: batching -> share of its tokens that are padding.
    """

    source: str
    rows: int
    distinct: int
    tokens: int
    tokens_mean: float
    tokens_p95: int
    tokens_longest: int
    truncated: int
    padding: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, texts: Sequence[str], tokenized: TokenizedTexts, source: str, padding: dict[str, float]
    ) -> TextStatistics:
        """Statistics of normalised texts and their tokens."""
        lengths = tokenized.lengths
        return cls(
            source=source,
            rows=len(texts),
            distinct=len(set(texts)),
            tokens=int(lengths.sum()),
            tokens_mean=round(float(lengths.mean()), 1),
            tokens_p95=int(np.percentile(lengths, 95)),
            tokens_longest=int(lengths.max()),
            truncated=int(tokenized.truncated.sum()),
            padding=padding,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def padding_share(lengths: NDArray[np.int64], batch: int, *, by_length: bool) -> float:
    """Share of tokens that are padding, in batches of ``batch`` rows.

    Args:
        lengths: tokens per text, int64 [texts].
        batch: rows per batch.
        by_length: sort the rows by length first; otherwise they are in file order.
    """
    rows = np.sort(lengths)[::-1] if by_length else lengths
    padded = sum(int(rows[i : i + batch].max()) * len(rows[i : i + batch]) for i in range(0, len(rows), batch))
    return 1 - int(rows.sum()) / padded


def padding_shares(engine: Engine, tokens: Tokens) -> dict[str, float]:
    """Share of tokens that are padding: in batches of 32, in file order and sorted by length, and in the engine's."""
    size = sum(engine.batcher.feed(tokens, rows)["input_ids"].size for rows in engine.batches(tokens.lengths))
    return {
        "batches of 32, file order": padding_share(tokens.lengths, 32, by_length=False),
        "batches of 32, sorted by length": padding_share(tokens.lengths, 32, by_length=True),
        "toxonnx": 1 - len(tokens.ids) / max(size, 1),
    }
