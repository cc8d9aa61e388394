"""``toxonnx doctor``, run as a command."""

from __future__ import annotations

import json
from pathlib import Path

from helpers import COMMENTS, SHIPPED, toxonnx

from toxonnx.system import available_cores


def test_doctor_and_predict_show_how_a_bundle_runs(bundles: dict[str, Path]) -> None:
    done = toxonnx("doctor", "--json", bundles["int8"])
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["settings"]["threads"] == report["system"]["cores"] == available_cores()
    assert report["settings"]["precision"] == "int8" and report["missing_modules"]["cpu"] == []
    table = toxonnx("doctor").stdout
    problem = report["devices"]["problem"]  # empty on a machine with a GPU
    assert not problem or " ".join(table.split()).count(problem) == 1
    assert f"{SHIPPED.name}: int8, layout plain, on CPUExecutionProvider" in table
    verbose = toxonnx("predict", "-v", "--threads", 1, COMMENTS)
    assert "layout plain, on CPUExecutionProvider; 1 batch at a time" in verbose.stderr
