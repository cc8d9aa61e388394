"""``toxonnx predict --resume``: what is continued, what is refused, and what is left."""

from __future__ import annotations

import errno
import gzip
import importlib.metadata
import io
import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stub_classifier
from helpers import SHIPPED, largest_file
from stub_classifier import StubClassifier

from toxonnx.bundle import open_bundle
from toxonnx.cli import group
from toxonnx.errors import MachineError, ToxonnxError
from toxonnx.io import input_file
from toxonnx.io.atomic import open_locked
from toxonnx.io.base import open_source


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    stub_classifier.install(monkeypatch.setattr)


def _predict(*arguments: str | Path, stop_after: int | None = None, stop_in_file: int = 1) -> BaseException | None:
    """Runs the command, as if an interrupt came after a number of batches of a file, and returns its error."""

    files = 0

    def interrupted(self: Any, items: Any, text: Any) -> Iterator[Any]:
        nonlocal files
        files += 1
        for number, batch in enumerate(StubClassifier.score_batches(self, items, text)):
            if files == stop_in_file and number == stop_after:
                raise KeyboardInterrupt
            yield batch

    stub = type("Stub", (StubClassifier,), {"score_batches": interrupted})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("toxonnx.cli.predict_run.Classifier", stub)
        try:
            group(["predict", "--checkpoint-rows", "6", *map(str, arguments)], standalone_mode=False)
        except ToxonnxError as error:
            return error
        except click.Abort as error:
            return error.__cause__
    return None


def _write(path: Path, rows: int = 30) -> Path:
    path.write_text("text,n\n" + "".join(f"{'long ' * (i % 4)}day,{i}\n" for i in range(rows)))
    return path


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_nothing_is_read_twice_and_the_counts_are_those_of_the_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = _write(tmp_path / "in.csv"), tmp_path / "out.csv"
    assert _predict(path, "-o", tmp_path / "whole.csv") is None
    summary = capsys.readouterr().err
    error = _predict(path, "-o", out, stop_after=5)
    assert isinstance(error, KeyboardInterrupt)
    assert error.__notes__ == [f"12 rows of {out} are done. The same command with --resume continues."]
    assert _files(tmp_path) == ["in.csv", "out.csv.part/data", "out.csv.part/journal.jsonl", "whole.csv"]
    texts: list[str] = []
    score = StubClassifier.score

    def spy(self: Any, batch: Any) -> Any:
        texts.extend(batch)
        return score(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StubClassifier, "score", spy)
        assert _predict(path, "-o", out, "--resume") is None
    assert len(texts) == 18
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    # All but the time: rows, labels, truncated.
    assert capsys.readouterr().err.splitlines()[-6:][1:] == summary.splitlines()[-6:][1:]
    assert _files(tmp_path) == ["in.csv", "out.csv", "whole.csv"]


