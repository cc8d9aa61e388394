from __future__ import annotations

from itertools import pairwise

from toxonnx.check.token_lengths import count_tokens
from toxonnx.inference.tokenizer import Tokenizer


def test_histogram_bins_have_equal_whole_widths(tokenizer: Tokenizer) -> None:
    texts = ["soup " * (i % 130 + 1) for i in range(1300)]
    lengths, _ = count_tokens(texts, range(2, 1302), tokenizer, 128, "small-bundle")
    edges, counts = lengths.histogram.edges, lengths.histogram.counts
    assert {b - a for a, b in pairwise(edges)} == {4} and sum(counts) == 1300
    assert max(counts[1:-2]) == min(counts[1:-2])
