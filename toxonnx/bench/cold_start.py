"""Cold start: the time and memory that a new process needs to score one text."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toxonnx.bench.run import WORKER, Candidate
from toxonnx.errors import MachineError

__all__ = ["ColdStart", "measure_cold_starts", "measure_command"]

MAX_REPEATS = 3
TEXT = "What a lovely morning"

#: A process inherits the peak memory of its parent, so a small process starts the command.
LAUNCHER = """
import json, os, subprocess, sys, time
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
started = time.perf_counter()
process = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
seconds = time.perf_counter() - started
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, used.ru_maxrss]))
"""


@dataclass(frozen=True)
class ColdStart:
    """Runs of a command.

    Attributes:
        seconds: of each run, from the start of the process to its end.
        peak_memory_mb: the largest of all runs.
    """

    seconds: tuple[float, ...]
    peak_memory_mb: float


def measure_command(command: Sequence[str], repeats: int, stdin: str = "", cores: int = 1) -> ColdStart:
    """Time and memory of a command.

    Args:
        command: program and arguments.
        repeats: number of runs.
        stdin: its standard input.
        cores: how many it may use.

    Raises:
        MachineError: the command failed.
    """
    seconds, memory = [], 0
    for _ in range(repeats):
        launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(cores), *command]
        done = subprocess.run(launch, input=stdin, capture_output=True, text=True, check=True)
        code, elapsed, peak = json.loads(done.stdout)
        if code:
            lines = done.stderr.strip().splitlines()
            reason = lines[-1] if lines else "no error output"
            raise MachineError(f"{' '.join(command[:4])} failed with exit code {code}: {reason}")
        seconds.append(elapsed)
        memory = max(memory, peak)
    return ColdStart(tuple(seconds), round(memory / 1024, 1))


def measure_cold_starts(
    candidates: Sequence[Candidate], columns: Sequence[str], rounds: int, scratch: Path, log: Callable[[str], None]
) -> dict[str, ColdStart]:
    """Cold start of each candidate: of a bundle by ``toxonnx predict``, of any other engine by a worker process.

    Args:
        candidates: as for :func:`toxonnx.bench.run.run_benchmark`.
        columns: names of the text columns that bundles read.
        rounds: how often each is started, at most three times.
        scratch: folder for input files.
        log: receives lines of progress.

    Returns:
        Name of each candidate -> its cold start.

    Raises:
        MachineError: a process failed.
    """
    row, texts = scratch / "row.csv", scratch / "row.json"
    with open(row, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, [TEXT for _ in columns]])
    texts.write_text(json.dumps([TEXT]), encoding="utf-8")
    cold_starts = {}
    for candidate in candidates:
        log(f"cold start of {candidate.name}")
        if candidate.factory.endswith(":bundle"):
            command, stdin = _predict_command(candidate, row, columns), ""
        else:
            messages = (candidate.spec, {"command": "load", "file": str(texts)}, {"command": "score"})
            command = [candidate.python, str(WORKER)]
            stdin = "".join(json.dumps(message) + "\n" for message in messages)
        cold_starts[candidate.name] = measure_command(command, min(rounds, MAX_REPEATS), stdin, candidate.cores)
    return cold_starts


def _predict_command(candidate: Candidate, file: Path, columns: Sequence[str]) -> list[str]:
    device = candidate.options["device"]
    threads = ["--threads", str(candidate.cores)] if device == "cpu" else []
    full = [] if candidate.options.get("cascade") else ["--no-cascade"]
    return [
        sys.executable, "-m", "toxonnx", "predict", str(file), "--bundle", candidate.options["model"],
        "--device", device, *threads, *full, *(f"--text-column={column}" for column in columns),
    ]  # fmt: skip
