"""``predict --shard`` and ``join``: the outputs of the shards of a file are the output of the whole."""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stub_classifier
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toxonnx.cli import group
from toxonnx.errors import InputError

CELLS = st.text('ab," \n\r\u00e9', max_size=8)
CSV_ROWS = st.lists(
    st.tuples(CELLS, CELLS).map(lambda row: ",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n")
    | st.sampled_from(["plain,1\n", "\n", "one\n", "1,2,3\n", '"open,1\n', 'a "quote,2\n']),
    max_size=12,
)
JSON_ROWS = st.lists(
    CELLS.map(lambda cell: json.dumps({"text": cell}) + "\n") | st.sampled_from(["\n", "{\n", '{"n": 1}\n']),
    max_size=12,
)


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    stub_classifier.install(monkeypatch.setattr)


def _run(*arguments: str | Path) -> None:
    group([str(one) for one in arguments], standalone_mode=False)


def _content(path: Path) -> object:
    if path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        return file.read().to_pylist(), groups, file.schema_arrow, file.schema_arrow.metadata
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["csv", "csv utf-16", "jsonl", "txt", "parquet"]), total=st.integers(1, 5))
@pytest.mark.filterwarnings("ignore")
def test_joined_shards_are_the_whole(tmp_path: Path, data: st.DataObject, kind: str, total: int) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    suffix, _, encoding = kind.partition(" ")
    path, out = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix.replace('txt', 'csv')}"
    if suffix == "csv":
        text = "text,n\nstart,0\n" + "".join(data.draw(CSV_ROWS))
        path.write_bytes(text.encode(encoding or "utf-8"))
    elif suffix == "jsonl":
        path.write_text('{"text": "start"}\n' + "".join(data.draw(JSON_ROWS)), newline="")
    elif suffix == "txt":
        path.write_bytes(("start\n" + "\n".join(data.draw(st.lists(CELLS, max_size=9)))).encode())
    else:
        texts = data.draw(st.lists(CELLS | st.none(), max_size=20))
        pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path, row_group_size=3)
    if suffix in ("csv", "txt") and data.draw(st.booleans()):
        out = out.with_name(out.name + ".gz")
    on_error = data.draw(st.sampled_from(["skip", "null"]))
    options = ["--on-error", on_error, "--text-column", "text", *(["--encoding", encoding] if encoding else [])]
    _run("predict", path, "-o", out, *options)
    whole = _content(out)
    out.unlink()
    for number in data.draw(st.permutations(range(1, total + 1))):
        _run("predict", path, "-o", out, *options, "--shard", f"{number}/{total}")
    _run("join", out)
    assert _content(out) == whole


def test_only_complete_shards_of_the_same_run_are_joined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text("text,n\n" + "".join(f"a fine day,{number}\n" for number in range(40)))
    first, second = tmp_path / "out-00001-of-00002.csv", tmp_path / "out-00002-of-00002.csv"
    with pytest.raises(InputError, match=r"out\.csv has no shards"):
        _run("join", out)
    _run("predict", path, "-o", out, "--shard", "1/2")
    with pytest.raises(InputError, match="1 of 2 shards are not complete: 2"):
        _run("join", out)
    _run("predict", path, "-o", out, "--shard", "2/2", "--columns", "label")
    with pytest.raises(InputError, match=r"out-00002-of-00002\.csv does not belong to .*: --columns changed"):
        _run("join", out)
    _run("predict", path, "-o", out, "--shard", "2/2", "--force")
    second.write_bytes(second.read_bytes() + b"x")
    with pytest.raises(InputError, match=r"out-00002-of-00002\.csv was changed after it was scored"):
        _run("join", out)
    assert not out.exists()
    _run("predict", path, "-o", out, "--shard", "2/2", "--force")
    capsys.readouterr()
    _run("join", out)
    assert "40 rows in" in capsys.readouterr().err
    assert first.read_bytes() + second.read_bytes() == out.read_bytes()
    with pytest.raises(InputError, match="already exists"):
        _run("join", out)


