"""How much of a large file is measured, so that no file takes hours or all memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toxonnx.labels import Labels

__all__ = ["draw", "draw_to_learn"]

#: rows that words are learnt from at most, and rows times classes
ROWS, CELLS = 50_000, 1_000_000
#: characters of these rows times classes at most: about a quarter of a minute for each time that words are learnt
WORK = 30_000_000


def draw(texts: Sequence[str], rows: int, characters: int, seed: int) -> NDArray[np.int64]:
    """Positions of as many texts as these limits allow, drawn at random where that is not all, in the file's order."""
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(texts))[:rows]
    kept = order[np.cumsum(sizes[order]) <= characters]
    return np.sort(kept).astype(np.int64)


def draw_to_learn(texts: Sequence[str], labels: Labels, seed: int, work: int = WORK) -> NDArray[np.int64]:
    """Positions of the texts that words are learnt from; the more classes, the longer each text takes."""
    classes = max(len(labels), 1) if labels.multi or len(labels) > 2 else 1
    return draw(texts, min(ROWS, CELLS // classes), work // classes, seed)
