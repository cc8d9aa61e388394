"""Source to scorer to sink: every row of a file scored and written back, in any format."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.inference.scores import Scores, StreamScorer
from toxonnx.io.base import Sink, Source
from toxonnx.io.rejects import Rejected, Rejects, with_rejected
from toxonnx.texts import TextSpec

__all__ = ["Summary", "predict"]

#: stands for no label in the counts of a multi-label model
NO_LABEL = "(none)"


@dataclass
class Summary:
    """Counts over the rows that were read.

    Attributes:
        rows: rows scored.
        rejected: rows that could not be scored, by :class:`toxonnx.io.rejects.ErrorType`.
        position: the last record's ``end_position``.
        seconds: since the start.
        truncated: rows whose text was truncated to the maximum length.
        no_tokens: rows whose text has no token that the model knows, scored as an empty text.
        repaired: rows in whose text lone surrogates were replaced.
        cached: rows that reused the scores of an identical text.
        review: rows marked for review.
        labels: rows with each label.
    """

    rows: int = 0
    position: int = 0
    seconds: float = 0.0
    truncated: int = 0
    no_tokens: int = 0
    repaired: int = 0
    cached: int = 0
    review: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    def add(self, other: Summary) -> None:
        """Adds the counts of another file, and takes its position."""
        for one in fields(self):
            if one.name != "position":
                setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        self.position = other.position


def predict(
    scorer: StreamScorer,
    source: Source[Any],
    sink: Sink[Any],
    text: TextSpec,
    columns: Sequence[str],
    *,
    rejects: Rejects | None = None,
    progress: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Scores each row of a source and hands it to a sink.

    Args:
        scorer: applies its own normalisation.
        source: the rows.
        sink: gets every record, in order.
        text: how the values of a row become one text.
        columns: the columns that hold these values.
        rejects: where rows go that cannot be scored; the source must have been opened with ``yield_rejected``. When
            None, they are errors.
        progress: called with the summary so far, after each group of rows.

    Returns:
        Counts over all rows.

    Raises:
        InputError: a row cannot be read, or with ``rejects``, too many cannot; those before it have been written.
    """
    started = time.perf_counter()
    summary = Summary()
    values = source.value_getter(columns)

    def text_of(record: Any) -> str:
        row = values(record)
        return "" if row is None else text.join(row)

    def text_if_any(record: Any) -> str:
        return "" if isinstance(record, Rejected) else text_of(record)

    items, get_text = (source, text_of) if rejects is None else (with_rejected(source, values), text_if_any)
    with contextlib.closing(scorer.score_batches(items, get_text)) as batches:
        for records, scores in batches:
            summary.position = records[-1].end_position
            if rejects is None:
                sink.write(records, scores)
            else:
                rejected = [record for record in records if isinstance(record, Rejected)]
                summary.rejected.update(str(one.error_type) for one in rejected)
                for one in rejected:
                    rejects.add(source.name, one)
                records, scores = _write(sink, records, scores, keep=rejects.keep)
            _count(summary, np.array([values(record) is not None for record in records], np.bool_), scores)
            summary.seconds = time.perf_counter() - started
            progress(summary)
    return summary


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
    summary.review += int((scores.needs_review & is_row).sum())
    decisions = scores.decisions[is_row]
    counts = dict(zip(scores.labels.names, decisions.sum(axis=0).tolist(), strict=True))
    counts[NO_LABEL] = int((~decisions.any(axis=1)).sum())
    summary.labels.update({name: count for name, count in counts.items() if count})
