"""Names of outputs that are refused, as rows would be lost or be in a file of another format than its name says."""

from __future__ import annotations

from pathlib import Path

import pytest
import stub_classifier
from click.testing import CliRunner

from toxonnx.cli import group


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    stub_classifier.install(monkeypatch.setattr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "in.csv", "--force", "--on-error", "skip"], "in.csv would replace the file that is read"),
        (["-o", "link.csv", "--force"], "link.csv would replace the file that is read"),
        (["-o", "./in.csv"], "in.csv would replace the file that is read"),
        (["-o", ".", "--force"], "in.csv would replace a file that is read"),
        (["-o", "out.xlsx"], "out.xlsx: toxonnx does not write .xlsx files"),
        (["-o", "out.csv.bz2"], "out.csv.bz2: toxonnx does not write .bz2 files"),
        (["-o", "out.JSON.gz"], "out.JSON.gz: toxonnx does not write .json files"),
        (["-o", "out.csv", "--state-dir", "state"], "--state-dir is for outputs that are URLs"),
    ],
)
def test_an_output_that_would_lose_rows_or_be_misread_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text('text\nhello\n"open\n')
    Path("link.csv").symlink_to("in.csv")
    before = Path("in.csv").read_bytes()
    done = CliRunner().invoke(group, ["predict", "in.csv", *arguments], standalone_mode=False)
    assert getattr(done.exception, "exit_code", None) == 2 and message in str(done.exception), done.exception
    assert Path("in.csv").read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in.csv", "link.csv"]


def test_an_output_that_ends_in_a_slash_is_a_folder_that_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("text\nhello\n")
    for output, written in (("new/", "new/in.csv"), ("new/deeper/", "new/deeper/in.csv"), ("plain", "plain")):
        done = CliRunner().invoke(group, ["predict", "in.csv", "-o", output], standalone_mode=False)
        assert done.exit_code == 0 and "hello" in Path(written).read_text(), done.exception
    for arguments, message in (
        (["in.csv", "-o", "plain/"], "plain is not a folder"),
        (["-", "-o", "other/"], "standard input has no name below a folder"),
        (["in.csv", "-o", "new/"], "new/in.csv already exists"),
    ):
        done = CliRunner().invoke(group, ["predict", *arguments], standalone_mode=False)
        assert message in str(done.exception)


def test_a_format_that_is_named_may_have_any_suffix(tmp_path: Path) -> None:
    data = tmp_path / "in.csv"
    data.write_text("text\nhello\n")
    for name, options in (("out.json", ["--output-format", "jsonl"]), ("out.txt", []), ("out", [])):
        arguments = ["predict", str(data), "-o", str(tmp_path / name), *options]
        done = CliRunner().invoke(group, arguments, standalone_mode=False)
        assert done.exit_code == 0 and (tmp_path / name).read_text().count("hello") == 1, done.exception
