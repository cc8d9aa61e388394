"""Engines for tests of the benchmark, which take a known time."""

from __future__ import annotations

import textwrap
from pathlib import Path


def write_engines(folder: Path) -> Path:
    """Writes a module ``engines`` with factories for :class:`toxonnx.bench.run.Candidate` into the folder."""
    (folder / "engines.py").write_text(
        textwrap.dedent("""
            import time
            import numpy as np

            class Scores:
                def __init__(self, probabilities):
                    self.probabilities = probabilities

            class Sleeper:
                def __init__(self, seconds, sign=1.0):
                    print("an engine may print to stdout")
                    self.seconds, self.sign = seconds, sign

                def score(self, texts):
                    time.sleep(self.seconds)
                    return Scores(np.array([[self.sign * len(text), 0.0] for text in texts]))

            def fails_to_load():
                raise RuntimeError("the model file is missing")

            class FailsToScore:
                def score(self, texts):
                    raise SystemExit("out of memory")
            """),
        encoding="utf-8",
    )
    return folder
