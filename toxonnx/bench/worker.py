"""The process of one engine in a benchmark. Apart from the engine it needs only numpy.

The first line on standard input is a JSON object: ``factory`` (``module:function``), ``options`` (its keyword
arguments), ``path`` (folders to import from) and ``cores`` (how many the process may use). The factory returns a
:class:`toxonnx.inference.scores.Scorer`. Each further line is a command and is answered by one line of JSON on standard
output; what the engine itself prints goes to standard error.

=========== ========================= ======================================================================
command     arguments                 answer
=========== ========================= ======================================================================
``load``    ``file``: JSON list       memory only
``score``   ``save``: .npy, optional  ``seconds`` and ``cpu_seconds`` of a pass over all texts, memory
``latency`` ``start``, ``stop``       ``seconds`` for each of these texts, scored one at a time; memory
=========== ========================= ======================================================================
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Loads the engine, then answers commands until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    spec = json.loads(sys.stdin.readline())
    sys.path[0:1] = spec.get("path", [])  # replaces this file's folder
    # Before anything is imported, so that every library sees this number of cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: spec["cores"]])
    options = {key: Path(value) if key in {"model", "cache"} else value for key, value in spec["options"].items()}
    module, _, name = spec["factory"].partition(":")
    factory = getattr(importlib.import_module(module), name)
    started = time.perf_counter()
    scorer = factory(**options)
    _answer(answers, {"load_seconds": time.perf_counter() - started})
    texts: list[str] = []
    while line := sys.stdin.readline():
        command = json.loads(line)
        if command["command"] == "load":
            texts = json.loads(Path(command["file"]).read_text(encoding="utf-8"))
            _answer(answers, {})
        elif command["command"] == "score":
            _answer(answers, _score(scorer, texts, command.get("save")))
        else:
            _answer(answers, {"seconds": _latencies(scorer, texts[command["start"] : command["stop"]])})


def _score(scorer: Any, texts: list[str], save: str | None) -> dict[str, float]:
    cpu, started = _cpu_seconds(), time.perf_counter()
    probabilities = scorer.score(texts).probabilities
    seconds, cpu_seconds = time.perf_counter() - started, _cpu_seconds() - cpu
    if save:
        np.save(save, probabilities.astype(np.float32))
    return {"seconds": seconds, "cpu_seconds": cpu_seconds}


def _latencies(scorer: Any, texts: list[str]) -> list[float]:
    seconds = []
    for text in texts:
        started = time.perf_counter()
        _ = scorer.score([text]).probabilities
        seconds.append(time.perf_counter() - started)
    return seconds


def _answer(answers: Any, values: dict[str, Any]) -> None:
    answers.write(json.dumps({**values, **_memory()}) + "\n")
    answers.flush()


def _cpu_seconds() -> float:
    """CPU time of this process and of its child processes that have ended."""
    return sum(os.times()[:4])


def _memory() -> dict[str, int]:
    """Current and peak resident memory of this process, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {"memory_kb": int(fields["VmRSS"].split()[0]), "peak_memory_kb": int(fields["VmHWM"].split()[0])}


if __name__ == "__main__":
    main()
