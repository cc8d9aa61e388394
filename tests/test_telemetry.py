"""Nothing is sent: ONNX Runtime's usage reporting leaves files behind, and there are none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import COMMENTS, ROOT, SHIPPED

#: variables that turn ONNX Runtime's reporting off by themselves, or that name where its files would be
SUPPRESSING = {"ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "CI", "DO_NOT_TRACK", "HOME", "XDG_CACHE_HOME"}
CI_PREFIXES = ("GITHUB_", "GITLAB_", "TF_BUILD", "TRAVIS", "CIRCLE", "JENKINS", "BUILD_", "TEAMCITY", "CODEBUILD_")

LABELLED = ROOT / "examples" / "labelled.csv"
COMMANDS = {
    "predict": ["-m", "toxonnx", "predict", str(COMMENTS)],
    "eval": [
        "-m", "toxonnx", "eval", str(SHIPPED), str(LABELLED), "--bootstrap-samples", "0",
    ],
    "bench": [
        "-m", "toxonnx", "bench", "--rows", "8", "--rounds", "1", "--latency-samples", "1", "--compare", "copy",
    ],
    "doctor": ["-m", "toxonnx", "doctor"],
    "python": ["-c", "from toxonnx import Classifier; Classifier.load().predict(['a fine day'])"],
}  # fmt: skip


def run(arguments: list[str], home: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Runs Python as on a user's machine: a fresh home, no variable of a CI service."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in SUPPRESSING and not name.startswith(CI_PREFIXES)
    }
    environment = {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), **extra}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=home
    )


def reporting_files(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if "Microsoft" in path.parts or "onnxruntime" in path.name]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_usage_is_recorded(tmp_path: Path, name: str) -> None:
    shutil.copytree(SHIPPED, tmp_path / "copy")
    done = run(COMMANDS[name], tmp_path)
    assert done.returncode == 0, done.stderr
    assert reporting_files(tmp_path) == []


def test_onnxruntime_by_itself_records_usage(tmp_path: Path) -> None:
    """The test above can fail: this is what it would find."""
    import onnxruntime

    major, minor = map(int, onnxruntime.__version__.split(".")[:2])
    if (major, minor) < (1, 29):
        pytest.skip(f"onnxruntime {onnxruntime.__version__} does not report usage on Linux")
    assert run(["-c", "import onnxruntime"], tmp_path).returncode == 0
    assert reporting_files(tmp_path)


def test_doctor_reports_it_and_a_value_of_the_user_is_kept(tmp_path: Path) -> None:
    assert "telemetry off" in " ".join(run(COMMANDS["doctor"], tmp_path).stdout.split())
    kept = run(COMMANDS["doctor"], tmp_path, ORT_DISABLE_TELEMETRY="0").stdout
    assert "ORT_DISABLE_TELEMETRY is '0'" in kept
