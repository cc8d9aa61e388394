from __future__ import annotations

from toxonnx.bench.synthetic_texts import DECILES, synthetic_texts, tweet_lengths


def test_texts_are_distinct_and_the_same_on_every_call() -> None:
    texts = synthetic_texts(500)
    assert len(set(texts)) == 500 and texts == synthetic_texts(500)
    assert all(DECILES[0] <= length <= DECILES[-1] for length in tweet_lengths(500))
