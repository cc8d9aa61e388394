"""Texts on their way through the model, and the order in which they get there."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["PendingRequest", "Row", "WaitingWindows", "Window"]


@dataclass(eq=False, kw_only=True)
class Row:
    """A distinct text.

    Attributes:
        key: digest of the text.
        truncated, no_tokens: see :class:`toxonnx.inference.scores.Scores`.
        length: number of its tokens, in all of its windows.
        windows: what the model gets of it; none once it is scored.
        kept: whether its logits are cached.
        early: whether the first stage of a cascade answered it.
        logits: float32 [labels]; None before it is scored, and if it could not be.
        error: why it could not be scored.
        requests: those that wait for it.
        queued, taken, finished: when it got into the queue, its first window into a batch, and its last window out of
            the model, in seconds.
    """

    key: bytes
    truncated: bool
    no_tokens: bool
    length: int
    windows: list[Window] = field(default_factory=list)
    kept: bool = True
    early: bool = False
    logits: NDArray[np.float32] | None = None
    error: str = ""
    requests: list[PendingRequest] = field(default_factory=list)
    queued: float = 0.0
    taken: float = 0.0
    finished: float = 0.0

    @property
    def is_done(self) -> bool:
        """Whether it was scored, or could not be."""
        return self.logits is not None or bool(self.error)


@dataclass(eq=False)
class Window:
    """A row of a batch: a text, or a window of a long one.

    Attributes:
        row: the text.
        ids: int32 [tokens].
        logits: float32 [labels]; None before it is scored.
    """

    row: Row
    ids: NDArray[np.int32]
    logits: NDArray[np.float32] | None = None


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


class WaitingWindows:
    """Windows that wait for a batch. Requests take turns, so that one with many texts does not hold up the others.

    Attributes:
        tokens: of all of them.
    """

    def __init__(self) -> None:
        self.tokens = 0
        # The values are None: dictionaries are sets that keep their order.
        self._lanes: OrderedDict[PendingRequest, dict[Window, None]] = OrderedDict()
        self._lane_of: dict[Window, PendingRequest] = {}
        self._of_length: dict[int, dict[PendingRequest, dict[Window, None]]] = {}

    def __len__(self) -> int:
        return len(self._lane_of)

    def __contains__(self, window: Window) -> bool:
        return window in self._lane_of

    def __iter__(self) -> Iterator[Window]:
        """All windows: the first one of each request in turn, then the second ones, and so on."""
        return _in_turn(self._lanes.values())

    def add(self, window: Window, request: PendingRequest) -> None:
        """Appends a window to those of a request."""
        self._lanes.setdefault(request, {})[window] = None
        self._lane_of[window] = request
        self._of_length.setdefault(len(window.ids), {}).setdefault(request, {})[window] = None
        self.tokens += len(window.ids)
        if request.urgent:
            self._lanes.move_to_end(request, last=False)

    def offer(self, row: Row, request: PendingRequest) -> None:
        """Another request waits for a text, too: it is moved there if it is the first one of that request."""
        if request not in self._lanes:
            for window in self.of(row):
                self.remove(window)
                self.add(window, request)

    def of(self, row: Row) -> list[Window]:
        """The windows of a text that are waiting."""
        return [window for window in row.windows if window in self]

    def remove(self, window: Window) -> None:
        """Removes a window."""
        request = self._lane_of.pop(window)
        _remove(self._lanes, request, window)
        of_length = self._of_length[len(window.ids)]
        _remove(of_length, request, window)
        if not of_length:
            del self._of_length[len(window.ids)]
        self.tokens -= len(window.ids)

    def next(self, count: int, *, has_equal_lengths: bool) -> list[Window]:
        """Up to ``count`` windows, the one whose turn it is first; its request's next turn is after all others'.

        Args:
            count: number of windows.
            has_equal_lengths: leaves out all windows that have another length than the first one.
        """
        request, lane = next(iter(self._lanes.items()))
        lanes = self._of_length[len(next(iter(lane)).ids)] if has_equal_lengths else self._lanes
        in_turn = _in_turn([lanes[request], *(lane for other, lane in lanes.items() if other is not request)])
        windows = list(itertools.islice(in_turn, count))
        self._lanes.move_to_end(request)
        return windows

    def pop_all(self) -> list[Window]:
        """All windows, which are removed."""
        windows = list(self)
        for window in windows:
            self.remove(window)
        return windows


def _in_turn(lanes: Iterable[Iterable[Window]]) -> Iterator[Window]:
    """The first window of each lane, then the second ones, and so on."""
    iterators = [iter(lane) for lane in lanes]
    while iterators:
        windows = [(lane, window) for lane in iterators if (window := next(lane, None)) is not None]
        yield from (window for _, window in windows)
        iterators = [lane for lane, _ in windows]


def _remove(lanes: MutableMapping[PendingRequest, dict[Window, None]], request: PendingRequest, window: Window) -> None:
    """Removes a window from those of a request, and the request with the last one."""
    del lanes[request][window]
    if not lanes[request]:
        del lanes[request]
