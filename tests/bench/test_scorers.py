from __future__ import annotations

import numpy as np
import pytest

from toxonnx.bench.scorers import scores_from_probabilities
from toxonnx.labels import Labels


@pytest.mark.parametrize("temperature", [1.0, 1.7])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_scores_return_the_probabilities_they_were_made_from(activation: str, temperature: float) -> None:
    labels = Labels(("a", "b", "c"), activation, temperature=temperature)
    probs = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [1e-12, 0.4, 0.6 - 1e-12]])
    scores = scores_from_probabilities(probs, labels)
    assert scores.logits.dtype == np.float32
    np.testing.assert_allclose(scores.probabilities, probs, rtol=5e-6, atol=0)
