"""Reports of models on labelled rows."""

from __future__ import annotations

import numpy as np
from helpers import random_logits

from toxonnx.data.label_values import MISSING
from toxonnx.evaluate.measure import compare_models, report_model
from toxonnx.evaluate.metrics import Sample
from toxonnx.evaluate.report import BootstrapOptions, ModelDescription, ScoredRows
from toxonnx.evaluate.sections import model_sections


def test_a_report_says_in_how_many_rows_a_label_was_judged() -> None:
    logits, y_true, labels = random_logits(1, 40, multi=True)
    y_true[:30, 1], y_true[:5] = MISSING, MISSING
    nothing = np.zeros(40, dtype=bool)
    about = ModelDescription(kind="bundle", precision="int8", provider="CPU", max_length=128)

    def scored(name: str, values: np.ndarray) -> ScoredRows:
        sample = Sample.of_logits(values, y_true, labels)
        return ScoredRows(
            name=name, description=about, sample=sample, truncated=nothing, empty=nothing, review=nothing, seen={}
        )

    options = BootstrapOptions(samples=20)
    report = report_model(scored("one", logits), {"half": ["x"] * 20 + ["y"] * 20}, options)
    section = model_sections(report)[0]
    assert section.header[:3] == ["label", "judged", "rows"] and [row[1] for row in section.rows] == ["35", "10", "35"]
    assert "A label counts only in the rows in which it was judged." in section.notes
    x, y = report.groups["half"]
    assert x.per_class["b"].false_positive_rate is None and y.per_class["b"].false_positive_rate is not None
    # Predictions agree or not whether judged or not; the metrics do not change where nobody judged.
    changed = np.where(y_true == MISSING, -logits, logits)
    comparison = compare_models(scored("one", logits), scored("other", changed), options)
    assert comparison.same_label < 0.5 and comparison.differences["macro_f1"].value == 0
