"""Scores of another service compared with a model's: a monotone map, and what its thresholds become.

A threshold that people use with one service means nothing for another. Texts that have scores of both tell what it
becomes: the map is an isotonic regression (Barlow et al., Statistical Inference under Order Restrictions, 1972) of the
model's probabilities on the old scores. All errors are out of sample: each text is compared by a map that was fitted on
the others (identical texts are left out together).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import InputError

__all__ = ["MIN_ROWS", "MappedThreshold", "ScoreMap", "fit_score_map"]

#: texts with which a map can be fitted
MIN_ROWS = 50
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class MappedThreshold:
    """What a threshold becomes.

    Attributes:
        old: the threshold for old scores.
        new: the threshold for the model's probabilities.
        flagged_old, flagged_new: shares of the texts that reach them.
        agreement: share of the texts for which both say the same.
    """

    old: float
    new: float
    flagged_old: float
    flagged_new: float
    agreement: float


@dataclass(frozen=True, kw_only=True)
class ScoreMap:
    """A monotone map from old scores to a model's probabilities.

    Attributes:
        rows: texts that it was fitted on.
        old, new: its points; it is linear in between, and constant outside.
        mean_absolute_error: between the mapped old score and the model's probability, out of sample.
        rank_correlation: Spearman's, of old scores and probabilities; what no map can change.
        thresholds: what some thresholds become.
    """

    rows: int
    old: tuple[float, ...]
    new: tuple[float, ...]
    mean_absolute_error: float
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
        raise InputError(f"{len(numbers)} different texts are too few for a map", f"Use {MIN_ROWS} or more.")
    if np.ptp(old) == 0:
        raise InputError(f"all old scores are {old[0]:g}: they say nothing about thresholds")
    from scipy.stats import spearmanr

    fold = np.random.default_rng(0).permutation(len(numbers))[[numbers[text] for text in texts]] % FOLDS
    error = np.zeros(len(old))
    above = np.zeros((len(thresholds), len(old)), dtype=np.bool_)
    for number in range(FOLDS):
        held_out = fold == number
        points = _fit(old[~held_out], new[~held_out])
        error[held_out] = np.abs(np.interp(old[held_out], *points) - new[held_out])
        above[:, held_out] = new[held_out] >= np.interp(thresholds, *points)[:, np.newaxis]
    points = _fit(old, new)
    reached = old >= np.asarray(thresholds)[:, np.newaxis]
    return ScoreMap(
        rows=len(old),
        old=tuple(points[0].tolist()),
        new=tuple(points[1].tolist()),
        mean_absolute_error=float(error.mean()),
        rank_correlation=float(spearmanr(old, new).statistic) if np.ptp(new) else 0.0,
        thresholds=tuple(
            MappedThreshold(
                old=threshold,
                new=float(np.interp(threshold, *points)),
                flagged_old=float(reached[i].mean()),
                flagged_new=float(above[i].mean()),
                agreement=float((reached[i] == above[i]).mean()),
            )
            for i, threshold in enumerate(thresholds)
        ),
    )


def _fit(old: NDArray[np.float64], new: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points of an isotonic regression."""
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(old, new)
    return model.X_thresholds_, model.y_thresholds_
