"""Output files appear under their name only when they are complete."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from toxonnx.errors import InputError
from toxonnx.io.atomic import AtomicFile, partial_path


def test_output_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with pytest.raises(ValueError, match="stop"), AtomicFile(path) as out:
        out.write("half")
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []
    with AtomicFile(path) as out:
        out.write("whole\r\n")
        assert not path.exists()
    assert path.read_bytes() == b"whole\r\n"
    with pytest.raises(InputError, match="already exists"):
        AtomicFile(path)
    with AtomicFile(path, force=True) as out:
        out.write("new")
    assert path.read_text() == "new"


def test_two_writers_of_one_output_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with AtomicFile(path) as first:
        first.write("first")
        with pytest.raises(InputError, match="another process is writing"):
            AtomicFile(path)
    assert path.read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]
    with AtomicFile(path, force=True) as later:
        later.write("later")
    assert path.read_text() == "later"


def test_the_partial_file_of_a_killed_process_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    script = (
        "import os, sys, signal\n"
        "from toxonnx.io.atomic import AtomicFile\n"
        "out = AtomicFile(sys.argv[1])\n"
        "out.write('x' * 10_000_000)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert partial_path(path).stat().st_size > 0 and not path.exists()
    with AtomicFile(path) as out:
        out.write("complete")
    assert path.read_text() == "complete"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.csv"]


def test_text_that_the_encoding_lacks_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written in"), AtomicFile(tmp_path / "o", encoding="cp1252") as out:
        out.write("\N{SNOWMAN}")
    assert list(tmp_path.iterdir()) == []
