"""A short run of ``tests/fuzz.py``."""

from __future__ import annotations

from pathlib import Path

from fuzzing import FuzzedFile, check, files
from hypothesis import HealthCheck, given, settings


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=files())
def test_no_row_is_lost_whatever_a_file_contains(tmp_path: Path, file: FuzzedFile) -> None:
    check(file, tmp_path)
