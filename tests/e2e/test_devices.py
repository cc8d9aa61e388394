"""The command line on machines with and without a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import COMMENTS, SHIPPED_LABELS, toxonnx

from toxonnx.cli import group
from toxonnx.errors import GateError
from toxonnx.inference.batching import Feed
from toxonnx.inference.devices import why_unavailable
from toxonnx.inference.session import Session


def test_the_command_line_reports_the_device_it_uses(bundles: dict[str, Path], tmp_path: Path) -> None:
    lacking = why_unavailable("cuda")
    if lacking is None:  # on a machine with a GPU
        assert toxonnx("doctor", "--device", "cuda", bundles["fp16"]).returncode == 0
        return
    out = tmp_path / "out.csv"
    done = toxonnx("predict", COMMENTS, "-o", out, "--bundle", bundles["fp16"], "--device", "cuda")
    assert done.returncode == 3 and lacking.what in done.stderr and not out.exists()
    done = toxonnx("predict", COMMENTS, "-o", out, "--bundle", bundles["fp16"], "--device", "cuda", "--allow-fallback")
    assert done.returncode == 0 and f"warning: fp16 runs on the CPU: {lacking.what}" in done.stderr
    assert out.exists()
    done = toxonnx("bench", "--device", "cuda", "--bundle", bundles["fp16"], "--rows", "20")
    assert done.returncode == 3 and lacking.what in done.stderr
    done = toxonnx("doctor", "--device", "cuda", bundles["fp16"], "--json")
    assert done.returncode == 3 and lacking.what in done.stderr
    report = json.loads(done.stdout)
    assert report["settings"] is None and report["devices"]["problem"]
    report = json.loads(toxonnx("doctor", bundles["fp16"], "--json").stdout)
    assert report["self_test"]["sentences"] == 20 and report["self_test"]["largest_probability_difference"] < 5e-3


def test_nan_logits_are_an_error_and_never_a_label(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def says(value: float) -> None:
        def run(_: Session, feed: Feed) -> np.ndarray:
            return np.full((len(feed["input_ids"]), len(SHIPPED_LABELS)), value, dtype=np.float32)

        monkeypatch.setattr(Session, "run", run)

    for value in (0.0, np.nan):  # the same for every text; and no number
        says(value)
        done = CliRunner().invoke(group, ["doctor", "--json"])
        assert isinstance(done.exception, GateError)
        report = json.loads(done.stdout)
        assert report["error"] and (report["self_test"] is None if value else not report["self_test"]["passed"])
    done = CliRunner().invoke(group, ["predict", str(COMMENTS), "-o", str(tmp_path / "out.csv")])
    assert isinstance(done.exception, GateError) and "produced NaN or infinite logits" in str(done.exception)
    assert not list(tmp_path.iterdir())