def test_an_interrupted_run_is_never_discarded_or_mixed_with_another(tmp_path: Path) -> None:
    path, out = _write(tmp_path / "in.csv"), tmp_path / "out.csv"
    _predict(path, "-o", out, stop_after=5)
    before = {name: (tmp_path / name).read_bytes() for name in _files(tmp_path)}
    content, modified = path.read_bytes(), path.stat().st_mtime_ns

    def refused(*options: str) -> str:
        error = _predict(path, "-o", out, *options)
        assert isinstance(error, ToxonnxError) and error.exit_code == 2
        assert {name: (tmp_path / name).read_bytes() for name in before} == before
        return str(error)

    message = refused()
    assert "out.csv.part has the state of an interrupted run, in which 12 rows are done\n" in message
    assert message.endswith("Continue it with --resume, or start over with --force.")
    message = refused("--resume", "--prefix", "new_")
    assert f"{out} cannot be continued: --prefix changed: it was not given and is new_\n" in message
    assert "--columns changed: it was not given and is label, score" in refused("--resume", "--columns", "label,score")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("toxonnx.cli.predict_plan.open_bundle", lambda _: replace(open_bundle(SHIPPED), seal="f" * 64))
        assert f"the bundle changed: it was {SHIPPED.name} (sha256 " in refused("--resume", "--force")
    os.utime(path, ns=(0, 0))
    assert f"the input {path} changed (its time of modification)" in refused("--resume")
    path.write_bytes(content.replace(b"day,29", b"DAY,29"))
    before["in.csv"] = path.read_bytes()
    os.utime(path, ns=(modified, modified))
    assert f"the input {path} changed (its content)" in refused("--resume")
    assert _predict(path, "-o", out, "--force") is None
    assert _files(tmp_path) == ["in.csv", "out.csv"] and b"DAY,29" in out.read_bytes()
    with_text = refused_state(tmp_path / "other.csv")
    for force in ([], ["--force"], ["--force", "--resume"]):
        message = str(_predict(path, "-o", with_text, *force))
        assert "other.csv.part is not the state of an interrupted run" in message
    assert (tmp_path / "other.csv.part" / "mine.txt").read_text() == "mine"
    # Nor is it removed with a state.
    _predict(path, "-o", tmp_path / "new.csv", stop_after=5)
    (tmp_path / "new.csv.part" / "mine.txt").write_text("mine")
    assert _predict(path, "-o", tmp_path / "new.csv", "--resume") is None
    assert [one.name for one in (tmp_path / "new.csv.part").iterdir()] == ["mine.txt"]


def refused_state(output: Path) -> Path:
    """Something else where the state would be."""
    folder = output.with_name(f"{output.name}.part")
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    return output


