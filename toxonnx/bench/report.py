"""What a race measured, as plain values: medians with their spread, ratios, percentiles, cost."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import MachineError
from toxonnx.inference.scores import decide
from toxonnx.labels import Labels

__all__ = ["PERCENTILES", "cold_start", "padding", "summary", "text_figures"]

PERCENTILES = (50, 90, 95, 99)


def text_figures(texts: Sequence[str], lengths: NDArray[np.int64], truncated: NDArray[np.bool_]) -> dict[str, Any]:
    """What the texts are like, as far as speed depends on it."""
    return {
        "rows": len(texts),
        "distinct": len(set(texts)),
        "tokens": int(lengths.sum()),
        "tokens_mean": round(float(lengths.mean()), 1),
        "tokens_p95": int(np.percentile(lengths, 95)),
        "tokens_longest": int(lengths.max()),
        "truncated": int(truncated.sum()),
    }


def padding(lengths: NDArray[np.int64], batch: int, *, ordered: bool) -> float:
    """Share of padding in batches of so many rows, taken in the file's order or ordered by length."""
    rows = np.sort(lengths)[::-1] if ordered else lengths
    sent = sum(int(rows[i : i + batch].max()) * len(rows[i : i + batch]) for i in range(0, len(rows), batch))
    return 1 - int(rows.sum()) / sent


def summary(
    results: Mapping[str, Mapping[str, Any]],
    rows: int,
    labels: Labels,
    *,
    comparable: frozenset[str],
    price_per_hour: float | None,
) -> list[dict[str, Any]]:
    """One entry a candidate, in their order; the first is what the others are compared with.

    Args:
        results: of :func:`toxonnx.bench.run.race`.
        rows: texts that were scored in a round.
        labels: of the first one.
        comparable: names of those whose scores mean the same as the first one's.
        price_per_hour: of the machine, in any currency.

    Returns:
        For each, rows a second with its smallest and largest round; ``ratio``, how many times as fast the first one
        was, round by round; latency in milliseconds; seconds to load; memory in MB; cost of a million rows; how far
        its labels and probabilities are from the first one's; and the raw samples.
    """
    first = next(iter(results.values()))
    entries = []
    for name, result in results.items():
        rates = [rows / seconds for seconds in result["seconds"]]
        ratios = [theirs / ours for ours, theirs in zip(first["seconds"], result["seconds"], strict=True)]
        latency = np.percentile(np.array(result["latency_seconds"]) * 1e3, PERCENTILES).round(3).tolist()
        agreement = None
        if name in comparable and result is not first:
            ours, theirs = first["scores"].astype(np.float64), result["scores"].astype(np.float64)
            same = (decide(ours, labels) == decide(theirs, labels)).all(axis=1)
            agreement = {
                "same_label": float(same.mean()),
                "largest_probability_difference": float(np.abs(ours - theirs).max()),
            }
        entries.append(
            {
                "name": name,
                "rows_per_second": _spread(rates),
                "ratio": _spread(ratios),
                "latency_ms": {f"p{p}": value for p, value in zip(PERCENTILES, latency, strict=True)},
                "load_seconds": round(result["load_seconds"], 3),
                "loaded_memory_mb": round(result["loaded_memory_kb"] / 1024, 1),
                "peak_memory_mb": round(result["peak_memory_kb"] / 1024, 1),
                "busy_cores": round(sum(result["cpu_seconds"]) / sum(result["seconds"]), 2),
                "cost_per_million_rows": None
                if price_per_hour is None
                else price_per_hour / 3600 * 1e6 / statistics.median(rates),
                "agreement": agreement,
                "samples": {key: list(result[key]) for key in ("seconds", "cpu_seconds", "latency_seconds")},
            }
        )
    return entries


#: A process inherits the peak memory of the one that starts it, so a small one stands between.
LAUNCHER = """
import json, os, subprocess, sys, time
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
started = time.perf_counter()
process = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
seconds = time.perf_counter() - started
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, used.ru_maxrss]))
"""


def cold_start(command: Sequence[str], repeats: int, given: str = "", cores: int = 1) -> dict[str, Any]:
    """A whole command, from nothing to its end.

    Args:
        command: program and arguments.
        repeats: how many times.
        given: what it reads on standard input.
        cores: how many it may use.

    Returns:
        ``seconds``, a value a run, and ``peak_memory_mb`` of the largest.

    Raises:
        MachineError: the command failed.
    """
    seconds, memory = [], 0
    for _ in range(repeats):
        launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(cores), *command]
        done = subprocess.run(launch, input=given, capture_output=True, text=True, check=True)
        code, took, peak = json.loads(done.stdout)
        if code:
            last = done.stderr.strip().splitlines()[-1:]
            raise MachineError(f"{' '.join(command[:4])} ended with exit code {code}: {last[0] if last else 'no word'}")
        seconds.append(took)
        memory = max(memory, peak)
    return {"seconds": seconds, "peak_memory_mb": round(memory / 1024, 1)}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
