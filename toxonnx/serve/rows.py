"""Texts on their way through the model, and the order in which they get there."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["PendingRequest", "Row", "WaitingRows"]


@dataclass(eq=False, kw_only=True)
class Row:
    """A distinct text.

    Attributes:
        key: digest of the text.
        ids: int32 [tokens]; empty once it is scored.
        truncated, no_tokens: see :class:`toxonnx.inference.scores.Scores`.
        kept: whether its logits are cached.
        early: whether the first stage of a cascade answered it.
        logits: float32 [labels]; None before it is scored, and if it could not be.
        error: why it could not be scored.
        requests: those that wait for it.
        queued, taken, finished: when it got into the queue, into a batch, and out of the model, in seconds.
    """

    key: bytes
    ids: NDArray[np.int32]
    truncated: bool
    no_tokens: bool
    kept: bool = True
    early: bool = False
    logits: NDArray[np.float32] | None = None
    error: str = ""
    requests: list[PendingRequest] = field(default_factory=list)
    queued: float = 0.0
    taken: float = 0.0
    finished: float = 0.0
    length: int = field(init=False)

    def __post_init__(self) -> None:
        self.length = len(self.ids)

    @property
    def is_done(self) -> bool:
        """Whether it was scored, or could not be."""
        return self.logits is not None or bool(self.error)


@dataclass(eq=False)
class PendingRequest:
    """Texts that somebody waits for.

    Attributes:
        loop, answered: where somebody waits, and for what.
        urgent: whether it goes ahead of all others.
        rows, cached, repaired, cut: of each text that was tokenized so far.
        tokenization: seconds.
        unfinished: number of distinct rows that are not scored yet, and one while the request is being tokenized.
        abandoned: whether nobody waits any more.
    """

    loop: asyncio.AbstractEventLoop
    answered: asyncio.Future[None]
    urgent: bool = False
    rows: list[Row] = field(default_factory=list)
    cached: list[bool] = field(default_factory=list)
    repaired: list[bool] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)
    tokenization: float = 0.0
    unfinished: int = 1
    is_tokenized: bool = False
    abandoned: bool = False


class WaitingRows:
    """Rows that wait for a batch. Requests take turns, so that one with many texts does not hold up the others.

    Attributes:
        tokens: of all of them.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._lanes: OrderedDict[PendingRequest, dict[bytes, Row]] = OrderedDict()
        self._lane_of: dict[bytes, PendingRequest] = {}

    def __len__(self) -> int:
        return len(self._lane_of)

    def __contains__(self, row: Row) -> bool:
        return row.key in self._lane_of

    def __iter__(self) -> Iterator[Row]:
        """All rows: the first one of each request in turn, then the second ones, and so on."""
        lanes = [iter(lane.values()) for lane in self._lanes.values()]
        while lanes:
            rows = [(lane, row) for lane in lanes if (row := next(lane, None)) is not None]
            yield from (row for _, row in rows)
            lanes = [lane for lane, _ in rows]

    def add(self, row: Row, request: PendingRequest) -> None:
        """Appends a row to those of a request."""
        lane = self._lanes.setdefault(request, {})
        lane[row.key] = row
        self._lane_of[row.key] = request
        self.tokens += row.length
        if request.urgent:
            self._lanes.move_to_end(request, last=False)

    def offer(self, row: Row, request: PendingRequest) -> None:
        """Another request waits for a row, too: it is moved there if it is the first one of that request."""
        if request not in self._lanes:
            self.remove(row)
            self.add(row, request)

    def remove(self, row: Row) -> None:
        """Removes a row."""
        request = self._lane_of.pop(row.key)
        del self._lanes[request][row.key]
        self.tokens -= row.length
        if not self._lanes[request]:
            del self._lanes[request]

    def window(self, count: int) -> list[Row]:
        """Up to ``count`` rows, the one whose turn it is first; its request's next turn is after all others'."""
        rows = list(itertools.islice(self, count))
        self._lanes.move_to_end(self._lane_of[rows[0].key])
        return rows

    def pop_all(self) -> list[Row]:
        """All rows, which are removed."""
        rows = list(self)
        for row in rows:
            self.remove(row)
        return rows
