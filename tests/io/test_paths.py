"""Files, patterns and folders in, one folder out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toxonnx.errors import InputError
from toxonnx.io.input_file import STDIN
from toxonnx.io.paths import Job, plan_jobs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    names = (
        "a.csv", "logs/b.csv", "logs/c.tsv.gz", "logs/2024/b.csv", "logs/2025/b.jsonl.zst", "logs/2025/notes.txt.gz",
        "logs/README.md", "logs/part-0", "logs/.hidden.csv", "logs/_temporary/d.csv", "odd[1].csv",
    )  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _plan(*inputs: str, output: str | None = "out", **options: str) -> dict[str, str]:
    """Output below the folder -> input."""
    jobs = plan_jobs([Path(name) for name in inputs], Path(output) if output else None, **options)  # type: ignore[arg-type]
    return {str(job.output and job.output.relative_to("out")): str(job.input) for job in jobs}


def test_a_single_file_goes_where_the_option_says(folder: Path) -> None:
    for output in (None, Path("a.jsonl"), Path("out")):
        assert plan_jobs([Path("a.csv")], output) == [Job(Path("a.csv"), output)]
    assert plan_jobs([STDIN], None) == [Job(STDIN, None)]
    assert plan_jobs([Path("odd[1].csv")], Path("o.csv")) == [Job(Path("odd[1].csv"), Path("o.csv"))]
    Path("out").mkdir()
    assert _plan("a.csv") == {"a.csv": "a.csv"}


def test_several_files_keep_their_names(folder: Path) -> None:
    assert _plan("a.csv", "logs/b.csv") == {"a.csv": "a.csv", "b.csv": "logs/b.csv"}
    assert _plan("logs/*.csv") == {"b.csv": "logs/b.csv"}
    assert _plan("logs/*/b.*") == {"2024/b.csv": "logs/2024/b.csv", "2025/b.jsonl.zst": "logs/2025/b.jsonl.zst"}
    assert _plan("logs/**/b.csv") == {"b.csv": "logs/b.csv", "2024/b.csv": "logs/2024/b.csv"}
    assert _plan("logs", "a.csv") == {
        "2024/b.csv": "logs/2024/b.csv", "2025/b.jsonl.zst": "logs/2025/b.jsonl.zst",
        "2025/notes.csv.gz": "logs/2025/notes.txt.gz", "b.csv": "logs/b.csv", "c.tsv.gz": "logs/c.tsv.gz",
        "a.csv": "a.csv",
    }  # fmt: skip


def test_a_pipe_is_an_input_only_by_itself(folder: Path) -> None:
    os.mkfifo("pipe.csv")
    assert _plan("pipe.csv", output=None) == {"None": "pipe.csv"}
    for others in (["a.csv", "pipe.csv"], ["."]):
        with pytest.raises(InputError) as caught:
            _plan(*others)
        assert str(caught.value).endswith("is a pipe, which can only be read once\nScore it by itself, with -o FILE.")


def test_names_follow_the_format(folder: Path) -> None:
    assert _plan("a.csv", "logs/c.tsv.gz", wanted_format="jsonl") == {"a.jsonl": "a.csv", "c.jsonl.gz": "logs/c.tsv.gz"}
    assert set(_plan("a.csv", "logs/c.tsv.gz", wanted_format="parquet")) == {"a.parquet", "c.parquet"}
    assert set(_plan("a.csv", "logs/part-0", input_format="jsonl")) == {"a.jsonl", "part-0"}
    assert set(_plan("a.csv", "logs/part-0", input_format="text")) == {"a.csv", "part-0.csv"}
    assert {"part-0", "README.md"} < set(_plan("logs/", input_format="csv"))


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["a.csv", "logs/b.csv"], None, "several files need a folder to be written to\nName it with -o FOLDER."),
        (["logs/*.csv"], None, "several files need a folder"),
        (["a.csv", "logs"], "a.csv", "a.csv is not a folder"),
        (["a.csv", "-"], "out", "standard input has no name"),
        (["logs/2024/b.csv", "logs/b.csv"], "out", "logs/2024/b.csv and logs/b.csv would both be written to out/b.csv"),
        (["a.csv", "a.csv"], "out", "a.csv and a.csv would both be written to"),
        (["logs"], "logs/out", "the output folder logs/out is inside logs"),
        (["logs/**/b.csv"], "logs/2026/out", "the output folder logs/2026/out is inside logs, which is read"),
        (["**/b.csv"], "out", "the output folder out is inside ., which is read"),
        (["logs"], "logs", "is inside logs, which is read"),
        (["logs/*.tsv"], "out", "no file matches logs/*.tsv"),
        (["logs/2024", "a.csv"], ".", "would replace a file that is read"),
        (["logs/2023"], "out", "logs/2023 has no files to score"),
        (["a.csv", "logs/b.csv"], "taken", "taken/b.csv already exists\nAdd --force"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_scored(
    folder: Path, inputs: list[str], output: str | None, message: str
) -> None:
    Path("logs/2023").mkdir()
    Path("taken").mkdir()
    Path("taken/b.csv").write_text("precious")
    with pytest.raises(InputError) as caught:
        plan_jobs([Path(name) for name in inputs], Path(output) if output else None)
    assert message in str(caught.value)
