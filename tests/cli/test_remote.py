"""``predict`` on URLs: what is read, what is uploaded, what is continued, and the errors of stores."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stub_classifier
from fsspec.implementations.memory import MemoryFileSystem

from toxonnx.cli import group
from toxonnx.errors import InputError, MachineError, ToxonnxError

ROWS = "text,n\n" + "".join(f"{'long ' * (i % 4)}day,{i}\n" for i in range(40))


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    """An empty store in memory, in which an object that is being written is not seen."""
    stub_classifier.install(monkeypatch.setattr)
    memory = fsspec.filesystem("memory")
    yield memory
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def _run(*arguments: str | Path) -> None:
    group(["predict", "--checkpoint-rows", "6", *map(str, arguments)], standalone_mode=False)


def _refused(*arguments: str | Path) -> ToxonnxError:
    with pytest.raises(ToxonnxError) as caught:
        _run(*arguments)
    return caught.value


def _fails_after(patch: pytest.MonkeyPatch, batches: int, error: BaseException) -> None:
    score, count = stub_classifier.StubClassifier.score, itertools.count()

    def fails(self: stub_classifier.StubClassifier, batch: list[str]) -> object:
        if next(count) == batches:
            raise error
        return score(self, batch)

    patch.setattr(stub_classifier.StubClassifier, "score", fails)


def test_a_single_file_goes_below_an_output_that_ends_in_a_slash(store: MemoryFileSystem, tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text(ROWS)
    _run(tmp_path / "posts.csv", "-o", "memory://bucket/new/")
    assert store.find("/bucket") == ["/bucket/new/posts.csv"]


def test_every_format_is_read_and_written_as_on_this_machine(store: MemoryFileSystem, tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "a fine day", "caf\u00e9"] * 5})
    pq.write_table(table, tmp_path / "posts.parquet", row_group_size=4)
    contents = {
        "posts.csv": ROWS.encode(), "posts.csv.gz": gzip.compress(ROWS.encode()), "posts.txt": b"a\nb\n",
        "posts.jsonl": b'{"text": "a"}\n', "posts.parquet": (tmp_path / "posts.parquet").read_bytes(),
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        store.pipe_file(f"/bucket/in/{name}", content)
        out = f"out-{name.replace('.txt', '.csv')}"
        for resume in ([], ["--resume", "--state-dir", tmp_path / "state"]):
            _run(tmp_path / name, "-o", tmp_path / out, *resume[:1])
            _run(f"memory://bucket/in/{name}", "-o", f"memory://bucket/{out}", *resume)
            assert store.cat_file(f"/bucket/{out}") == (tmp_path / out).read_bytes()
            store.rm(f"/bucket/{out}")
            (tmp_path / out).unlink()
    assert list((tmp_path / "state").iterdir()) == []
    _run(f"file://{tmp_path}/posts.csv", "-o", f"file://{tmp_path}/local.csv")
    assert (tmp_path / "local.csv").read_bytes().startswith(b"text,n,label")


def test_a_long_name_in_any_script_fits_the_name_of_a_local_file(store: MemoryFileSystem, tmp_path: Path) -> None:
    name = "memory://bucket/" + "\N{HANGUL SYLLABLE GA}" * 200 + ".csv"
    store.pipe_file("/bucket/in.csv", ROWS.encode())
    _run("memory://bucket/in.csv", "-o", name, "--resume", "--state-dir", tmp_path)
    assert store.cat_file(name).startswith(b"text,n,label")


def test_folders_patterns_manifest_and_rejects(store: MemoryFileSystem, tmp_path: Path) -> None:
    for name in ("a.csv", "deep/b.csv", "c.jsonl", "_SUCCESS", ".hidden.csv", "note.md"):
        store.pipe_file(f"/bucket/in/{name}", b'{"text": "a"}\n' if name.endswith("jsonl") else b"text\na\nb,c\n")
    options = ["--on-error", "skip", "--rejects", "memory://bucket/bad.csv", "--manifest", "memory://bucket/run.json"]
    _run("memory://bucket/in", "-o", "memory://bucket/out", *options)
    assert list(store.find("/bucket/out")) == [
        "/bucket/out/a.csv", "/bucket/out/c.jsonl", "/bucket/out/deep/b.csv",
    ]  # fmt: skip
    bad = store.cat_file("/bucket/bad.csv").decode().splitlines()
    assert [line.partition(",")[0] for line in bad] == [
        "file",
        "memory://bucket/in/a.csv",
        "memory://bucket/in/deep/b.csv",
    ]
    run = json.loads(store.cat_file("/bucket/run.json"))
    sizes = {one["output"]: one["output_bytes"] for one in run["files"]}
    assert sizes["memory://bucket/out/c.jsonl"] == store.size("/bucket/out/c.jsonl")
    _run("memory://bucket/in/**/*.csv", "-o", tmp_path / "here", "--on-error", "skip", "--shard", "2/2")
    assert [str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*.csv")] == ["here/deep/b.csv"]


def test_an_interrupted_run_leaves_no_object_and_is_continued(store: MemoryFileSystem, tmp_path: Path) -> None:
    store.pipe_file("/bucket/in.csv", ROWS.encode() + b"x,y,z\n")
    command = [
        "memory://bucket/in.csv", "-o", "memory://bucket/out.csv", "--on-error", "skip", "--rejects",
        "memory://bucket/bad.csv", "--state-dir", tmp_path,
    ]  # fmt: skip
    _run(*command)
    whole, bad = store.cat_file("/bucket/out.csv"), store.cat_file("/bucket/bad.csv")
    store.rm(["/bucket/out.csv", "/bucket/bad.csv"])
    with pytest.MonkeyPatch.context() as patch:
        _fails_after(patch, 5, MachineError("the connection is lost"))
        assert "12 rows of memory://bucket/out.csv are done. The same command with --resume" in str(_refused(*command))
    assert store.find("/bucket") == ["/bucket/in.csv"]
    assert "--resume needs a folder of this machine" in str(_refused(*command[:-2], "--resume"))
    store.pipe_file("/bucket/out.csv", b"other")
    assert "already exists" in str(_refused(*command, "--resume"))
    store.rm("/bucket/out.csv")
    texts: list[str] = []
    score = stub_classifier.StubClassifier.score
    with pytest.MonkeyPatch.context() as patch:  # all is scored, and the upload fails
        patch.setattr(
            stub_classifier.StubClassifier, "score", lambda self, batch: texts.extend(batch) or score(self, batch)
        )
        patch.setattr(MemoryFileSystem, "put_file", _no_connection)
        error = _refused(*command, "--resume")
        assert isinstance(error, MachineError) and "cannot write memory://bucket/out.csv: the host is gone" in str(
            error
        )
        assert len(texts) == 40 + 1 - 12
    assert store.find("/bucket") == ["/bucket/in.csv"]
    with pytest.MonkeyPatch.context() as patch:
        _fails_after(patch, 0, AssertionError("scored again"))
        _run(*command, "--resume")
    assert (store.cat_file("/bucket/out.csv"), store.cat_file("/bucket/bad.csv")) == (whole, bad)
    assert list(tmp_path.iterdir()) == []
    assert "already exists" in str(_refused(*command))
    _run(*command, "--force")
    with pytest.MonkeyPatch.context() as patch:  # without a state, the complete output is kept
        patch.setattr(MemoryFileSystem, "put_file", _no_connection)
        patch.setattr("tempfile.tempdir", str(tmp_path))
        message = str(_refused("memory://bucket/in.csv", "-o", "memory://bucket/new.csv", "--on-error", "skip"))
    (kept,) = tmp_path.rglob("*.part")
    assert f"The complete output is {kept}." in message and kept.read_bytes() == whole


def _no_connection(*_: Any, **__: Any) -> None:
    raise OSError("the host is gone")


def test_a_lost_connection_is_no_damaged_file(store: MemoryFileSystem, tmp_path: Path) -> None:
    store.pipe_file("/bucket/in.csv", b"text\n" + (b"a fine day " * 900 + b"\n") * 300)
    out, state = tmp_path / "out.csv", tmp_path / "out.csv.part"
    reads = itertools.count()

    class Broken(type(store.open("/bucket/in.csv"))):  # type: ignore[misc]
        def read(self, size: int = -1) -> bytes:
            if next(reads) == 2:
                raise TimeoutError
            return bytes(super().read(size))

    with pytest.MonkeyPatch.context() as patch:
        content = store.cat_file("/bucket/in.csv")
        patch.setattr(MemoryFileSystem, "_open", lambda self, path, *_, **__: Broken(self, path, content))
        error = _refused("memory://bucket/in.csv", "-o", out, "--on-error", "skip", "--checkpoint-rows", "100")
    assert isinstance(error, MachineError) and state.exists() and not out.exists()
    assert "cannot read memory://bucket/in.csv after 1,048,576 bytes: TimeoutError" in str(error)
    _run("memory://bucket/in.csv", "-o", out, "--on-error", "skip", "--checkpoint-rows", "100", "--resume")
    assert out.read_bytes().count(b"\n") == 301


class Buckets(MemoryFileSystem):
    """Buckets as in S3: an upload begins with a request, and the object appears when that is committed."""

    protocol = "s3"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    #: folders where nothing may be written, and where nothing may be read or listed
    read_only: ClassVar[tuple[str, ...]] = ()
    write_only: ClassVar[tuple[str, ...]] = ()
    #: uploads that are neither committed nor given up
    begun: ClassVar[set[object]] = set()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("s3:/")))

    def _begin(self, path: str) -> None:
        if not path.startswith("/bucket/"):
            raise FileNotFoundError("NoSuchBucket")
        if path.startswith(self.read_only):
            raise PermissionError("AccessDenied")

    def info(self, path: str, **options: Any) -> Any:
        if self._strip_protocol(path).startswith(self.write_only):
            raise PermissionError("Forbidden")
        return super().info(path, **options)

    def _open(self, path: str, mode: str = "rb", *_: Any, autocommit: bool = True, **__: Any) -> Any:
        return _Upload(self, path) if mode == "wb" else super()._open(path, mode)

    def put_file(self, lpath: str, rpath: str, *_: Any, **__: Any) -> None:
        self._begin(self._strip_protocol(rpath))
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def pipe_file(self, path: str, value: bytes, *_: Any, **__: Any) -> None:
        with super()._open(self._strip_protocol(path), "wb") as file:
            file.write(value)


class _Upload:
    def __init__(self, store: Buckets, path: str) -> None:
        self._store, self._path = store, path

    def close(self) -> None:
        self._store._begin(self._path)
        Buckets.begun.add(self)

    def discard(self) -> None:
        Buckets.begun.discard(self)


@pytest.fixture
def buckets() -> Iterator[Buckets]:
    fsspec.register_implementation("s3", Buckets, clobber=True)
    yield Buckets()
    Buckets.store.clear()


@pytest.mark.parametrize("place", ["s3://none", "s3://bucket/locked"])
def test_what_cannot_be_written_is_refused_before_a_row_is_scored(
    store: MemoryFileSystem, buckets: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(Buckets, "read_only", ("/bucket/locked/",))
    _fails_after(monkeypatch, 0, AssertionError("scored"))
    for name in ("in/a.csv", "in/b.csv"):
        store.pipe_file(f"/bucket/{name}", ROWS.encode())
    one, rejects = "memory://bucket/in/a.csv", ["--on-error", "skip", "--rejects"]
    reason = "there is no such file, folder or bucket" if place == "s3://none" else "access denied"
    for arguments, output in (
        ([one, "-o", f"{place}/out.csv"], f"{place}/out.csv"),
        ([one, "-o", f"{place}/out.csv", "--force"], f"{place}/out.csv"),
        ([one, "-o", f"{place}/out.csv", "--resume", "--state-dir", str(tmp_path)], f"{place}/out.csv"),
        (["memory://bucket/in", "-o", f"{place}/out"], f"{place}/out/a.csv"),
        ([one, "-o", "s3://bucket/out.csv", *rejects, f"{place}/bad.csv"], f"{place}/bad.csv"),
        ([one, "-o", "s3://bucket/out.csv", "--manifest", f"{place}/run.json"], f"{place}/run.json"),
    ):
        error = _refused(*arguments)
        assert isinstance(error, InputError) and str(error).startswith(f"cannot write {output}: {reason}")
        assert len(str(error).splitlines()) <= 2
    assert not buckets.store and not Buckets.begun and not list(tmp_path.iterdir())


def test_who_may_only_write_uses_force(store: MemoryFileSystem, buckets: Buckets, monkeypatch: Any) -> None:
    monkeypatch.setattr(Buckets, "write_only", ("/bucket/",))
    store.pipe_file("/bucket/in/a.csv", ROWS.encode())
    store.pipe_file("/bucket/in/b.csv", b"text\na\nb,c\n")
    command = [
        "memory://bucket/in", "-o", "s3://bucket/out", "--on-error", "skip", "--rejects", "s3://bucket/bad.csv",
        "--manifest", "s3://bucket/run.json",
    ]  # fmt: skip
    error = _refused(*command)
    assert str(error).startswith("cannot find out whether s3://bucket/") and "--force" in str(error)
    assert not buckets.store
    _run(*command, "--force")
    assert sorted(buckets.store) == ["/bucket/bad.csv", "/bucket/out/a.csv", "/bucket/out/b.csv", "/bucket/run.json"]
    assert not Buckets.begun


def test_what_is_refused_is_one_line(store: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.pipe_file("/bucket/in.csv", ROWS.encode())
    out = tmp_path / "out.csv"
    assert "there is no such file, folder or bucket" in str(_refused("memory://no/in.csv", "-o", out))
    assert "no file matches memory://bucket/*.jsonl" in str(_refused("memory://bucket/*.jsonl", "-o", tmp_path))
    for url, message in (
        ("nowhere://bucket/in.csv", "cannot read nowhere://bucket/in.csv: Protocol not known: nowhere"),
        ("dropbox://in.csv", "cannot read dropbox://in.csv: DropboxFileSystem requires"),
    ):
        assert isinstance(error := _refused(url, "-o", out), MachineError) and str(error).startswith(message)
        assert len(str(error).splitlines()) <= 2
    error = _refused("memory://bucket/in.csv", "-o", "memory://bucket/out.csv", "--shard", "1/2")
    assert "the shards of a single file are not written to memory://bucket/out" in str(error)
    assert "--engine ray works on files" in str(_refused("memory://bucket/in.csv", "-o", out, "--engine", "ray"))

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError("Forbidden")

    monkeypatch.setattr(MemoryFileSystem, "info", denied)
    assert isinstance(error := _refused("memory://bucket/in.csv", "-o", out), InputError)
    assert "cannot read memory://bucket/in.csv: access denied\n" in str(error)
    assert list(tmp_path.iterdir()) == []
