"""Synthetic texts for benchmarks without a file: as long as tweets, made of random words."""

from __future__ import annotations

import random

__all__ = ["synthetic_texts", "tweet_lengths"]

#: deciles of the number of tokens per tweet, from 24,783 tweets: minimum, 10%, ..., maximum
DECILES = (3, 10, 13, 16, 18, 21, 25, 28, 32, 36, 76)
VOCABULARY = (
    "the a this that we you they it is was will can may of to in on for with at and but so then today yesterday river "
    "garden train kettle bread window weather letter music winter morning neighbour football library bicycle holiday "
    "walk read cook paint sing wait laugh forget remember begin finish early late quiet bright heavy simple friendly"
)


def tweet_lengths(rows: int) -> list[int]:
    """Numbers of tokens for this many rows, uniform between neighbouring deciles; the same on every call."""
    rng = random.Random(0)
    lengths = []
    for _ in range(rows):
        position = rng.random() * (len(DECILES) - 1)
        low, high = DECILES[int(position)], DECILES[int(position) + 1]
        lengths.append(round(low + (high - low) * (position % 1)))
    return lengths


def synthetic_texts(rows: int) -> list[str]:
    """This many distinct texts; the same on every call."""
    rng, words = random.Random(0), VOCABULARY.split()
    # Three tokens are not words: the number at the end and two special tokens.
    return [
        f"{' '.join(rng.choices(words, k=max(length - 3, 1)))} {number}"
        for number, length in enumerate(tweet_lengths(rows))
    ]
