"""Source to scorer to sink: every row of a file scored and written back, in any format."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.inference.scores import Scores, StreamScorer
from toxonnx.io.base import Position, Sink, Source
from toxonnx.io.journal import Checkpoint, Journal, Stage
from toxonnx.io.rejects import Rejected, Rejects, with_rejected
from toxonnx.io.shards import ShardRange, records_before
from toxonnx.io.summary import Summary
from toxonnx.texts import TextSpec

__all__ = ["Summary", "predict"]

#: stands for no label in the counts of a multi-label model
NO_LABEL = "(none)"


def predict(
    scorer: StreamScorer,
    source: Source[Any],
    sink: Sink[Any],
    text: TextSpec,
    columns: Sequence[str],
    *,
    rejects: Rejects | None = None,
    checkpoint_rows: int | None = None,
    journal: Journal | None = None,
    shard: ShardRange | None = None,
    progress: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Scores each row of a source and hands it to a sink.

    Args:
        scorer: applies its own normalisation.
        source: the rows; with a ``journal``, at the position of its checkpoint.
        sink: gets every record, in order.
        text: how the values of a row become one text.
        columns: the columns that hold these values.
        rejects: where rows go that cannot be scored; the source must have been opened with ``yield_rejected``. When
            None, they are errors.
        checkpoint_rows: records between two checkpoints of the sink; None has only one, at the end.
        journal: where these are recorded, so that another process can continue. Counts start where its last one ends.
        shard: the records to score; the source must be at its start, or at the position of the ``journal``. All when
            None.
        progress: called with the summary so far, after each group of rows.

    Returns:
        Counts over all rows, also those of earlier processes.

    Raises:
        InputError: a row cannot be read, or with ``rejects``, too many cannot; those before it have been written.
    """
    values = source.value_getter(columns)

    def text_of(record: Any) -> str:
        row = values(record)
        return "" if row is None else text.join(row)

    def text_if_any(record: Any) -> str:
        return "" if isinstance(record, Rejected) else text_of(record)

    last = journal.checkpoint if journal is not None else None
    if last is not None and last.stage is not Stage.SCORING:
        return last.summary
    start = last.position if last is not None else (shard and shard.start) or Position(0, 1)
    output = _Output(source, sink, values, rejects, checkpoint_rows, journal)
    output.position = start
    items, get_text = (iter(source), text_of) if rejects is None else (with_rejected(source, values), text_if_any)
    if shard is not None and shard.end is not None:
        items = records_before(items, start, shard.end)
    with contextlib.closing(scorer.score_batches(items, get_text)) as batches:
        for records, scores in batches:
            output.write(records, scores)
            progress(output.summary)
    output.finish()
    return output.summary


class _Output:
    """Writes what is scored, counts it, and sees to the checkpoints."""

    def __init__(
        self,
        source: Source[Any],
        sink: Sink[Any],
        values: Callable[[Any], Any],
        rejects: Rejects | None,
        checkpoint_rows: int | None,
        journal: Journal | None,
    ) -> None:
        self._source, self._sink, self._values, self._rejects = source, sink, values, rejects
        self._checkpoint_rows, self._journal = checkpoint_rows, journal
        before = journal.checkpoint if journal is not None else None
        self.summary = before.summary.copy() if before else Summary()
        self.position = before.position if before else Position(0, 1)
        self._started = time.perf_counter() - self.summary.seconds
        self._since = 0  # records since the last checkpoint

    def write(self, records: list[Any], scores: Scores) -> None:
        """Writes a batch. Checkpoints follow certain records, not batches: the output's bytes may depend on them."""
        start = 0
        for end in self._checkpoint_places(records):
            self._write(records[start:end], scores.part(start, end))
            self._checkpoint(Stage.SCORING)
            start = end
        if start == 0:
            self._write(records, scores)
        elif start < len(records):
            self._write(records[start:], scores.part(start, len(records)))

    def finish(self) -> None:
        """Puts the rest on the disk."""
        self._checkpoint(Stage.SCORED)

    def _checkpoint_places(self, records: list[Any]) -> Iterator[int]:
        """How many records precede each checkpoint among them."""
        if self._checkpoint_rows is None:
            return
        place = max(0, self._checkpoint_rows - self._since - 1)
        while place < len(records):
            if self._source.can_continue_after(records[place]):
                yield place + 1
                place += self._checkpoint_rows
            else:
                place += 1

    def _checkpoint(self, stage: Stage) -> None:
        size = self._sink.checkpoint()
        rejects_size = self._rejects.checkpoint() if self._rejects is not None and self._journal is not None else 0
        self.summary.seconds = time.perf_counter() - self._started
        self._since = 0
        if self._journal is not None:
            self._journal.append(
                Checkpoint(
                    position=self.position,
                    size=size,
                    rejects_size=rejects_size,
                    summary=self.summary.copy(),
                    stage=stage,
                )
            )

    def _write(self, records: list[Any], scores: Scores) -> None:
        rejects, summary = self._rejects, self.summary
        last = records[-1]
        summary.position, self.position = last.end_position, self._source.position_after(last)
        self._since += len(records)
        if rejects is None:
            self._sink.write(records, scores)
        else:
            rejected = [record for record in records if isinstance(record, Rejected)]
            summary.rejected.update(str(one.error_type) for one in rejected)
            for one in rejected:
                rejects.add(self._source.name, one, self._source.unit)
            records, scores = _write(self._sink, records, scores, keep=rejects.keep)
        is_row = np.array([self._values(record) is not None for record in records], np.bool_)
        _count(summary, is_row, scores)
        summary.seconds = time.perf_counter() - self._started


def _write(sink: Sink[Any], records: list[Any], scores: Scores, *, keep: bool) -> tuple[list[Any], Scores]:
    """Writes records of which some are rejected, and returns the others, with their scores."""
    is_scored = [not isinstance(record, Rejected) for record in records]
    if all(is_scored):
        sink.write(records, scores)
        return records, scores
    scored, their_scores = list(compress(records, is_scored)), scores.take(is_scored)
    if keep:
        is_written = [not isinstance(record, Rejected) or record.is_row for record in records]
        written = list(compress(records, is_written))
        errors = [record.message if isinstance(record, Rejected) else None for record in written]
        sink.write(written, scores.take(is_written), errors)
    else:
        sink.write(scored, their_scores)
    return scored, their_scores


def _count(summary: Summary, is_row: NDArray[np.bool_], scores: Scores) -> None:
    """Adds rows to a summary; the records that are no rows are blank lines."""
    summary.rows += int(is_row.sum())
    summary.truncated += int((scores.truncated & is_row).sum())
    summary.no_tokens += int((scores.no_tokens & is_row).sum())
    summary.repaired += int((scores.repaired & is_row).sum())
    summary.cached += int((scores.cached & is_row).sum())
    summary.early += int((scores.early & is_row).sum())
    summary.review += int((scores.needs_review & is_row).sum())
    decisions = scores.decisions[is_row]
    counts = dict(zip(scores.labels.names, decisions.sum(axis=0).tolist(), strict=True))
    counts[NO_LABEL] = int((~decisions.any(axis=1)).sum())
    summary.labels.update({name: count for name, count in counts.items() if count})
