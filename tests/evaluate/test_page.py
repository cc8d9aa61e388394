"""The report page and its tables: what must not be overlooked, and what is drawn."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from toxonnx.evaluate.metrics import MIN_BIN, Sample
from toxonnx.evaluate.page import page
from toxonnx.evaluate.report import BootstrapOptions, EvaluationReport, ModelDescription, ScoredRows
from toxonnx.evaluate.run import make_report
from toxonnx.evaluate.sections import headline, markdown, sections
from toxonnx.evaluate.suites import FunctionalityAccuracy, SuiteAnswers, SuiteReport
from toxonnx.labels import Labels


def _report(probs: np.ndarray, y_true: np.ndarray, *, seen: int = 0, name: str = "model") -> EvaluationReport:
    sample = Sample(probs, y_true, Labels(("a", "b", "c")))
    none = np.zeros(len(y_true), dtype=np.bool_)
    rows = ScoredRows(
        name=name, description=ModelDescription(kind="bundle", precision="fp32", provider="CPU", max_length=8),
        sample=sample, truncated=none, empty=none, review=none, seen={"training": np.arange(len(y_true)) < seen},
    )  # fmt: skip
    return make_report([rows], "rows.csv", None, options=BootstrapOptions(0), log=lambda _: None)


def test_names_that_are_not_utf_8_are_written_with_a_replacement() -> None:
    report = _report(np.eye(3)[np.arange(60) % 3] * 0.7 + 0.1, np.arange(60) % 3, name="model \udcff")
    for text in (page(report), markdown(sections(report))):
        assert "model \N{REPLACEMENT CHARACTER}".encode() in text.encode()


def test_a_model_that_always_says_the_same_is_reported_first() -> None:
    y_true = np.array([0, 1, 2] * 20)
    always = _report(np.tile([0.1, 0.7, 0.2], (60, 1)), y_true)
    expected = "model always predicts b: it does not tell the labels apart."
    assert headline(always).alerts == [expected]
    html = page(always)
    assert f'<p class="alert">{expected}</p>' in html and html.index(expected) < html.index("rows.csv: 60 rows")
    assert f"**{expected}**" in markdown(sections(always))

    good = np.full((60, 3), 0.1)
    good[np.arange(60), y_true] = 0.8
    assert headline(_report(good, y_true)).alerts == []
    leaky = headline(_report(good, y_true, seen=5))
    assert leaky.alerts == [
        "LEAKY: model has seen 5 of 60 rows (5 in training); metrics are given with and without them."
    ]
    assert not any("LEAKY" in note for note in leaky.notes)
    worse = headline(_report(np.roll(good, 1, axis=1), y_true))
    assert worse.alerts[0].startswith("The accuracy of model, 0.0000, is not higher than")


@given(st.lists(st.sampled_from([0.4, 0.5, 0.50001, 0.7, 0.9, 0.99]), min_size=1, max_size=300), st.integers(0, 9))
def test_bins_of_a_reliability_diagram(tops: list[float], seed: int) -> None:
    probs = np.array([[top, 1 - top - 1e-6, 1e-6] for top in tops])
    y_true = np.random.default_rng(seed).integers(0, 3, len(tops))
    bins = Sample(probs, y_true, Labels(("a", "b", "c"))).reliability()
    assert sum(one.count for one in bins) == len(tops)
    assert len(bins) <= max(1, len(tops) // MIN_BIN)
    means = [one.probability for one in bins]
    assert means == sorted(means) and len(set(means)) == len(means)
    assert all(one.interval[0] <= one.accuracy <= one.interval[1] for one in bins)


def test_the_colour_of_a_functionality_shows_its_accuracy() -> None:
    functionalities = [
        FunctionalityAccuracy(
            id=code, code=code, group="g", description="d", positive=True, cases=100, correct=correct,
            accuracy=correct / 100, low=0.0, high=1.0,
        )
        for code, correct in (("F1", 18), ("F2", 60), ("F3", 99))
    ]  # fmt: skip
    answers = SuiteAnswers(
        name="model", positive_labels=["a"], all=None, positive=None, negative=None, functionalities=functionalities,
        groups=[],
    )  # fmt: skip
    suite = SuiteReport(
        name="s", title="Suite", source="", positive="bad", negative="fine", cases=300, models=[answers],
        notes=["LEAKY: model has seen 3 of these cases"],
    )  # fmt: skip
    report = EvaluationReport(
        toxonnx="", bootstrap=BootstrapOptions(0), file=None, models=[], comparisons=[], suite=suite
    )  # fmt: skip
    html = page(report)
    assert re.findall(r"--fill:var\(--(\w+)\).*?<span[^>]*>(\d+%)", html) == [
        ("bad", "18%"),
        ("fair", "60%"),
        ("good", "99%"),
    ]
    assert '<p class="alert">LEAKY: model has seen 3 of these cases</p>' in html
