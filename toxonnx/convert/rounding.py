"""Rounding of a matrix to int8 so that the error of its products is small, not that of its weights.

Rounded to the nearest step, each weight has its own error, and the errors of a column add up in the product. Here the
rows are rounded one after the other. After each, the rows that are not rounded yet are changed so that they cancel its
error, as far as their inputs move together, as those of BERT's layers do. The weights stay on the same steps, so the
model is neither larger nor slower.

Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR 2023.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["round_matrix"]

#: share of the mean square of all inputs that is added to the square of each, since texts say little about rare inputs
DAMPING = 0.01
#: rows whose errors are passed on together
BLOCK = 128


def round_matrix(
    matrix: NDArray[np.floating[Any]],
    scales: NDArray[np.floating[Any]],
    squares: NDArray[np.floating[Any]],
    steps: int,
) -> NDArray[np.int8]:
    """Rounds ``matrix / scales`` to whole numbers from ``-steps`` to ``steps``.

    Args:
        matrix: weights of a linear layer, [inputs, outputs].
        scales: the step of each output, [outputs].
        squares: sums of the products of the inputs with each other on calibration texts, ``XᵀX``, [inputs, inputs].
        steps: the largest number.

    Returns:
        int8 [inputs, outputs].
    """
    squares = squares.astype(np.float64)
    diagonal = squares.diagonal().copy()
    if not diagonal.any():  # no calibration text reaches the layer
        diagonal += 1
    np.fill_diagonal(squares, diagonal + DAMPING * diagonal.mean())
    # The largest inputs first: many rows are left to take off their errors.
    order = np.argsort(-diagonal, kind="stable")
    weights = matrix[order].astype(np.float64) / scales
    # Row i holds how the error of row i is shared among the rows after it.
    shares = np.linalg.cholesky(np.linalg.inv(squares[np.ix_(order, order)])).T
    rounded = np.empty_like(weights)
    for start in range(0, len(weights), BLOCK):
        block = slice(start, min(start + BLOCK, len(weights)))
        errors = np.empty_like(weights[block])
        for row in range(start, block.stop):
            rounded[row] = np.clip(np.rint(weights[row]), -steps, steps)
            errors[row - start] = (weights[row] - rounded[row]) / shares[row, row]
            weights[row + 1 : block.stop] -= np.outer(shares[row, row + 1 : block.stop], errors[row - start])
        weights[block.stop :] -= shares[block, block.stop :].T @ errors
    result = np.empty(matrix.shape, dtype=np.int8)
    result[order] = rounded
    return result
