"""What a notebook shows, and the example for one."""

from __future__ import annotations

import dataclasses
import runpy
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers import ROOT

from toxonnx import Classifier, Scores
from toxonnx.labels import Labels

HOSTILE = ('<script>alert("x")</script>', "\"'><img src=x onerror=alert(1)>", "&lt;b&gt;\n<b>")


class _Tags(HTMLParser):
    """Collects the tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_nothing_from_a_bundle_gets_into_html_as_markup(classifier: Classifier, activation: str) -> None:
    labels = Labels(HOSTILE, activation)
    manifest = dataclasses.replace(
        classifier.bundle.manifest, name=HOSTILE[0], labels=labels, label_descriptions={}, mappings={}, cascade=None
    )
    for value in (
        Scores.of(labels, np.array([[3, -1, 0.5]], dtype=np.float32)),
        dataclasses.replace(classifier.bundle, manifest=manifest),
    ):
        shown = _Tags(value._repr_html_())
        assert shown.tags <= {"div", "table", "tr", "th", "td", "p"}
        assert shown.attributes <= {"class", "data-name"}
        assert all(name in shown.text for name in HOSTILE)
        assert len(repr(value)) < 200 and "\n" not in repr(value)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load()


def test_what_is_shown_is_true(classifier: Classifier) -> None:
    name, labels = classifier.bundle.manifest.name, classifier.labels
    assert name in repr(classifier) and name in repr(classifier.bundle) and labels.names[0] in repr(classifier.bundle)
    shown = _Tags(classifier._repr_html_()).text
    size = sum(path.stat().st_size for path in classifier.bundle.path.iterdir() if path.name != "toxonnx.json")
    for part in (name, *labels.names, f"{size / 1e6:.1f} MB", str(classifier.settings)):
        assert part in shown
    scores = classifier.score([f"See you at {hour} o'clock." for hour in range(12)])
    assert repr(scores).startswith("Scores(rows=12, ")
    html = scores._repr_html_()
    assert html.count("<tr") == 11 and "the first 10 of 12 rows" in html
    assert f">{scores.probabilities[9, -1]:.3f}</td>" in html


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "score_a_data_frame.py"))
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("Classifier(", "Scores(rows=8", "label", "8 of 8"))
