"""Whatever a crash leaves of a journal, and beyond its last checkpoint, the output has the same bytes in the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from length_scorer import LABELS, LengthScorer

from toxonnx.io.base import ReadOptions, WriteOptions, open_sink, open_source
from toxonnx.io.journal import Identity, InputIdentity, Journal, Stage, read_state, remove_state
from toxonnx.io.output_columns import OutputColumns
from toxonnx.io.rejects import Rejects
from toxonnx.predict import predict
from toxonnx.texts import TextSpec

ROWS = [f"{'long ' * (i % 4)}day,{i}" for i in range(40)]
# An open quote takes the lines below it into account, so that no checkpoint may be among these.
ROWS[7:7] = ["bad", '"open,1', '"two\nlines",2', "", "x"]


class Crash(BaseException):
    """The end of the process."""


class CrashingScorer(LengthScorer):
    def __init__(self, batches: int) -> None:
        self.batches = batches

    def score_batches(self, items: Any, text: Any) -> Iterator[Any]:  # type: ignore[override]
        for number, batch in enumerate(super().score_batches(items, text)):
            if number == self.batches:
                raise Crash
            yield batch


def _run(path: Path, output: Path, every: int, batches: int = 1000) -> None:
    """Scores what is not done yet, up to a crash."""
    identity = Identity(InputIdentity.of(path), "bundle", "0" * 64, {})
    state = read_state(output)
    checkpoint = state.checkpoint if state else None
    options = ReadOptions(yield_rejected=True)
    rejects_file = output.with_name("rejects.csv")
    with (
        Journal(output, identity, checkpoint) as journal,
        Rejects(rejects_file, keep=True, size=checkpoint.rejects_size if checkpoint else 0) as rejects,
        open_source(path, options) as source,
    ):
        if checkpoint and checkpoint.stage is Stage.SCORING:
            source.seek(checkpoint.position)
        if not checkpoint or checkpoint.stage is not Stage.COMPLETE:
            columns = OutputColumns(("label", "probabilities", "error"), LABELS.names)
            with open_sink(output, source, columns, WriteOptions(partial=journal.partial)) as sink:
                predict(
                    CrashingScorer(batches), source, sink, TextSpec(), ["text"],
                    rejects=rejects, checkpoint_rows=every, journal=journal,
                )  # fmt: skip
        journal.give_name(force=False)
    remove_state(output)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    names=st.sampled_from(
        [("in.csv", "out.csv"), ("in.csv", "out.csv.gz"), ("in.csv", "out.parquet"), ("in.parquet", "out.parquet")]
    ),
    every=st.integers(1, 15),
    crashes=st.lists(st.tuples(st.integers(0, 12), st.floats(0, 1), st.binary(max_size=20)), min_size=1, max_size=4),
)
def test_the_same_bytes_after_any_crash(
    tmp_path: Path, names: tuple[str, str], every: int, crashes: list[tuple[int, float, bytes]]
) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    path, output = (tmp_path / name for name in names)
    if path.suffix == ".csv":
        path.write_text("text,n\n" + "\n".join(ROWS))
    else:
        texts = [None if i == 9 else row for i, row in enumerate(ROWS)]
        pq.write_table(pa.table({"text": pa.array(texts).dictionary_encode()}), path, row_group_size=11)
    listed = tmp_path / "rejects.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        _run(path, output, every)
        expected, expected_list = output.read_bytes(), listed.read_bytes()
        output.unlink()
        listed.unlink()
        for batches, share, garbage in crashes:
            try:
                _run(path, output, every, batches)
            except Crash:
                journal = tmp_path / f"{output.name}.part" / "journal.jsonl"
                if journal.exists():
                    content = journal.read_bytes()
                    header = content.index(b"\n") + 1
                    journal.write_bytes(content[: header + round(share * (len(content) - header))] + garbage)
                    for partial in journal.parent.iterdir():
                        if partial != journal:
                            partial.write_bytes(partial.read_bytes() + garbage)
            else:
                break
        else:
            _run(path, output, every)
    assert output.read_bytes() == expected and listed.read_bytes() == expected_list
    assert {one.name for one in tmp_path.iterdir()} == {path.name, output.name, "rejects.csv"}
