"""Labelled rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from toxonnx.data.examples import Examples, load_saved_rows, save_examples
from toxonnx.labels import Labels
from toxonnx.texts import TextSpec


@pytest.mark.parametrize("multi", [False, True])
def test_saved_rows_round_trip(tmp_path: Path, multi: bool) -> None:
    y_true = np.array([[0, 1], [1, 1], [0, 0]]) if multi else np.array([1, 0, 1])
    labels = Labels(("a b", "c,d"), "sigmoid" if multi else "softmax")
    save_examples(tmp_path / "v.csv", Examples(["x", "y\nz", '"q"'], y_true, [2, 3, 5], labels, TextSpec()))
    texts, back = load_saved_rows(tmp_path / "v.csv", labels)
    assert texts == ["x", "y\nz", '"q"']
    assert (back == y_true).all()


def test_data_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,class\na fine day,x\nrain,y\n", encoding="utf-8")
    script = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'peft', 'optimum', 'onnxruntime'): sys.modules[name] = None\n"
        "from toxonnx.data import examples, fingerprints, label_columns, splits\n"
        "from toxonnx.recipe import LabelSpec, Recipe\n"
        "rows = examples.load_examples(sys.argv[1], Recipe('r', LabelSpec(column='class')))\n"
        "assert len(rows) == 2\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "rows.csv")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
