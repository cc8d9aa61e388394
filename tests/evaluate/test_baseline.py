from __future__ import annotations

import random

import numpy as np
import pytest

from toxonnx.evaluate import baseline
from toxonnx.labels import Labels


def test_features_are_limited_with_many_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    texts = [" ".join(f"word{rng.randrange(300)}" for _ in range(8)) for _ in range(400)]
    y_true = np.array([i % 20 for i in range(400)])
    labels = Labels(tuple(map(str, range(20))))
    monkeypatch.setattr(baseline, "MAX_COEFFICIENTS", 2000)
    model = baseline.TfidfBaseline(texts, y_true, labels)
    read = model.logits([f"word{number}" for number in range(300)]) != model.logits([""])
    assert read.any(axis=1).sum() == 100  # those that are most frequent
    assert model.score(texts, y_true) == baseline.baseline(texts, y_true, texts, y_true, labels)
