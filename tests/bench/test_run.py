from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench_helpers import write_engines

from toxonnx.bench.run import Candidate, run_benchmark
from toxonnx.errors import MachineError


def test_every_candidate_scores_all_texts_in_every_round(tmp_path: Path) -> None:
    path = (str(write_engines(tmp_path)),)
    candidates = [
        Candidate(name, "engines:Sleeper", {"seconds": seconds}, 1, path)
        for name, seconds in (("a", 0.06), ("b", 0.02))
    ]
    results = run_benchmark(candidates, ["a", "bb", "ccc"], rounds=3, latency_samples=2)
    assert list(results) == ["a", "b"]
    for result, seconds in zip(results.values(), (0.06, 0.02), strict=True):
        assert result.probabilities.dtype == np.float32
        assert result.probabilities.tolist() == [[1, 0], [2, 0], [3, 0]]
        assert len(result.seconds) == len(result.cpu_seconds) == 3 and min(result.seconds) >= seconds
        assert len(result.latency_seconds) == 6 and min(result.latency_seconds) >= seconds
        assert result.peak_memory_kb >= result.loaded_memory_kb > 0


@pytest.mark.parametrize(
    ("factory", "message"), [("fails_to_load", "the model file is missing"), ("FailsToScore", "out of memory")]
)
def test_an_engine_that_fails_is_named_with_its_error(tmp_path: Path, factory: str, message: str) -> None:
    candidate = Candidate("the bad engine", f"engines:{factory}", {}, 1, (str(write_engines(tmp_path)),))
    with pytest.raises(MachineError, match=f"the bad engine stopped .*{message}"):
        run_benchmark([candidate], ["a"], rounds=1, latency_samples=1)
