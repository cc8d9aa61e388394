"""The process of a command: standard streams, signals, and exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import COMMENTS, write_csv

from toxonnx.cli import process
from toxonnx.errors import GateError, MachineError
from toxonnx.io.base import ReadWarning

TOXONNX = f"{sys.executable} -m toxonnx"


@pytest.fixture
def _process_state() -> Iterator[None]:
    """What a command changes in its process."""
    stderr = sys.stderr
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)}
    with warnings.catch_warnings():
        yield
    sys.stderr = stderr
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_process_state")
def test_a_bug_has_its_own_exit_code_and_quotes_no_text(capfd: pytest.CaptureFixture[str]) -> None:
    def bug() -> None:
        warnings.warn("the header looks like a row", ReadWarning, stacklevel=1)
        raise ValueError("the text of a row")

    warnings.simplefilter("always")
    for debug in (False, True):
        assert process.run(bug, debug=debug) == 70
        out, errors = capfd.readouterr()
        *before, last = errors.splitlines()
        assert last.startswith("internal error: ValueError at toxonnx/cli/process.py:") and "--debug" in last
        assert "the text of a row" not in last
        assert ("Traceback" in errors) == debug and (before == ["warning: the header looks like a row"]) != debug
        assert out == ""


@pytest.mark.usefixtures("_process_state")
def test_an_interrupt_while_a_library_loads_is_one(capfd: pytest.CaptureFixture[str]) -> None:
    def load() -> None:
        try:
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt as interrupt:  # as pybind11 does
                raise ImportError("initialization failed") from interrupt
        except ImportError:
            raise MachineError("onnxruntime is installed but does not load") from None

    assert process.run(load, debug=False) == 130
    assert capfd.readouterr().err == "interrupted\n"


def test_an_interrupt_at_the_start_has_no_traceback() -> None:
    script = (
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'toxonnx.cli': os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from toxonnx.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGINT and done.stderr == ""


@pytest.mark.usefixtures("_process_state")
def test_debug_keeps_the_exit_code(capfd: pytest.CaptureFixture[str]) -> None:
    def gate() -> None:
        raise GateError("macro F1 is 0.4")

    def full() -> None:
        raise OSError(28, "No space left on device")

    def missing() -> None:
        raise FileNotFoundError(2, "No such file or directory", "rows.csv")

    for command, code in ((gate, 1), (full, 3), (missing, 2)):
        assert process.run(command, debug=True) == code
        assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("predict {file} >&-", 3, "cannot write standard output: it is closed"),
        ("predict {file} -o {out} 2>/dev/full", 0, ""),
        ("predict {file} 2>&1 >{out} | true; exit ${{PIPESTATUS[0]}}", 0, ""),
        ("info >/dev/full", 3, "cannot write the output: the disk is full"),
        ("predict {file} -o {out} >&- 2>&- <&-", 0, ""),
        ("predict {file} 2>&-", 0, ""),
        ("--help 2>&1 | true; exit ${{PIPESTATUS[0]}}", 141, ""),
        ("predict {file} 2>/dev/null | true; exit ${{PIPESTATUS[0]}}", 141, ""),
    ],
)
def test_closed_and_full_streams(tmp_path: Path, line: str, code: int, message: str) -> None:
    out = tmp_path / "out.csv"
    command = f"{TOXONNX} {line.format(file=COMMENTS, out=out)}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert not message or done.stderr.splitlines()[-1].startswith(("error: ", "The output is incomplete"))
    if str(out) in command:
        assert len(out.read_text().splitlines()) == len(COMMENTS.read_text().splitlines())


def test_a_reader_that_stops_early(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv", ["text"], [[f"day {i % 50} " + "long " * 30] for i in range(4000)])
    line = f"set -o pipefail; {TOXONNX} predict {source} | head -n 2"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert len(done.stdout.splitlines()) == 2
    assert done.returncode == 141
    assert done.stderr == "reading the text from 'text'\n"


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGQUIT, 131)],
)
def test_a_command_that_is_stopped_leaves_nothing(tmp_path: Path, number: int, code: int) -> None:
    source = write_csv(tmp_path / "in.csv", ["text"], [[f"day {i} " + "long " * 60] for i in range(20_000)])
    command = [*TOXONNX.split(), "predict", str(source), "-o", str(tmp_path / "out.csv")]
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True,
        # Tests that run in the background of a shell ignore the interrupt, and so would their children.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(number)
    _, errors = running.communicate()
    assert running.returncode == code
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
