"""Sums of weights over the hashed n-grams of texts, for all texts of a chunk at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toxonnx.inference.tokenizer import Tokens

__all__ = ["ORDERS", "UNKNOWN", "NgramWeights", "ngram_buckets", "ngram_counts"]

#: unigrams, bigrams and trigrams
ORDERS = 3
#: the weight, for every label, of a bucket without any n-gram of the texts that the weights were fitted on
UNKNOWN = -128
#: weights that are gathered at a time, however long the texts are, and however many labels there are
GATHERED = 1 << 20
#: odd constants of 64 bits: of the polynomial that combines tokens, and of multiplicative hashing (Knuth, TAOCP 6.4)
_COMBINE, _SPREAD = np.uint64(0xD1342543DE82EF95), np.uint64(0x9E3779B97F4A7C15)


def ngram_buckets(tokens: Tokens, buckets: int) -> NDArray[np.int64]:
    """The bucket of each n-gram inside a text.

    Args:
        tokens: of the texts.
        buckets: their number, a power of two.

    Returns:
        int64 [tokens, ORDERS]: for each token the buckets of the unigram, the bigram and the trigram that begin there;
        ``buckets`` where the text ends before the n-gram does.
    """
    count = len(tokens.ids)
    values = tokens.ids.astype(np.uint64) + np.uint64(1)
    left = np.repeat(np.cumsum(tokens.lengths), tokens.lengths) - np.arange(count)  # tokens up to the end of the text
    shift = np.uint64(64 - (buckets.bit_length() - 1))
    result = np.full((count, ORDERS), buckets, dtype=np.int64)
    combined = np.zeros(count, dtype=np.uint64)
    for order in range(min(ORDERS, count)):
        combined = combined[: count - order] * _COMBINE + values[order:]
        bucket = ((combined * _SPREAD) >> shift).astype(np.int64)
        result[: count - order, order] = np.where(left[: count - order] > order, bucket, buckets)
    return result


def ngram_counts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of n-grams of texts with this many tokens, int64 [texts]."""
    counts: NDArray[np.int64] = np.maximum(lengths[:, None] - np.arange(ORDERS), 0).sum(axis=1)
    return counts


class NgramWeights:
    """Weights of n-grams.

    Args:
        weights: int8 [buckets, labels]; rows of :data:`UNKNOWN` for unknown n-grams.
    """

    def __init__(self, weights: NDArray[np.int8]) -> None:
        buckets, labels = weights.shape
        known = weights[:, 0] != UNKNOWN
        # The last column counts known n-grams; the last row is for n-grams that do not exist.
        self._table = np.zeros((buckets + 1, labels + 1), dtype=np.int8)
        self._table[:buckets, :labels] = np.where(known[:, None], weights, 0)
        self._table[:buckets, labels] = known

    def sums(self, tokens: Tokens) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Sums over the n-grams of each text, exact in any order.

        Args:
            tokens: of the texts, at least one of each.

        Returns:
            The sums of their weights, int64 [texts, labels], and the share that is known, float64 [texts].
        """
        rows, columns = self._table.shape
        of_texts = np.empty((len(tokens.lengths), columns), dtype=np.int64)
        ends, most = np.cumsum(tokens.lengths), GATHERED // (ORDERS * columns)
        start, first = 0, 0
        while start < len(of_texts):
            end = max(int(np.searchsorted(ends, first + most, side="right")), start + 1)
            part = Tokens(tokens.ids[first : ends[end - 1]], tokens.lengths[start:end])
            of_tokens = self._table[ngram_buckets(part, rows - 1)].sum(axis=1, dtype=np.int64)
            of_texts[start:end] = np.add.reduceat(of_tokens, part.starts, axis=0)
            start, first = end, int(ends[end - 1])
        return of_texts[:, :-1], of_texts[:, -1] / ngram_counts(tokens.lengths)
