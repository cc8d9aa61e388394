"""Plain text: one row per line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toxonnx.errors import InputError
from toxonnx.inference.scores import Scores
from toxonnx.io.base import ReadOptions, ReadWarning, WriteOptions, open_sink, open_source
from toxonnx.io.formats import FORMATS
from toxonnx.io.output_columns import OutputColumns
from toxonnx.labels import Labels

LABELS = Labels(("x",), "sigmoid")
LINES = st.text(st.characters(blacklist_characters="\0\n", blacklist_categories=["Cs"]), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(
    lines=st.lists(LINES.map(lambda line: line.removesuffix("\r")), min_size=1, max_size=8),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    cut=st.integers(0, 7),
)
@pytest.mark.filterwarnings("ignore")
def test_every_line_is_a_row_and_can_be_continued_after(
    tmp_path: Path, lines: list[str], end: str, encoding: str, cut: int
) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes("".join(line + end for line in ["start", *lines]).encode(encoding))
    options = ReadOptions(encoding, format="text")
    with open_source(path, options) as source:
        records = list(source)
    assert [record.text for record in records] == ["start", *lines]
    assert [record.line for record in records] == list(range(1, len(lines) + 2))
    cut = min(cut, len(lines))
    with open_source(path, options) as source:
        source.seek(source.position_after(records[cut]))
        assert list(source) == records[cut + 1 :]


def test_lines_become_tables(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text('a "fine", day\n\n{"json": 1}\rb\n', newline="")
    scores = Scores.of(LABELS, np.zeros((3, 1), np.float32))
    columns = OutputColumns(("score",), LABELS.names)
    written = {}
    for name, options in (("out.txt", None), ("out.tsv", None), ("out", WriteOptions("jsonl"))):
        with open_source(path) as source, open_sink(tmp_path / name, source, columns, options) as sink:
            sink.write(list(source), scores)
        written[name] = (tmp_path / name).read_bytes().decode()
    rows = [['a "fine", day', "0.500000"], ["", "0.500000"], ['{"json": 1}\rb', "0.500000"]]
    assert list(csv.reader(io.StringIO(written["out.txt"], ""))) == [["text", "score"], *rows]
    assert list(csv.reader(io.StringIO(written["out.tsv"], ""), delimiter="\t")) == [["text", "score"], *rows]
    assert [json.loads(line)["text"] for line in written["out"].splitlines()] == [row[0] for row in rows]


def test_a_table_and_other_files_are_not_texts(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("id\ttext\n1\ta\n")
    with pytest.warns(ReadWarning, match="looks like the header of a table"), open_source(path):
        pass
    path.write_bytes(b"%PDF-1.7\n")
    with pytest.raises(InputError, match="is a PDF document"):
        open_source(path)
    path.write_text('{"text": "a"}\n')
    with open_source(path) as source:  # a text may look like this
        assert source.format == "text"


def test_a_format_is_its_module_and_its_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reversed_text.py").write_text(
        "from toxonnx.io.text import TextSource\n"
        "class Reversed(TextSource):\n"
        "    def __iter__(self):\n"
        "        return (record._replace(text=record.text[::-1]) for record in super().__iter__())\n"
        "open_source = Reversed\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(FORMATS, "reversed", FORMATS["text"]._replace(module="reversed_text", suffixes=(".rev",)))
    (tmp_path / "in.rev.gz").write_bytes(__import__("gzip").compress(b"abc\n"))
    with open_source(tmp_path / "in.rev.gz") as source:
        assert [source.value_getter(["text"])(record) for record in source] == [["cba"]]
