"""Reports of models on labelled rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers import random_logits

from toxonnx.data.label_values import MISSING
from toxonnx.errors import GateError
from toxonnx.evaluate.gate import check_metrics
from toxonnx.evaluate.loading import with_unique_names
from toxonnx.evaluate.measure import compare_models, report_model
from toxonnx.evaluate.metrics import Sample, wilson
from toxonnx.evaluate.report import BootstrapOptions, EvaluationReport, ModelDescription, ModelReport, ScoredRows
from toxonnx.evaluate.sections import headline, model_sections
from toxonnx.labels import Labels


def scored_rows(name: str, sample: Sample) -> ScoredRows:
    about = ModelDescription(kind="bundle", precision="int8", provider="CPU", max_length=128)
    nothing = np.zeros(len(sample), dtype=bool)
    return ScoredRows(
        name=name, description=about, sample=sample, truncated=nothing, empty=nothing, review=nothing, seen={}
    )


def test_long_values_with_the_same_start_are_groups_of_their_own() -> None:
    sample = Sample.of_logits(*random_logits(1, 40))
    start = "https://example.org/a-garden/in-the-sun"
    values = [f"{start}/tulips"] * 19 + [f"{start}/roses"] * 11 + [f"{start}/roses  "] * 5 + ["soup"] * 5
    report = report_model(scored_rows("one", sample), {"page": values}, BootstrapOptions(samples=0))
    shown = f"{start[:37]}..."
    assert [(one.value, one.rows) for one in report.groups["page"]] == [(shown, 19), (f"{shown} (2)", 16), ("soup", 5)]


def test_unseen_rows_that_nobody_judged_are_not_measured() -> None:
    logits, y_true, labels = random_logits(1, 40, multi=True)
    y_true[30:] = MISSING
    scored = scored_rows("one", Sample.of_logits(logits, y_true, labels))
    scored.seen["training"] = np.arange(40) < 30
    report = report_model(scored, bootstrap_options=BootstrapOptions(samples=0))
    assert report.unseen is None and report.all_rows is not None and report.all_rows.metrics.accuracy > 0
    assert "no unseen row with a label is left" in str(headline(_report(report)).alerts)


def test_f1_is_undefined_where_no_label_occurs() -> None:
    labels = Labels(("rude", "calm"), "sigmoid")
    sample = Sample.of_logits(np.full((3, 2), -4, dtype=np.float32), np.zeros((3, 2), dtype=np.int64), labels)
    report = report_model(scored_rows("one", sample), {"page": ["a"] * 3}, BootstrapOptions(samples=0))
    table = headline(_report(report))
    shown = dict(table.rows)
    assert shown["accuracy"] == "1.0000" and shown["macro F1"] == shown["weighted F1"] == "-" and not table.alerts
    assert report.groups["page"][0].macro_f1 is None
    with pytest.raises(GateError, match="macro_f1 is undefined"):
        check_metrics(_report(report), {"macro_f1": 0.1})


def test_names_of_models_are_unique() -> None:
    @dataclasses.dataclass(frozen=True)
    class Named:
        name: str

    names = [
        one.name for one in with_unique_names([Named(name) for name in ("m (2)", "m", "m", "m", "hate (v2)", "hate")])
    ]  # type: ignore[misc,arg-type]
    assert names == ["m (2)", "m", "m (3)", "m (4)", "hate (v2)", "hate"]


def _report(model: ModelReport) -> EvaluationReport:
    options = BootstrapOptions(samples=0)
    return EvaluationReport(toxonnx="0", bootstrap=options, file=None, models=[model], comparisons=[], suite=None)


def test_a_report_says_in_how_many_rows_a_label_was_judged() -> None:
    logits, y_true, labels = random_logits(1, 40, multi=True)
    y_true[:30, 1], y_true[:5] = MISSING, MISSING

    def scored(name: str, values: np.ndarray) -> ScoredRows:
        return scored_rows(name, Sample.of_logits(values, y_true, labels))

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


@pytest.mark.parametrize("positives", [1, 2, 3, 4, 6])
def test_a_resample_without_a_label_is_no_evidence_against_a_perfect_model(positives: int) -> None:
    # Two labels of 12 rows; the second was judged in few of them, and every decision is right.
    y_true = np.zeros((12, 2), dtype=int)
    y_true[:6, 0], y_true[:positives, 1], y_true[positives + 2 :, 1] = 1, 1, MISSING
    sample = Sample.of_logits(np.where(y_true == 1, 3.0, -3.0), y_true, Labels(("x", "y"), "sigmoid"))
    rows = scored_rows("one", sample)
    intervals = report_model(rows, {}, BootstrapOptions(samples=200)).measured.intervals
    for name, count in (("precision", positives), ("recall", positives)):
        assert intervals[f"per_class/y/{name}"] == wilson(1, count), name
    for name in ("per_class/y/f1", "macro_f1", "weighted_f1"):
        assert intervals[name] is None, name
    assert intervals["accuracy"] == wilson(1, 12)
    assert compare_models(rows, rows, BootstrapOptions(samples=200)).differences["macro_f1"].low is None