def test_joining_opens_one_file_at_a_time(tmp_path: Path) -> None:
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"text": ["a fine day"] * 12}), path, row_group_size=1)
    for number in range(1, 13):
        _run("predict", path, "-o", out, "--shard", f"{number}/12")
    used = {int(one.name) for one in Path("/proc/self/fd").iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Descriptors are the lowest free numbers.
    limit = [number for number in range(1000) if number not in used][8]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limits[1]))
    try:
        _run("join", out)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert pq.read_metadata(out).num_rows == 12


def test_shards_are_found_by_their_exact_name(tmp_path: Path) -> None:
    path, folder = tmp_path / "posts[1].csv", tmp_path / "out"
    path.write_text("text\na fine day\na dull day\n")
    folder.mkdir()
    for number in (1, 2):
        _run("predict", path, "-o", folder, "--shard", f"{number}/2")
    with pytest.raises(InputError, match="out is a folder\nName the output in it"):
        _run("join", folder)
    _run("join", folder / path.name)
    assert (folder / path.name).read_text().count("\n") == 3


def test_an_interrupted_shard_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text("text,n\n" + "".join(f"a fine day,{number}\n" for number in range(40)))
    command = ["predict", path, "-o", out, "--shard", "2/2", "--checkpoint-rows", "3"]
    _run(*command)
    shard = tmp_path / "out-00002-of-00002.csv"
    expected = shard.read_bytes()
    shard.unlink()
    score = stub_classifier.StubClassifier.score
    texts: list[str] = []

    def stops(self: stub_classifier.StubClassifier, batch: list[str]) -> object:
        texts.extend(batch)
        if len(texts) > 9:
            raise KeyboardInterrupt
        return score(self, batch)

    with monkeypatch.context() as patch, pytest.raises(BaseException):  # noqa: B017  (click's, or the interrupt)
        patch.setattr(stub_classifier.StubClassifier, "score", stops)
        _run(*command)
    assert not shard.exists()
    _run(*command, "--resume")
    assert shard.read_bytes() == expected


def test_what_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(gzip.compress(b"text\na\nb\n"))
    with pytest.raises(InputError, match="cannot be divided into shards, since it is compressed"):
        _run("predict", path, "-o", tmp_path / "out.csv", "--shard", "1/2")
    with pytest.raises(InputError, match="--shard needs an output file"):
        _run("predict", path, "--shard", "1/2")
    for wrong in ("0/2", "3/2", "x", "1/2/3"):
        with pytest.raises(InputError, match="is not a shard such as 3/16"):
            _run("predict", path, "--shard", wrong)


@pytest.mark.parametrize("options", [["--shard", "1/1"], ["--shard", "1/2"], ["--shard", "2/2"], ["--engine", "ray"]])
def test_what_can_only_be_read_once_is_not_divided(tmp_path: Path, options: list[str]) -> None:
    path, pipe, out = tmp_path / "in.csv", tmp_path / "pipe", tmp_path / "out.csv"
    path.write_text("text\na fine day\n")
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="pipe can only be read once"):
        _run("predict", pipe, "-o", out, *options)
    descriptor = os.dup(0)
    try:
        with open(path) as file:
            os.dup2(file.fileno(), 0)
        with pytest.raises(InputError, match="standard input can only be read once"):
            _run("predict", "-", "-o", out, *options)
    finally:
        os.dup2(descriptor, 0)
        os.close(descriptor)


def test_a_folder_of_somebody_else_is_not_removed_for_ray(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\na fine day\n")
    (tmp_path / "out.csv.shards").mkdir()
    (tmp_path / "out.csv.shards" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"out\.csv\.shards is not the folder of an interrupted run"):
        _run("predict", tmp_path / "in.csv", "-o", tmp_path / "out.csv", "--engine", "ray", "--force")


def test_each_shard_gets_some_of_several_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / "in" / f"{name}.csv").write_text("text\na fine day\n")
    for number, expected in (("1/2", "ac"), ("2/2", "b"), ("4/4", "")):
        out = tmp_path / number.replace("/", "-")
        _run("predict", tmp_path / "in", "-o", out, "--shard", number)
        assert "".join(sorted(one.stem for one in out.glob("*.csv"))) == expected
