from __future__ import annotations

import dataclasses
from pathlib import Path

from bench_helpers import write_engines

from toxonnx.bench.report import summarize
from toxonnx.bench.run import Candidate, run_benchmark
from toxonnx.labels import Labels


def test_candidates_are_compared_with_the_first(tmp_path: Path) -> None:
    path = (str(write_engines(tmp_path)),)

    def candidate(name: str, seconds: float, sign: float = 1.0) -> Candidate:
        return Candidate(name, "engines:Sleeper", {"seconds": seconds, "sign": sign}, 1, path, comparable=True)

    candidates = [candidate("ours", 0.06), candidate("fast", 0.02), candidate("slow", 0.12, -1)]
    results = run_benchmark(candidates, ["a", "bb", "ccc"], rounds=3, latency_samples=2)
    assert results["ours"].probabilities.tolist() == [[1, 0], [2, 0], [3, 0]]
    ours, fast, slow = summarize(candidates, results, Labels(("a", "b")))
    assert dataclasses.astuple(ours.speedup) == (1, 1, 1) and ours.agreement is None
    assert fast.speedup.max < 1 < slow.speedup.min
    assert fast.agreement is not None and fast.agreement.same_label == 1
    assert slow.agreement is not None and slow.agreement.same_label == 0
    assert len(ours.samples["latency_seconds"]) == 6 and ours.latency_ms["p50"] >= 60
