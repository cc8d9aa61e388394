"""One engine in a process of its own, which answers a race's commands. Needs numpy alone beside the engine.

The first line on standard input says what to load: a JSON object with ``factory`` (``module:function``), ``options``
for it, ``path``, folders to import from, and ``cores``, how many the whole process may use. The factory returns a
function from texts to probabilities, float32 [texts, labels]. Each further line is a command, and each gets a line of
JSON on standard output as its answer; what the engine prints itself goes to standard error.
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
    """Loads the engine, then answers until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    spec = json.loads(sys.stdin.readline())
    sys.path[0:1] = spec.get("path", [])  # this file's own folder is no place to import from
    # Before anything is imported, so that every library sees the same machine.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: spec["cores"]])
    options = {key: Path(value) if key in {"model", "cache"} else value for key, value in spec["options"].items()}
    module, _, name = spec["factory"].partition(":")
    factory = getattr(importlib.import_module(module), name)
    started = time.perf_counter()
    score = factory(**options)
    _log(answers, {"load_seconds": time.perf_counter() - started, **_memory()})
    texts: list[str] = []
    while line := sys.stdin.readline():
        command = json.loads(line)
        if command["do"] == "texts":
            texts = json.loads(Path(command["file"]).read_text(encoding="utf-8"))
            answer: dict[str, Any] = {}
        elif command["do"] == "score":
            cpu, started = _cpu_seconds(), time.perf_counter()
            scores = score(texts)
            answer = {"seconds": time.perf_counter() - started, "cpu_seconds": _cpu_seconds() - cpu}
            if command.get("keep"):
                np.save(command["keep"], scores)
        else:
            answer = {"seconds": []}
            for text in texts[command["start"] : command["stop"]]:
                started = time.perf_counter()
                score([text])
                answer["seconds"].append(time.perf_counter() - started)
        _log(answers, {**answer, **_memory()})


def _log(answers: Any, what: dict[str, Any]) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()


def _cpu_seconds() -> float:
    """Of this process and of those that it has started and that have ended."""
    return sum(os.times()[:4])


def _memory() -> dict[str, int]:
    """Memory now and at the most, in kB, of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {"memory_kb": int(fields["VmRSS"].split()[0]), "peak_memory_kb": int(fields["VmHWM"].split()[0])}


if __name__ == "__main__":
    main()
