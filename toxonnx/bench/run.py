"""Runs engines on the same texts in interleaved rounds, each in a process of its own, and keeps the raw samples."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import MachineError

__all__ = ["WORKER", "Candidate", "Measurements", "run_benchmark"]

WORKER = Path(__file__).with_name("worker.py")
#: seconds between turns, after which threads that spin when they run out of work are asleep
PAUSE = 0.3
#: single texts at the start of each turn that are not timed
WARM_UP_TEXTS = 5


@dataclass(frozen=True)
class Candidate:
    """An engine with its settings.

    Attributes:
        name: unique name, used in tables.
        factory: ``module:function``; see :mod:`toxonnx.bench.worker`.
        options: keyword arguments of the factory, JSON values only.
        cores: how many its process may use, for all of its threads.
        path: folders to import from.
        python: the interpreter that has its packages.
        comparable: whether its probabilities should equal those of the first candidate.
    """

    name: str
    factory: str
    options: dict[str, Any]
    cores: int
    path: tuple[str, ...] = ()
    python: str = field(default=sys.executable)
    comparable: bool = False

    @property
    def spec(self) -> dict[str, Any]:
        """The first line that its process reads; see :mod:`toxonnx.bench.worker`."""
        return {"factory": self.factory, "options": self.options, "cores": self.cores, "path": self.path}


@dataclass(kw_only=True)
class Measurements:
    """Raw samples of one candidate.

    Attributes:
        load_seconds: to import the engine and load the model.
        loaded_memory_kb: resident memory once it is loaded.
        probabilities: float32 [texts, labels].
        seconds: of each round.
        cpu_seconds: CPU time of each round.
        latency_seconds: of each text that was scored on its own.
        peak_memory_kb: peak resident memory.
    """

    load_seconds: float
    loaded_memory_kb: int
    probabilities: NDArray[np.float32]
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    latency_seconds: list[float] = field(default_factory=list)
    peak_memory_kb: int = 0


class _Worker:
    """A candidate's process; a context manager."""

    def __init__(self, candidate: Candidate, errors: Path) -> None:
        self.candidate, self._errors = candidate, errors

    def __enter__(self) -> _Worker:
        with open(self._errors, "w", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                [self.candidate.python, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
                text=True, encoding="utf-8",
            )  # fmt: skip
        try:
            self.loaded = self._request(self.candidate.spec)
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

    def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Sends a command and returns the answer."""
        return self._request({"command": command, **arguments})

    def _request(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either, which is handled below
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            lines = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            reason = lines[-1] if lines else "no error output"
            raise MachineError(f"{self.candidate.name} stopped (exit code {code}): {reason}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def run_benchmark(
    candidates: Sequence[Candidate],
    texts: Sequence[str],
    *,
    rounds: int,
    latency_samples: int,
    log: Callable[[str], None] = lambda _: None,
) -> dict[str, Measurements]:
    """Measures all candidates on the same texts, in interleaved rounds.

    Each candidate has its own process, loads once, and scores all texts once before anything is timed. In each round,
    every candidate has one turn, and the order rotates; a turn starts with a few texts that are not timed.

    Args:
        candidates: at least one.
        texts: what is scored.
        rounds: timed passes over the texts.
        latency_samples: texts that are scored one at a time, back to back, in each round; at most ``len(texts)``.
        log: receives lines of progress.

    Returns:
        Name of each candidate -> its measurements, in the order of the candidates.

    Raises:
        MachineError: a candidate did not start, or stopped.
    """
    results: dict[str, Measurements] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toxonnx-bench-")))
        file = folder / "texts.json"
        file.write_text(json.dumps(list(texts)), encoding="utf-8")
        workers: list[_Worker] = []
        for number, candidate in enumerate(candidates):
            log(f"loading {candidate.name}")
            worker = stack.enter_context(_Worker(candidate, folder / f"{number}.txt"))
            results[candidate.name] = _warm_up(worker, file, folder / f"{number}.npy")
            workers.append(worker)
        for number in range(rounds):
            start = number * latency_samples % max(len(texts) - latency_samples + 1, 1)
            first = number % len(workers)
            for worker in workers[first:] + workers[:first]:
                _measure(worker, results[worker.candidate.name], start, start + latency_samples)
            rates = ", ".join(f"{name} {len(texts) / result.seconds[-1]:,.0f}" for name, result in results.items())
            log(f"round {number + 1} of {rounds}, rows/s: {rates}")
    return results


def _warm_up(worker: _Worker, texts: Path, save: Path) -> Measurements:
    """Scores all texts once, untimed, and keeps the probabilities."""
    worker.request("load", file=str(texts))
    worker.request("score", save=str(save))
    worker.request("latency", start=0, stop=WARM_UP_TEXTS)
    return Measurements(
        load_seconds=worker.loaded["load_seconds"],
        loaded_memory_kb=worker.loaded["memory_kb"],
        probabilities=np.load(save),
    )


def _measure(worker: _Worker, result: Measurements, start: int, stop: int) -> None:
    """One turn: a pass over all texts, then texts ``start`` to ``stop`` one at a time."""
    time.sleep(PAUSE)
    worker.request("latency", start=0, stop=WARM_UP_TEXTS)  # the other candidates have filled the CPU caches
    answer = worker.request("score")
    result.seconds.append(answer["seconds"])
    result.cpu_seconds.append(answer["cpu_seconds"])
    result.peak_memory_kb = answer["peak_memory_kb"]
    time.sleep(PAUSE)
    result.latency_seconds += worker.request("latency", start=start, stop=stop)["seconds"]
