"""The self-test of a bundle: its own sentences, scored again."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers import SHIPPED

from toxonnx import Classifier
from toxonnx.bundle import open_bundle, seal
from toxonnx.errors import BundleError, GateError
from toxonnx.inference.self_test import SelfTest, run_self_test

LABELS = open_bundle(SHIPPED).manifest.labels


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the shipped bundle."""
    shutil.copytree(SHIPPED, tmp_path / "bundle")
    return tmp_path / "bundle"


def result_of(folder: Path, **labels: Any) -> SelfTest:
    """The result after a change of the labels' section."""
    manifest = open_bundle(SHIPPED).manifest
    seal(folder, dataclasses.replace(manifest, labels=dataclasses.replace(manifest.labels, **labels)))
    result = run_self_test(Classifier.load(folder))
    assert result is not None
    return result


def test_a_changed_temperature_is_noticed(bundle: Path) -> None:
    same = result_of(bundle)
    assert same.passed and same.largest_probability_difference < 1e-4 and same.same_decision == same.sentences
    assert "from the exported model 0.0000 (tolerance 0.0050), same decision for 20 of 20" in str(same)
    for temperature in (1.1, 1.8):
        changed = result_of(bundle, temperature=temperature)
        with pytest.raises(GateError, match="differ from those of the exported model by"):
            changed.check()


def test_decisions_are_those_of_the_thresholds(bundle: Path) -> None:
    """PyTorch's probabilities are not quite those of the bundle: a threshold can be between the two."""
    table = json.loads((bundle / "expected.json").read_text(encoding="utf-8"))
    del table["exported"]  # as in bundles of earlier versions
    (bundle / "expected.json").write_text(json.dumps(table), encoding="utf-8")
    assert result_of(bundle).compared_with == "PyTorch"
    (row, *_) = table["pytorch"]
    own = Classifier.load(SHIPPED).score(row["text"]).probabilities[0]
    between = (row["probabilities"][0] + own[0]) / 2
    before = result_of(bundle, thresholds=(1.0,) * len(LABELS))
    changed = result_of(bundle, thresholds=(between, *(1.0,) * (len(LABELS) - 1)))
    assert before.same_decision == before.sentences > changed.same_decision


@pytest.mark.parametrize("key", ["pytorch", "exported"])
def test_a_file_without_sentences_is_an_error(bundle: Path, key: str) -> None:
    path = bundle / "expected.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({"labels": table["labels"], "pytorch": table["pytorch"], key: []}), encoding="utf-8")
    with pytest.raises(BundleError, match=r"expected\.json has no sentences"):
        result_of(bundle)
