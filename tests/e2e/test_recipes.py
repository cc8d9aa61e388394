"""The shipped recipes on real rows, up to a sealed bundle, with small random models of their architectures."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from helpers import ROOT, real_data, toxonnx

from toxonnx.bundle import open_bundle


@pytest.mark.parametrize(
    ("name", "data", "base", "classes"),
    [
        ("distilbert-lora", "query-image-toxic.csv", "distilbert", 9),
        ("distilroberta-full", "davidson-2017.csv", "roberta", 3),
        ("minilm-hate", "davidson-2017.csv", "bert", 3),
    ],
)
def test_a_recipe_runs_to_a_sealed_bundle(
    bases: dict[str, Path], tmp_path: Path, name: str, data: str, base: str, classes: int
) -> None:
    source = real_data(data)
    with open(source, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    # The smallest of the nine classes is so repetitive that a part of the file could have only one of its texts.
    kept = rows if classes == 9 else rows[:601]
    with open(tmp_path / data, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(kept)
    text = (ROOT / "export" / "recipes" / f"{name}.toml").read_text()
    recipe = tmp_path / f"{name}.toml"
    # Two epochs, and no limits: the models learn nothing, so their near-ties change with any rounding.
    for key in ("epochs", "min_agreement", "max_f1_loss"):
        text = re.sub(rf"^{key} = .*\n", "", text, flags=re.MULTILINE)
    text = text.replace("[training]\n", "[training]\nepochs = 2\n")
    recipe.write_text(text.replace("[export]\n", "[export]\nmin_agreement = 0.5\nmax_f1_loss = 1.0\n"))
    done = toxonnx("train", tmp_path / data, "--recipe", recipe, "--base", bases[base], "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    done = toxonnx("export", tmp_path / "run", "-o", tmp_path / "bundle", "--allow-worse-than-baseline")
    assert done.returncode == 0, done.stderr
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert manifest.precision == "int8" and len(manifest.labels) == classes
    assert manifest.verification.agreement.fp32_largest_logit_difference <= 1e-4
    done = toxonnx(
        "predict", tmp_path / data, "--bundle", tmp_path / "bundle", "-o", tmp_path / "out.csv", "--prefix", "model_"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        scored = list(csv.reader(file))
    assert [row[: len(kept[0])] for row in scored] == kept
