"""Engines side by side on the same texts: rounds interleaved, raw samples kept."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from toxonnx.errors import MachineError

__all__ = ["Candidate", "run_benchmark"]

WORKER = Path(__file__).with_name("worker.py")
#: seconds between turns, for threads that spin after their work to fall asleep
PAUSE = 0.3
#: lone texts at the start of each turn that are not timed
WAKING = 5


@dataclass(frozen=True)
class Candidate:
    """An engine with its settings.

    Attributes:
        name: what tables call it.
        factory: ``module:function``; see :mod:`toxonnx.bench.worker`.
        options: keyword arguments of the factory, as JSON can hold them.
        cores: how many its process may use, all of its threads together.
        path: folders that it imports from.
        python: the interpreter that has its packages.
    """

    name: str
    factory: str
    options: dict[str, Any]
    cores: int
    path: tuple[str, ...] = ()
    python: str = field(default=sys.executable)

    @property
    def spec(self) -> dict[str, Any]:
        """What its process is told first."""
        return {"factory": self.factory, "options": self.options, "cores": self.cores, "path": self.path}


class _Worker:
    """A candidate's process, from the entry of a ``with`` to its end."""

    def __init__(self, candidate: Candidate, errors: Path) -> None:
        self.candidate, self._errors = candidate, errors

    def __enter__(self) -> _Worker:
        with open(self._errors, "w", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                [self.candidate.python, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
                text=True, encoding="utf-8",
            )  # fmt: skip
        try:
            self.loaded = self._log(self.candidate.spec)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if kind is not None:
            self._process.kill()
        self._process.wait()

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        return self._log({"do": do, **details})

    def _log(self, what: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the missing answer tells
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            last = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise MachineError(f"{self.candidate.name} stopped (exit code {code}): {last[0] if last else 'no word'}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def run_benchmark(
    candidates: Sequence[Candidate],
    texts: Sequence[str],
    *,
    rounds: int,
    singles: int,
    log: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, Any]]:
    """Runs all candidates on the same texts, a round at a time.

    Every candidate has a process of its own, loads once, and scores everything once before anything is timed. In each
    round all take their turn, and the one that begins changes; a turn starts with a few texts that are not timed.
    Where candidates see the same weights, their scores can be compared: they are kept.

    Args:
        candidates: at least one, names unique.
        texts: what is scored.
        rounds: timed passes over the texts.
        singles: texts that are scored one at a time, back to back, in each round; no more than there are.
        log: takes a line of progress.

    Returns:
        For each name: ``load_seconds``, ``seconds`` (a value a round), ``cpu_seconds``, ``latency_seconds`` (a value a
        single text), ``loaded_memory_kb``, ``peak_memory_kb`` and ``scores`` (float32 [texts, labels]).

    Raises:
        MachineError: a candidate did not start, or stopped.
    """
    results: dict[str, dict[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toxonnx-bench-")))
        file = folder / "texts.json"
        file.write_text(json.dumps(list(texts)), encoding="utf-8")
        workers: list[_Worker] = []
        for number, candidate in enumerate(candidates):
            log(f"loading {candidate.name}")
            worker = stack.enter_context(_Worker(candidate, folder / f"{number}.txt"))
            kept = folder / f"{number}.npy"
            worker.ask("texts", file=str(file))
            worker.ask("score", keep=str(kept))  # warms up
            worker.ask("latency", start=0, stop=WAKING)
            results[candidate.name] = {
                "load_seconds": worker.loaded["load_seconds"],
                "loaded_memory_kb": worker.loaded["memory_kb"],
                "scores": np.load(kept),
                "seconds": [], "cpu_seconds": [], "latency_seconds": [],
            }  # fmt: skip
            workers.append(worker)
        for number in range(rounds):
            for worker in _rotated(workers, number):
                result = results[worker.candidate.name]
                time.sleep(PAUSE)
                worker.ask("latency", start=0, stop=WAKING)  # untimed: others had the caches meanwhile
                answer = worker.ask("score")
                result["seconds"].append(answer["seconds"])
                result["cpu_seconds"].append(answer["cpu_seconds"])
                result["peak_memory_kb"] = answer["peak_memory_kb"]
                time.sleep(PAUSE)
                start = number * singles % max(len(texts) - singles + 1, 1)
                answer = worker.ask("latency", start=start, stop=start + singles)
                result["latency_seconds"] += answer["seconds"]
            rates = ", ".join(f"{name} {len(texts) / result['seconds'][-1]:,.0f}" for name, result in results.items())
            log(f"round {number + 1} of {rounds}, rows/s: {rates}")
    return results


def _rotated(workers: list[_Worker], by: int) -> Iterator[_Worker]:
    yield from workers[by % len(workers) :]
    yield from workers[: by % len(workers)]
