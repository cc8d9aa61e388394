"""Training and export with transformers 5, whose folder TOXONNX_TRANSFORMERS5 names, on top of this environment.

pip install --target FOLDER -c constraints-transformers5.txt transformers
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import recipe, sentences

from toxonnx import Classifier
from toxonnx.bundle import open_bundle
from toxonnx.recipe import Export
from toxonnx.train.run import load_run

TEXTS = [text for text, _ in sentences(200, 21)] + ["", "word " * 400, "Gr\u00fc\u00dfe \N{SNOWMAN}"]
#: all commands in one process: most of the time of a command is the import of torch
COMMANDS = """
import json, sys
from toxonnx.cli import group
for arguments in json.load(sys.stdin):
    group(arguments, standalone_mode=False)
"""


def toxonnx_with_transformers5(folder: str, commands: list[list[object]]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        input=json.dumps([list(map(str, arguments)) for arguments in commands]),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.skipif(not os.environ.get("TOXONNX_TRANSFORMERS5"), reason="TOXONNX_TRANSFORMERS5 names no folder")
def test_training_and_export_with_transformers_5(
    bases: dict[str, Path],
    labelled: Path,
    run: Path,
    bundles: dict[str, Path],
    checkpoints: dict[str, Path],
    tmp_path: Path,
) -> None:
    spec = recipe(tmp_path / "r.toml", epochs=2, warmup=0.5, extra="group_by_length = true")
    lax = recipe(tmp_path / "lax.toml", tail="\n[export]\nmin_agreement = 0.0\n")  # for random weights
    screen = toxonnx_with_transformers5(
        os.environ["TOXONNX_TRANSFORMERS5"],
        [
            ["train", labelled, "--recipe", spec, "--base", bases["distilbert"], "-o", tmp_path / "run"],
            ["export", tmp_path / "run", "-o", tmp_path / "own"],
            ["export", run, "-o", tmp_path / "fp32", "--precision", "fp32"],
            ["export", run, "-o", tmp_path / "int8", "--precision", "int8"],
            ["export", checkpoints["deberta"], "-o", tmp_path / "traced", "--recipe", lax],
        ],
    )
    assert "Warning" not in screen and "Loading weights" not in screen
    trained = load_run(tmp_path / "run")
    assert trained is not None and trained.versions["transformers"].startswith("5.")
    first_epoch = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first_epoch["learning_rate"] > 0.9 * 3e-3  # after half of all steps the warm-up ends
    for name in ("own", "fp32", "int8", "traced"):
        manifest = open_bundle(tmp_path / name).manifest
        assert manifest.graph.written_by == ("torch.onnx" if name == "traced" else "toxonnx.convert.plain")
        assert manifest.graph.simplified
        assert manifest.tools["transformers"].startswith("5.") and "optimum-onnx" not in manifest.tools
    # The same run, exported by Optimum with transformers 4.
    assert open_bundle(bundles["int8"]).manifest.graph.written_by == "optimum.exporters.onnx"
    one, other = (Classifier.load(path).logits(TEXTS) for path in (bundles["fp32"], tmp_path / "fp32"))
    assert np.abs(one - other).max() < 1e-5
    one, other = (Classifier.load(path).logits(TEXTS) for path in (bundles["int8"], tmp_path / "int8"))
    assert (one.argmax(axis=1) == other.argmax(axis=1)).mean() >= Export().min_agreement
