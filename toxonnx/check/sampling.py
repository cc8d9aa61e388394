"""Random samples of large files, which bound the time and memory that a check needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toxonnx.labels import Labels

__all__ = ["sample", "sample_for_baseline"]

#: maximum rows to fit a TF-IDF baseline on, and maximum rows times classes
MAX_ROWS, MAX_ROWS_TIMES_CLASSES = 50_000, 1_000_000
#: maximum characters of these rows times classes: about 15 seconds per fit
MAX_CHARACTERS_TIMES_CLASSES = 30_000_000


def sample(texts: Sequence[str], max_rows: int, max_characters: int, seed: int) -> NDArray[np.int64]:
    """Row numbers, int64 and ascending, of as many randomly drawn texts as the limits allow."""
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(texts))[:max_rows]
    within_limit = order[np.cumsum(sizes[order]) <= max_characters]
    return np.sort(within_limit).astype(np.int64)


def sample_for_baseline(
    texts: Sequence[str], labels: Labels, seed: int, max_characters: int = MAX_CHARACTERS_TIMES_CLASSES
) -> NDArray[np.int64]:
    """Row numbers, int64 and ascending, of the texts to fit a TF-IDF baseline on.

    Args:
        texts: all texts.
        labels: the label set; the more classes, the fewer texts, since fitting takes longer.
        seed: seed of the sample.
        max_characters: maximum characters times classes.
    """
    classes = max(len(labels), 1) if labels.multi or len(labels) > 2 else 1
    return sample(texts, min(MAX_ROWS, MAX_ROWS_TIMES_CLASSES // classes), max_characters // classes, seed)
