"""Temperature and thresholds of an export."""

from __future__ import annotations

import numpy as np
import pytest

from toxonnx.convert.thresholds import fit_temperature_and_thresholds, measure_on_test_rows
from toxonnx.convert.verify import VerificationRows
from toxonnx.errors import InputError
from toxonnx.labels import Labels
from toxonnx.recipe import Export


def test_a_target_missed_on_other_rows_is_reported() -> None:
    rng = np.random.default_rng(0)
    labels = Labels(("calm", "rude"))
    y_true = rng.integers(0, 2, 200)
    easy = (rng.normal(size=(200, 2)) + 3 * np.eye(2)[y_true]).astype(np.float32)
    hard = (rng.normal(size=(200, 2)) + 0.3 * np.eye(2)[y_true]).astype(np.float32)
    texts = [f"day {i}" for i in range(200)]
    settings = Export(target_precision={"rude": 0.95})
    fitted, decisions = fit_temperature_and_thresholds(
        easy, VerificationRows(texts, y_true, "validation rows", "validation"), labels, settings
    )
    assert decisions.fitted["per_class"]["rude"]["precision"][0] >= 0.95
    same = VerificationRows(texts, y_true, "the same", "test")
    assert measure_on_test_rows(decisions, easy, same, labels, fitted).missed == []
    harder = VerificationRows(texts, y_true, "harder rows", "test")
    other = measure_on_test_rows(decisions, hard, harder, labels, fitted)
    assert other.missed == ["rude"] and other.test["per_class"]["rude"]["precision"][0] < 0.95
    assert other.measured_on == "200 rows, harder rows" and other.after != decisions.after
    with pytest.raises(InputError, match=r"precision 0\.95 of rude can only be fitted on labelled rows"):
        fit_temperature_and_thresholds(easy, VerificationRows(texts, None, "rows", "data"), labels, settings)