def test_what_cannot_be_continued_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "in.csv")
    assert "--resume needs an output file" in str(_predict(path, "--resume"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    descriptor = os.dup(0)
    try:
        with open(path) as file:
            os.dup2(file.fileno(), 0)
        message = str(_predict("-", "-o", tmp_path / "out.csv", "--resume"))
        # With --force the state of another run is discarded, also by a run that has none, but not one in use.
        _predict(path, "-o", tmp_path / "forced.csv", stop_after=5)
        journal = tmp_path / "forced.csv.part" / "journal.jsonl"
        for lock in (open_locked(journal, tmp_path / "forced.csv"), None):
            with open(path) as file:
                os.dup2(file.fileno(), 0)
            assert _predict("-", "-o", tmp_path / "forced.csv", "--force") is None
            assert journal.exists() == (lock is not None)
            if lock is not None:
                os.close(lock)
        (tmp_path / "forced.csv").unlink()
    finally:
        os.dup2(descriptor, 0)
    assert message == "--resume cannot read standard input again\nSave it to a file, and score that."
    # Without a checkpoint there is nothing to continue, and nothing is left.
    assert isinstance(_predict(path, "-o", tmp_path / "out.csv", stop_after=1), KeyboardInterrupt)
    assert _files(tmp_path) == ["in.csv"]
    assert _predict(path, "-o", tmp_path / "out.csv", "--resume") is None
    message = str(_predict(path, "-o", tmp_path / "out.csv", "--resume"))
    assert "out.csv already exists, and no interrupted run of it was found\nIt is complete; add --force" in message
    # A row that cannot be read will not be better the next time.
    path.write_text(path.read_text() + "bad\n")
    assert "1 field, " in str(_predict(path, "-o", tmp_path / "new.csv"))
    assert _files(tmp_path) == ["in.csv", "out.csv"]


def test_an_audit_that_may_stop_leaves_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = _write(tmp_path / "in.csv"), tmp_path / "out.csv"
    monkeypatch.setattr(StubClassifier, "audit", object())
    error = _predict(path, "-o", out, "--audit", "0.5", "--audit-stop", stop_after=5)
    assert isinstance(error, KeyboardInterrupt) and not hasattr(error, "__notes__")
    assert _files(tmp_path) == ["in.csv"]


def test_of_several_files_the_complete_ones_are_kept(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    _write(tmp_path / "in" / "a.csv")
    _write(tmp_path / "in" / "c.csv")
    (tmp_path / "in" / "b.csv").write_text("text,n\nbad\n" + "day,1\n" * 20 + "bad\n" * 2)
    options = ["--on-error", "skip", "--rejects", tmp_path / "rejects.csv"]
    assert _predict(tmp_path / "in", "-o", tmp_path / "whole", *options) is None
    rejects = (tmp_path / "rejects.csv").read_bytes()
    (tmp_path / "rejects.csv").unlink()
    out = tmp_path / "out"
    error = _predict(tmp_path / "in", "-o", out, *options, stop_after=5)
    assert error is not None and error.__notes__[0].startswith("The outputs of 0 of 3 files are complete.\n12 rows of")

    error = _predict(tmp_path / "in", "-o", out, *options, "--resume", stop_after=5, stop_in_file=2)
    assert error is not None and error.__notes__[0].startswith("The outputs of 1 of 3 files are complete.\n")
    complete = (out / "a.csv").stat().st_ino
    assert "a.csv already exists" in str(_predict(tmp_path / "in", "-o", out, *options))
    assert _predict(tmp_path / "in", "-o", out, *options, "--resume") is None
    assert (out / "a.csv").stat().st_ino == complete
    assert _files(out) == _files(tmp_path / "whole") == ["a.csv", "b.csv", "c.csv"]
    for name in _files(out):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (tmp_path / "rejects.csv").read_bytes() == rejects and rejects.count(b"\n") == 4


def test_rejects_of_an_interrupted_run_count_for_the_limit(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.csv").write_text("text,n\n" + "bad\n" * 2 + "day,1\n" * 28 + "bad\n")
    command = [tmp_path / "in", "-o", tmp_path / "out", "--on-error", "skip"]
    assert isinstance(_predict(*command, stop_after=5, stop_in_file=2), KeyboardInterrupt)
    error = _predict(*command, "--resume", "--max-rejects", "4")
    assert error is not None and "the interrupted run rejected 5 rows already, more than --max-rejects 4" in str(error)
    error = _predict(*command, "--resume", "--max-rejects", "5")
    assert error is not None and "too many rows are rejected (--max-rejects 5)" in str(error)
    assert isinstance(_predict(*command, "--force", stop_after=5, stop_in_file=2), KeyboardInterrupt)
    assert _predict(*command, "--resume", "--max-rejects", "6") is None


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.jsonl", "out.parquet"])
def test_a_full_disk_is_one_error_and_can_be_continued(tmp_path: Path, name: str) -> None:
    path, out = _write(tmp_path / "in.csv", 600), tmp_path / name
    every = ["--checkpoint-rows", "10"]
    assert _predict(path, "-o", tmp_path / f"whole-{name}", *every) is None
    with largest_file(13_000):
        error = _predict(path, "-o", out, *every)
    assert isinstance(error, MachineError) and error.exit_code == 3
    assert "the file would be larger than" in error.what and len(error.hint.splitlines()) <= 2
    assert "rows of" in error.hint and error.hint.endswith("The same command with --resume continues.")
    assert not out.exists()
    assert _predict(path, "-o", out, *every, "--resume") is None
    assert out.read_bytes() == (tmp_path / f"whole-{name}").read_bytes()


class _FailingFile(io.FileIO):
    """A file whose middle cannot be read."""

    def readinto(self, buffer: Any) -> int | None:
        if 0.4 < self.tell() / os.fstat(self.fileno()).st_size < 0.6:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().readinto(buffer)


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.txt.gz", "in.parquet"])
def test_a_disk_that_fails_is_no_damaged_file(tmp_path: Path, name: str) -> None:
    texts = [os.urandom(500).hex() for _ in range(8000)]
    path, out = tmp_path / name, tmp_path / f"out.{name.split('.')[1].replace('txt', 'csv')}"
    if name == "in.parquet":
        pq.write_table(pa.table({"text": texts}), path, row_group_size=500)
    elif name == "in.jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        data = "\n".join(["text", *texts]).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    options = ["--on-error", "skip", "--checkpoint-rows", "100"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_file, "_Reader", type("Failing", (input_file._Reader, _FailingFile), {}))
        error = _predict(path, "-o", out, *options)
    assert isinstance(error, MachineError) and error.what == f"cannot read {path}: Input/output error"
    assert error.hint.endswith("The same command with --resume continues.")
    assert _predict(path, "-o", out, *options, "--resume") is None
    with open_source(out) as source:
        assert sum(1 for _ in source) == len(texts) + name.startswith("in.txt")


def test_a_journal_that_cannot_be_written_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = _write(tmp_path / "in.csv"), tmp_path / "out.csv"
    fsync, calls = os.fsync, itertools.count()

    def fails(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "journal.jsonl" and next(calls) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails)
    error = _predict(path, "-o", out)
    assert isinstance(error, MachineError) and error.what == f"cannot write {out}: Input/output error"
    assert error.hint.endswith("The same command with --resume continues.")
    assert _predict(path, "-o", out, "--resume") is None


def test_the_manifest_says_what_was_scored_with_what(tmp_path: Path) -> None:
    path, listed = _write(tmp_path / "in.csv"), tmp_path / "run.json"
    (tmp_path / "other.txt").write_text("a fine day\n" * 3)
    path.write_text(path.read_text() + "bad\n")
    arguments = [path, tmp_path / "other.txt", "-o", tmp_path / "out", "--on-error", "skip", "--manifest", listed]
    # Plain text has one column, so that the option is about the other file.
    arguments += ["--text-column", "text", "--prefix", "p_"]
    assert isinstance(_predict(*arguments, stop_after=5), KeyboardInterrupt) and not listed.exists()
    (tmp_path / "other.txt").write_text("a fine day\n" * 4)
    assert _predict(*arguments, "--resume") is None
    run = json.loads(listed.read_text())
    assert run["resumed"] and run["bundle"] == {"name": SHIPPED.name, "seal": open_bundle(SHIPPED).seal}
    assert run["options"]["--prefix"] == "p_" and "--encoding" not in run["options"]
    assert run["started"] <= run["ended"] and run["started"].endswith("+00:00") and run["rows_per_second"] > 0
    rows, (first, second) = run["rows"], run["files"]
    assert (rows["read"], rows["scored"], rows["rejected"]) == (35, 34, {"MISSING COLUMNS": 1})
    assert sum(rows["labels"].values()) == 34 and second["rows"]["read"] == 4
    for entry, name in ((first, "in.csv"), (second, "other.txt")):
        out = Path(entry["output"])
        assert entry["input"] == str(tmp_path / name) and entry["input_bytes"] == (tmp_path / name).stat().st_size
        assert entry["output_bytes"] == out.stat().st_size
    assert "run.json already exists" in str(_predict(path, "-o", tmp_path / "new.csv", "--manifest", listed))
    assert "--manifest" in str(_predict(path, "-o", listed, "--manifest", listed, "--force"))


def test_a_build_of_onnx_runtime_that_is_a_package_of_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = importlib.metadata.version

    def version(package: str) -> str:  # as where only onnxruntime-gpu is installed
        if package == "onnxruntime":
            raise importlib.metadata.PackageNotFoundError(package)
        return known(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    path, listed = _write(tmp_path / "in.csv"), tmp_path / "run.json"
    assert _predict(path, "-o", tmp_path / "out.csv", "--manifest", listed) is None
    versions = json.loads(listed.read_text())["versions"]
    assert versions["onnxruntime"] == onnxruntime.__version__ and versions["toxonnx"] == known("toxonnx")


def test_too_many_rejects_name_the_row_of_a_parquet_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", None]}), tmp_path / "in.parquet")
    error = _predict(
        tmp_path / "in.parquet", "-o", tmp_path / "out.parquet", "--on-error", "skip", "--max-rejects", "0"
    )
    assert "in.parquet, row 2: null in 'text'" in str(error)
