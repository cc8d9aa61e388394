"""A useless model is not sealed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from toxonnx.convert.baselines import check_baselines
from toxonnx.convert.export import ExportRequest, export
from toxonnx.convert.verify import VerificationRows
from toxonnx.errors import GateError
from toxonnx.labels import Labels
from toxonnx.recipe_files import load_recipe
from toxonnx.train.adapters import Trained, load_trained


def _logits(y_true: np.ndarray, wrong: int) -> np.ndarray:
    """Logits of a model that is wrong on this many rows."""
    predicted = y_true.copy()
    predicted[:wrong] = 1 - predicted[:wrong]
    return np.eye(2, dtype=np.float32)[predicted] * 4


def _check(trained: Trained, wrong: int, tfidf: float, *, part: str = "validation", allow: bool = False) -> list[str]:
    y_true = np.arange(200) % 4 // 3  # a quarter of the rows
    known = {"tfidf": {"accuracy": tfidf, "macro_f1": tfidf}, "majority": {"accuracy": 0.75, "macro_f1": 0.4286}}
    trained = dataclasses.replace(trained, run=dataclasses.replace(trained.run, baselines={"validation": known}))
    rows = VerificationRows([f"text {i}" for i in range(200)], y_true, "some rows", part)
    return check_baselines(trained, [_logits(y_true, wrong)], rows, labels=trained.labels, allow_worse=allow)


def test_a_model_must_be_better_than_the_baselines(run: Path) -> None:
    trained = load_trained(run)
    assert _check(trained, wrong=10, tfidf=0.9) == []
    (close,) = _check(trained, wrong=10, tfidf=0.95)
    assert "is below the TF-IDF baseline (0.9500), though not by more than chance" in close
    message = r"not sealed: macro F1 0\.\d+ on some rows is below the TF-IDF baseline \(0\.9900\)"
    with pytest.raises(GateError, match=message):
        _check(trained, wrong=10, tfidf=0.99)
    assert _check(trained, wrong=10, tfidf=0.99, part="data") == []  # TF-IDF is not known for other rows
    for part in ("validation", "data"):
        with pytest.raises(GateError, match=r"no better than always predicting the most frequent class \(0\.4286\)"):
            _check(trained, wrong=150, tfidf=0.3, part=part)
    (refused,) = _check(trained, wrong=150, tfidf=0.3, allow=True)
    assert "no better" in refused


def test_on_test_rows_the_thresholds_of_the_bundle_count(run: Path) -> None:
    trained = load_trained(run)
    labels = Labels(trained.labels.names, "sigmoid")
    y_true = np.stack([np.arange(200) % 4 == 3, np.arange(200) % 3 == 0], axis=1).astype(np.int64)
    logits = np.where(y_true == 1, -1, -3).astype(np.float32)  # sorted correctly, but all below 0.5
    known = {"tfidf": {"accuracy": 0.9, "macro_f1": 0.9}, "majority": {"accuracy": 0.1, "macro_f1": 0.1}}
    metadata = dataclasses.replace(trained.run, baselines={"validation": known, "test": known})
    trained = dataclasses.replace(trained, labels=labels, run=metadata)
    fitted = dataclasses.replace(labels, thresholds=(0.1, 0.1))
    texts = [f"text {i}" for i in range(200)]
    rows = VerificationRows(texts, y_true, "some rows", "test")
    assert check_baselines(trained, [logits], rows, labels=fitted, allow_worse=False) == []
    with pytest.raises(GateError, match="no better"):  # the thresholds may have been fitted on these
        rows = VerificationRows(texts, y_true, "some rows", "validation")
        check_baselines(trained, [logits], rows, labels=fitted, allow_worse=False)


def test_a_model_that_always_says_one_class_is_not_sealed(run: Path, tmp_path: Path) -> None:
    useless = tmp_path / "run"
    shutil.copytree(run, useless)
    weights = useless / "checkpoint" / "adapter_model.safetensors"
    tensors = load_file(weights)
    for name, tensor in tensors.items():
        if ".classifier." in name:
            tensors[name] = torch.zeros_like(tensor) if name.endswith("weight") else torch.tensor([3.0, -3.0])
    save_file(tensors, weights)
    request = ExportRequest(
        source=useless, output=tmp_path / "bundle", settings={"precision": "fp32"}, recipe=load_recipe("minilm-hate")
    )
    with pytest.raises(GateError, match=r"most frequent class .*\n.*--allow-worse-than-baseline"):
        export(request, log=lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    lines: list[str] = []
    bundle = export(dataclasses.replace(request, allow_worse_than_baseline=True), log=lines.append)
    (reason,) = bundle.manifest.verification.worse_than_baseline
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert f"warning: {reason}" in lines and f"**The {reason}.**" in card
    # The recipe's prose is about another model.
    assert any("was written for other data and settings" in line for line in lines)
    assert "English tweets" not in card and "had the best macro F1" not in card
