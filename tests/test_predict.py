"""Source to scorer to sink, without any file format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from length_scorer import LengthScorer

from toxonnx.inference.scores import Scores
from toxonnx.io.base import Position
from toxonnx.predict import predict
from toxonnx.texts import TextSpec


class MemoryRecord(NamedTuple):
    line: int
    end_position: int
    values: list[str] | None


class MemorySource:
    """Rows in memory; None is a record that is not a row."""

    path, columns, columns_hint, size = Path("memory"), ["query", "image"], "", None

    def __init__(self, rows: Sequence[list[str] | None]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[MemoryRecord]:
        return (MemoryRecord(i + 1, i + 1, row) for i, row in enumerate(self.rows))

    def value_getter(self, columns: Sequence[str]) -> Callable[[MemoryRecord], list[str] | None]:
        indices = [self.columns.index(name) for name in columns]
        return lambda record: None if record.values is None else [record.values[i] for i in indices]

    def can_continue_after(self, record: MemoryRecord) -> bool:
        return record.line % 5 != 4

    def position_after(self, record: MemoryRecord) -> Position:
        return Position(record.end_position, record.line + 1)

    def bytes_done(self, position: int) -> float:
        return 0.0

    def __enter__(self) -> MemorySource:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class MemorySink:
    def __init__(self) -> None:
        self.written: list[tuple[MemoryRecord, float]] = []
        self.checkpoints: list[int] = []

    def write(self, records: Sequence[MemoryRecord], scores: Scores) -> None:
        self.written += zip(records, scores.logits[:, 1].tolist(), strict=True)

    def checkpoint(self) -> int:
        self.checkpoints.append(len(self.written))
        return 0

    def __enter__(self) -> MemorySink:
        return self

    def __exit__(self, *_: object) -> None:
        pass


ROWS = st.lists(st.none() | st.tuples(st.text("ab ", max_size=6), st.text("ab ", max_size=6)).map(list), max_size=20)


@given(rows=ROWS, columns=st.sampled_from([["query"], ["image"], ["query", "image"]]), every=st.integers(1, 7))
def test_every_row_is_scored_once_and_in_order(rows: list[list[str] | None], columns: list[str], every: int) -> None:
    source, sink = MemorySource(rows), MemorySink()
    spec = TextSpec(("query", "image"), "{query}|{image}")
    summary = predict(LengthScorer(), source, sink, spec, columns, checkpoint_rows=every)
    get = source.value_getter(columns)
    texts = [None if (row := get(record)) is None else row for record in source]
    joined = ["" if row is None else "|".join(row) for row in texts]
    assert [record.line for record, _ in sink.written] == list(range(1, len(rows) + 1))
    assert [length for _, length in sink.written] == [len(text) for text in joined]
    real = [text for text, row in zip(joined, texts, strict=True) if row is not None]
    assert summary.rows == len(real) == sum(summary.labels.values())
    assert summary.labels["rude"] == sum(len(text) > 5 for text in real)
    assert summary.truncated == sum(len(text) > 8 for text in real)
    assert summary.no_tokens == sum(len(text) < 2 for text in real)
    assert summary.position == len(rows)
    # After every so many rows, or the next one after which reading can continue; and at the end.
    place, places = every, []
    while place <= len(rows):
        place += place % 5 == 4
        places += [place] * (place <= len(rows))
        place += every
    assert sink.checkpoints == [*places, len(rows)]
