"""Kills ``toxonnx predict --resume`` at random moments until it completes, again and again, and compares the bytes.

``python kill_predict.py FOLDER KILLS FILE OUTPUT [OPTION...]`` runs it in processes that are forked from this one, so
that they start at once. The file ``expected`` in the folder is what an undisturbed run writes. Prints how many
processes were killed, how many of them had reached a checkpoint, and how many outputs were completed.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import sys
import time
from pathlib import Path

import stub_classifier

from toxonnx.cli import group, process


def _run(arguments: list[str]) -> int:
    """Starts a process, and returns its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with contextlib.redirect_stderr(io.StringIO()) as messages:
                code = process.run(lambda: group(["predict", *arguments], standalone_mode=False), debug=True)
            if code:
                print(messages.getvalue(), file=sys.stderr)
        finally:
            os._exit(code)
    return child


def main(folder: Path, kills: int, file: str, output: str, options: list[str]) -> None:
    """See above."""
    stub_classifier.install()
    rng = random.Random(f"{file} {output}")
    rejects = folder / "rejects.csv"
    # Imports everything, so that the processes below need not.
    group(["predict", str(folder / file), "-o", str(folder / output), *options], standalone_mode=False)
    (folder / output).rename(folder / "expected")
    if rejects.exists():
        rejects.rename(folder / "expected-rejects")
    started = time.monotonic()
    arguments = [str(folder / file), "-o", str(folder / output), *options, "--resume"]
    os.waitpid(_run(arguments), 0)
    seconds = time.monotonic() - started
    killed = with_checkpoint = completed = 0
    while True:
        same = (folder / output).read_bytes() == (folder / "expected").read_bytes()
        assert same, f"{output}: other bytes after {killed} kills"
        if rejects.exists():
            assert rejects.read_bytes() == (folder / "expected-rejects").read_bytes(), f"rejects after {killed} kills"
            rejects.unlink()
        (folder / output).unlink()
        with contextlib.suppress(FileNotFoundError):
            (folder / f"{output}.part").rmdir()
        left = {path.name for path in folder.iterdir()} - {file, "expected", "expected-rejects"}
        assert not left, left
        completed += 1
        if killed >= kills:
            break
        while True:
            child = _run(arguments)
            time.sleep(rng.uniform(0, seconds / 2))
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            if not os.WIFSIGNALED(status):
                assert status == 0, f"exit code {os.waitstatus_to_exitcode(status)} after {killed} kills"
                break
            killed += 1
            journal = folder / f"{output}.part" / "journal.jsonl"
            if (folder / output).exists() and not journal.exists():
                break  # it was killed while it ended
            with_checkpoint += journal.exists() and journal.read_bytes().count(b"\n") > 1
    print(killed, with_checkpoint, completed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
