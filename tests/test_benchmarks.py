"""The committed benchmark tables."""

from __future__ import annotations

import subprocess
import sys

from helpers import ROOT


def test_the_tables_match_the_committed_results() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "tables.py"), "--check"], check=False)
    assert done.returncode == 0, "run python benchmarks/tables.py"
