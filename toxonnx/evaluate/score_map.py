"""Scores of another service compared with a model's: a monotone map, and what its thresholds become.

A threshold that people use with one service means nothing for another. Texts that have scores of both tell what it
becomes: the one that as many texts reach as reached the old one. That is equipercentile linking (Kolen and Brennan,
Test Equating, Scaling, and Linking, 2014, chapter 2). A regression of the new scores on the old ones would not do:
where the two disagree, it moves every threshold towards the mean, and so flags more texts than before if few were.
Whether decisions stay the same is measured out of sample: each text is decided by a map that was fitted on the others
(identical texts are left out together).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import InputError
from toxonnx.wording import plural

__all__ = ["MIN_REACHED", "MIN_ROWS", "MappedThreshold", "ScoreMap", "fit_score_map"]

#: different texts with which a map can be fitted
MIN_ROWS = 50
#: texts that have to reach a threshold, and to stay below it, for a new one
MIN_REACHED = 5
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class MappedThreshold:
    """What a threshold becomes.

    Attributes:
        old: the threshold for old scores.
        new: the threshold for the model's probabilities; None if fewer than :data:`MIN_REACHED` texts reach the old
            one, or stay below it.
        reached: texts that reach the old one.
        flagged_old, flagged_new: shares of the texts that reach them.
        agreement: share of the texts for which both say the same, out of sample.
    """

    old: float
    new: float | None
    reached: int
    flagged_old: float
    flagged_new: float | None
    agreement: float | None


@dataclass(frozen=True, kw_only=True)
class ScoreMap:
    """A monotone map from old scores to a model's probabilities.

    Attributes:
        rows: texts that it was fitted on.
        old, new: its points: the different old scores but the lowest, which all texts reach, and the probability that
            as many texts reach. A threshold between two points has the probability of the upper one.
        rank_correlation: Spearman's, of old scores and probabilities; what no map can change.
        thresholds: what some thresholds become.
    """

    rows: int
    old: tuple[float, ...]
    new: tuple[float, ...]
    rank_correlation: float
    thresholds: tuple[MappedThreshold, ...]


def fit_score_map(
    old: NDArray[np.float64], new: NDArray[np.float64], texts: Sequence[str], thresholds: Sequence[float]
) -> ScoreMap:
    """Fits a map from old scores to new ones.

    Args:
        old: float64 [texts], from 0 to 1.
        new: float64 [texts], the model's probabilities.
        texts: identical ones are in the same fold.
        thresholds: of old scores, which are to be mapped.

    Raises:
        InputError: there are fewer than :data:`MIN_ROWS` different texts, or all old scores are equal.
    """
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    if len(numbers) < MIN_ROWS:
        few = plural(len(numbers), "different text is", "different texts are")
        raise InputError(f"{few} too few for a map", f"Use {MIN_ROWS} or more.")
    if np.ptp(old) == 0:
        raise InputError(f"all old scores are {old[0]:g}: they say nothing about thresholds")

    fold = np.random.default_rng(0).permutation(len(numbers))[[numbers[text] for text in texts]] % FOLDS
    wanted = np.asarray(thresholds, dtype=np.float64)
    above = np.zeros((len(wanted), len(old)), dtype=np.bool_)
    for number in range(FOLDS):
        held_out = fold == number
        above[:, held_out] = new[held_out] >= _linked(wanted, old[~held_out], new[~held_out])[:, np.newaxis]
    points = np.unique(old)[1:]
    reached = old >= wanted[:, np.newaxis]
    found = []
    for i, (threshold, linked) in enumerate(zip(wanted.tolist(), _linked(wanted, old, new).tolist(), strict=True)):
        count = int(reached[i].sum())
        is_known = MIN_REACHED <= count <= len(old) - MIN_REACHED
        found.append(
            MappedThreshold(
                old=threshold,
                new=linked if is_known else None,
                reached=count,
                flagged_old=count / len(old),
                flagged_new=float((new >= linked).mean()) if is_known else None,
                agreement=float((reached[i] == above[i]).mean()) if is_known else None,
            )
        )
    return ScoreMap(
        rows=len(old),
        old=tuple(points.tolist()),
        new=tuple(_linked(points, old, new).tolist()),
        rank_correlation=_rank_correlation(old, new),
        thresholds=tuple(found),
    )


def _linked(thresholds: NDArray[np.float64], old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities that as many texts reach as reach thresholds of old scores, half way to the next text's.

    Where several texts have the same probability, more may reach it.
    """
    count = len(old) - np.searchsorted(np.sort(old), thresholds)
    falling = np.concatenate(([1.0], np.sort(new)[::-1], [0.0]))  # if all or none reach it
    middle: NDArray[np.float64] = (falling[count] + falling[count + 1]) / 2
    return middle


def _rank_correlation(old: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """Spearman's, with mean ranks for equal scores; 0 if all probabilities are equal."""
    if np.ptp(new) == 0:
        return 0.0
    ranks = []
    for scores in (old, new):
        _, which, counts = np.unique(scores, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[which])
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
