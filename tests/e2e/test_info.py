"""``toxonnx info``."""

from __future__ import annotations

import json

from helpers import ROOT, SHIPPED, SHIPPED_LABELS, toxonnx

from toxonnx.bundle import open_bundle
from toxonnx.inference.classifier import Classifier
from toxonnx.resources import find_bundle


def test_info_as_text_and_as_json() -> None:
    shown = toxonnx("info")
    assert shown.returncode == 0, shown.stderr
    for word in (
        SHIPPED.name,
        ", ".join(SHIPPED_LABELS),
        "all hashes match",
        "PyTorch",
        "F1 toxicity",
        "English",
        "hatred or contempt",
        "README.md",
        "any number per text",
        "TOXICITY is toxicity",
        "limits of the export",
        "mean score",
    ):
        assert word in shown.stdout
    table = json.loads(toxonnx("info", "--json").stdout)
    assert table["labels"]["names"] == list(SHIPPED_LABELS)
    assert table["text"]["normalise"] == ["html", "urls", "mentions", "spaces"]


def test_the_included_model_gives_no_label_to_texts_without_words_and_to_harmless_statements() -> None:
    texts = ["", "👍", "😂😂", ".", "!", "?", "...", "@anna", "@anna 👍", ":)", "你好", "Muslim women run this shop."]
    assert Classifier.load(threads=1).score(texts).label_names == [()] * len(texts)


def test_the_readme_quotes_how_often_scores_are_right() -> None:
    decisions = open_bundle(find_bundle(None)).manifest.decisions
    assert decisions is not None and decisions.test is not None  # so the curves are of the test rows
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for low, high, quoted in (
        (30, 50, "from 0.3 to 0.5 is right in {} of"),
        (60, 80, "from 0.6 to 0.8 in {}"),
        (95, 100, "from 0.95 on in {}"),
    ):
        right, wrong = 0, 0
        for curve in decisions.curves.values():  # of each hundredth, the rows that reach it
            right += curve.true_positives[low] - curve.true_positives[high]
            wrong += curve.false_positives[low] - curve.false_positives[high]
        assert quoted.format(f"{right / (right + wrong):.1%}") in readme, right / (right + wrong)
