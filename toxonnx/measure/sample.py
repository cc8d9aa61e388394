"""Made-up texts to measure with where no file is given: lengths as in tweets, words of no matter."""

from __future__ import annotations

import random

__all__ = ["made_texts"]

#: words that give the deciles of the number of tokens in tweets
WORDS = (5, 11, 16, 20, 24, 28, 33, 39, 48, 65)
VOCABULARY = (
    "the a this that we you they it is was will can may of to in on for with at and but so then today yesterday river "
    "garden train kettle bread window weather letter music winter morning neighbour football library bicycle holiday "
    "walk read cook paint sing wait laugh forget remember begin finish early late quiet bright heavy simple friendly"
)


def made_texts(rows: int) -> list[str]:
    """So many distinct texts, the same ones each time."""
    chance, words = random.Random(0), VOCABULARY.split()
    return [
        f"{' '.join(chance.choices(words, k=WORDS[number % len(WORDS)]))} {number}"
        for number in range(rows)
    ]  # fmt: skip
