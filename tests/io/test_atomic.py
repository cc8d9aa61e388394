"""Output files appear under their name only when they are complete."""

from __future__ import annotations

import errno
import os
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


def test_a_block_inside_another_one_completes_the_output(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with pytest.raises(ValueError, match="stop"), AtomicFile(path) as out:
        with out:
            out.write("whole")
        assert path.read_text() == "whole"
        raise ValueError("stop")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("out.csv", "whole")]


def test_an_output_that_is_never_entered_leaves_nothing(tmp_path: Path) -> None:
    AtomicFile(tmp_path / "out.csv")  # as if a signal came before the with statement
    assert not list(tmp_path.iterdir())


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


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.csv"

    def no_hard_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    for link in (os.link, no_hard_links):
        monkeypatch.setattr(os, "link", link)
        with (
            pytest.raises(InputError, match="has appeared while it was being written") as caught,
            AtomicFile(path) as out,
        ):
            out.write("the work of hours")
            path.write_text("of somebody else")
        assert path.read_text() == "of somebody else"
        assert str(partial_path(path)) in caught.value.hint
        with pytest.raises(InputError, match="already exists"):
            AtomicFile(path)
        assert partial_path(path).read_text() == "the work of hours"
        path.unlink()
        with AtomicFile(path) as out:
            out.write("complete")
        assert path.read_text() == "complete" and not partial_path(path).exists()
        with AtomicFile(path, force=True) as out:
            path.write_text("of somebody else")
        assert path.read_text() == ""
        path.unlink()


def test_a_complete_file_survives_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("complete")
    os.link(path, partial_path(path))  # what a process leaves that is killed between the two steps of naming it
    with pytest.raises(ValueError, match="stop"), AtomicFile(path, force=True) as out:
        out.write("half")
        raise ValueError("stop")
    assert path.read_text() == "complete"


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


def test_the_name_of_an_open_file_is_written_where_that_is(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from toxonnx.io.atomic import AtomicFile\n"
        "for name in sys.argv[1:]:\n"
        "    with AtomicFile(name, force=name.endswith('1')) as out:\n"
        "        out.write(name + '\\n')\n"
    )
    names = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]
    with open(tmp_path / "out", "w") as file:
        file.write("before\n")
        file.flush()
        subprocess.run([sys.executable, "-c", script, *names], check=True, stdout=file)
    assert (tmp_path / "out").read_text().splitlines() == ["before", *names]
    assert Path("/dev/stdout").is_symlink()


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit(143)])
def test_a_signal_while_the_file_is_created_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: type[BaseException] | BaseException
) -> None:
    def interrupted(*_: object) -> None:
        raise raised

    monkeypatch.setattr("fcntl.flock", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        AtomicFile(tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == []
