"""Made-up texts to measure with where no file is given: lengths spread as in tweets, words of no matter."""

from __future__ import annotations

import random

__all__ = ["synthetic_texts", "tweet_lengths"]

#: deciles of the number of tokens in 24,783 tweets, from the shortest to the longest
DECILES = (3, 10, 13, 16, 18, 21, 25, 28, 32, 36, 76)
VOCABULARY = (
    "the a this that we you they it is was will can may of to in on for with at and but so then today yesterday river "
    "garden train kettle bread window weather letter music winter morning neighbour football library bicycle holiday "
    "walk read cook paint sing wait laugh forget remember begin finish early late quiet bright heavy simple friendly"
)


def tweet_lengths(rows: int) -> list[int]:
    """So many numbers of tokens, drawn evenly between the deciles; the same ones each time."""
    chance = random.Random(0)
    lengths = []
    for _ in range(rows):
        place = chance.random() * (len(DECILES) - 1)
        low, high = DECILES[int(place)], DECILES[int(place) + 1]
        lengths.append(round(low + (high - low) * (place % 1)))
    return lengths


def synthetic_texts(rows: int) -> list[str]:
    """So many distinct texts, the same ones each time."""
    chance, words = random.Random(0), VOCABULARY.split()
    # The number at the end and two special tokens are tokens too.
    return [
        f"{' '.join(chance.choices(words, k=max(length - 3, 1)))} {number}"
        for number, length in enumerate(tweet_lengths(rows))
    ]
