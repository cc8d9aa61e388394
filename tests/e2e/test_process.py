"""The process of a command: standard streams, signals, and exit codes."""

from __future__ import annotations

import contextlib
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


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.fixture
def _process_state() -> Iterator[None]:
    """What a command changes in its process."""
    stderr, interrupt = sys.stderr, signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background of a shell ignore it
    with warnings.catch_warnings():
        yield
    sys.stderr = stderr
    signal.signal(signal.SIGINT, interrupt)


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


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.usefixtures("_process_state")
def test_a_signal_that_a_library_turns_into_another_error(
    capfd: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    def load() -> None:
        with contextlib.suppress(BaseException):  # as pybind11 does
            signal.raise_signal(number)
        raise MachineError("onnxruntime is installed but does not load")

    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    assert process.run(load, debug=False) == code
    assert capfd.readouterr().err == ("interrupted\n" if number == signal.SIGINT else "")
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.usefixtures("_process_state")
def test_a_signal_where_python_drops_exceptions(capfd: pytest.CaptureFixture[str], number: int, code: int) -> None:
    class Resource:
        def __del__(self) -> None:
            signal.raise_signal(number)

    def command() -> None:
        Resource()
        for _ in range(1000):
            time.sleep(0.01)

    try:
        ended = process.run(command, debug=False)
    except SystemExit as error:
        ended = error.code
    assert ended == code
    assert capfd.readouterr().err == ("interrupted\n" if number == signal.SIGINT else "")


@pytest.mark.usefixtures("_process_state")
def test_a_second_interrupt_does_not_disturb_the_first(capfd: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)  # as timeout(1) sends it to the process, and to its group
            print("files are removed", flush=True)

    assert process.run(command, debug=False) == 130
    assert capfd.readouterr() == ("files are removed\n", "interrupted\n")


def test_an_interrupt_that_is_repeated_ends_a_process_that_hangs() -> None:
    script = (
        "import signal, sys, time\n"
        "from toxonnx.cli.process import run\n"
        "def command():\n"
        "    try: signal.raise_signal(signal.SIGINT)\n"
        "    finally: print(flush=True); time.sleep(60)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.exit(run(command, debug=False))"
    )
    running = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None and running.stdout.readline() == b"\n"
    time.sleep(1.2)
    running.send_signal(signal.SIGINT)
    assert running.communicate(timeout=30)[1] == b"" and running.returncode == 130


@pytest.mark.parametrize("module", ["toxonnx.cli", "click", "toxonnx.errors"])
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_at_the_start_has_no_traceback(module: str, number: int, code: int) -> None:
    script = (
        "import os, signal, sys\n"
        "class Stop:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), {number:d})\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Stop())\n"
        "from toxonnx.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")


def test_the_exit_code_of_an_interrupt_in_generated_code() -> None:
    script = (
        "import signal, sys, toxonnx.cli\n"
        "from toxonnx.cli.process import run\n"
        "from toxonnx.__main__ import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        # as dataclass() does
        "toxonnx.cli.main = lambda: sys.exit(run(lambda: exec('signal.raise_signal(signal.SIGINT)'), debug=False))\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_almost_nothing_is_imported_before_signals_are_handled() -> None:
    script = (
        "import __future__, atexit, signal, sys\n"
        "before = set(sys.modules)\n"
        "import toxonnx.__main__\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["toxonnx", "toxonnx.__main__"]


#: Runs the command line and writes an empty line once its handlers are there; before that it is Python that ends.
ANNOUNCING = """
import signal
from toxonnx.__main__ import main

install = signal.signal

def announce(number, handler):
    install(number, handler)
    if number == signal.SIGTERM:
        signal.signal = install
        print(flush=True)

signal.signal = announce
main()
"""


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_at_any_time_is_at_most_one_line(tmp_path: Path, number: int, code: int) -> None:
    source = write_csv(tmp_path / "in.csv", ["text"], [[f"day {i} " + "long " * 60] for i in range(20_000)])
    for milliseconds in (0, 2, 10, 30, 60, 100, 150, 220, 300, 400, 550, 700):
        out = tmp_path / f"{milliseconds}.csv"
        running = subprocess.Popen(
            [sys.executable, "-c", ANNOUNCING, "predict", str(source), "-o", str(out)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
        )  # fmt: skip
        assert running.stdout is not None and running.stdout.readline() == "\n"
        time.sleep(milliseconds / 1000)
        running.send_signal(number)
        _, errors = running.communicate()
        assert running.returncode == code, errors
        # Click ends the line in which the terminal shows ^C.
        assert set(errors.splitlines()) <= {"", "reading the text from 'text'", "interrupted"}
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


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
