"""``predict --engine ray``: workers, of which one is lost, write what the local engine does."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray
from helpers import sentences

from toxonnx.cli import group, predict_ray
from toxonnx.errors import InputError, MachineError

TEXTS = [f"{text} ({number})" for number, (text, _) in enumerate(sentences(900, 51))]


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def _predict(*arguments: str | Path) -> None:
    group(["predict", *map(str, arguments)], standalone_mode=False)


def _kill_one_worker(folder: Path, killed: list[int]) -> None:
    """Kills a worker when the first shard is complete."""
    for _ in range(6000):
        time.sleep(0.01)
        if any(folder.rglob("*.csv.json")):
            workers = [one for one in psutil.Process().children(recursive=True) if "MapWorker" in one.name()]
            workers += [one for one in psutil.process_iter() if "MapWorker" in " ".join(one.cmdline())]
            if workers:
                workers[0].kill()
                killed.append(workers[0].pid)
                return


def test_a_lost_worker_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, here, there = tmp_path / "in", tmp_path / "here", tmp_path / "there"
    source.mkdir()
    rows = [f'"{text}",{number}\n' if number % 100 else "one field\n" for number, text in enumerate(TEXTS)]
    (source / "a.csv").write_text("comment,n\n" + "".join(rows))
    (source / "b.csv").write_text("comment,n\n" + "".join(rows[:40]))
    options = ["--on-error", "skip", "--checkpoint-rows", "50"]
    _predict(source, "-o", here, *options, "--rejects", tmp_path / "here.csv")
    monkeypatch.setattr(predict_ray, "MIN_SHARD_BYTES", 8000)
    killed: list[int] = []
    killer = threading.Thread(target=_kill_one_worker, args=(there, killed))
    killer.start()
    engine = ["--engine", "ray", "--ray-workers", "2"]
    _predict(source, "-o", there, *options, *engine, "--rejects", tmp_path / "there.csv")
    killer.join()
    assert killed, "no worker was found"
    assert sorted(path.name for path in there.iterdir()) == ["a.csv", "b.csv"]
    for name in ("a.csv", "b.csv"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()


def test_an_output_may_be_called_as_a_list_of_rejects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, options = tmp_path / "in.csv", ["--on-error", "skip", "--rejects"]
    path.write_text("comment,n\n" + "".join(f'"{text}",1\n' for text in TEXTS[:60]) + "one field\n")
    _predict(path, "-o", tmp_path / "here.csv", *options, tmp_path / "bad-here.csv")
    monkeypatch.setattr(predict_ray, "MIN_SHARD_BYTES", 2000)
    _predict(path, "-o", tmp_path / "rejects.csv", *options, tmp_path / "bad.csv", "--engine", "ray")
    assert (tmp_path / "rejects.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert (tmp_path / "bad.csv").read_bytes() == (tmp_path / "bad-here.csv").read_bytes()


@pytest.mark.parametrize(
    ("option", "variable", "what"),
    [
        ([], "10.0.0.1:6379", "connect to the Ray cluster 10.0.0.1:6379 (RAY_ADDRESS)"),
        (["--ray-address", "10.0.0.2:6379"], "10.0.0.1:6379", "connect to the Ray cluster 10.0.0.2:6379"),
        ([], "", "start Ray on this machine"),
    ],
)
def test_the_cluster_that_cannot_be_reached_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str], variable: str, what: str
) -> None:
    def refuses(**_: object) -> None:
        raise ConnectionError("nobody answers")

    (tmp_path / "in.csv").write_text("comment\na fine day\n")
    monkeypatch.setenv("RAY_ADDRESS", variable)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuses)
    with pytest.raises(MachineError, match=f"^cannot {re.escape(what)}: nobody answers"):
        _predict(tmp_path / "in.csv", "-o", tmp_path / "out.csv", "--engine", "ray", *option)


def test_a_bad_row_ends_it_and_complete_shards_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    rows = [f'"{text}",{number}\n' for number, text in enumerate(TEXTS[:120])]
    path.write_text("comment,n\n" + "".join([*rows, "one field\n"]))
    monkeypatch.setattr(predict_ray, "MIN_SHARD_BYTES", 2000)
    engine = ["--engine", "ray", "--ray-workers", "1"]
    with pytest.raises(InputError, match=r"in\.csv, line 122: 1 field, the header has 2") as caught:
        _predict(path, "-o", out, *engine)
    assert "with --resume continues" in caught.value.hint and not out.exists()
    with pytest.raises(InputError, match=r"out\.csv was not completed: out\.csv\.shards has the shards"):
        _predict(path, "-o", out, *engine)
    with pytest.raises(InputError, match="cannot be continued: --columns changed"):
        _predict(path, "-o", out, *engine, "--resume", "--columns", "label")
    path.write_text("comment,n\n" + "".join(rows))
    with pytest.raises(InputError, match=r"cannot be continued: the input .* changed"):
        _predict(path, "-o", out, *engine, "--resume")
    _predict(path, "-o", out, *engine, "--force")
    _predict(path, "-o", tmp_path / "here.csv")
    assert out.read_bytes() == (tmp_path / "here.csv").read_bytes()
    with pytest.raises(InputError, match="needs an output file"):
        _predict(path, *engine)
