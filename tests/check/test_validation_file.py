from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from check_helpers import check_file, distinct_rows
from helpers import write_csv

from toxonnx.check import leaky_splits, validation_file
from toxonnx.evaluate.baseline import TfidfBaseline
from toxonnx.inference.tokenizer import Tokenizer


def test_a_baseline_is_fitted_once_for_all_subsets_of_the_validation_file(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[int] = []

    class CountingBaseline(TfidfBaseline):
        def __init__(self, texts: Sequence[str], *rest: Any) -> None:
            fits.append(len(texts))
            super().__init__(texts, *rest)

    monkeypatch.setattr(validation_file, "TfidfBaseline", CountingBaseline)
    monkeypatch.setattr(leaky_splits, "TfidfBaseline", CountingBaseline)
    data = distinct_rows(80)
    file = write_csv(tmp_path / "d.csv", ["text", "class"], data)
    validation = write_csv(tmp_path / "v.csv", ["text", "class"], [*data[:5], *distinct_rows(30, 9)])
    report = check_file(file, tokenizer, validation=validation)
    assert report.validation is not None
    assert len(report.validation.baselines) >= 2 and fits.count(80) == 1
    # Without duplicates, the split that keeps identical texts together is the random split.
    assert len(fits) == 1 + leaky_splits.SPLITS_PER_KIND
    assert [result.split for result in report.baselines] == [leaky_splits.RANDOM, leaky_splits.TEXTS_TOGETHER]
    assert report.baselines[0].baseline == report.baselines[1].baseline
