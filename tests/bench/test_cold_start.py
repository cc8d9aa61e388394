from __future__ import annotations

import sys

import numpy as np
import pytest

from toxonnx.bench.cold_start import measure_command
from toxonnx.errors import MachineError


def test_the_command_is_measured_without_its_parent() -> None:
    ballast = np.ones(40_000_000)  # 320 MB in this process, which must not be counted
    measured = measure_command([sys.executable, "-S", "-c", "import time; time.sleep(0.2)"], 2)
    assert ballast.sum() > 0
    assert len(measured.seconds) == 2 and min(measured.seconds) >= 0.2
    assert measured.peak_memory_mb < 60


def test_a_command_that_fails_is_an_error() -> None:
    with pytest.raises(MachineError, match="exit code 5"):
        measure_command([sys.executable, "-c", "raise SystemExit(5)"], 1)
