"""Clients that load an HTTP server: one that checks every answer, and wrk, which is faster and checks none.

A client keeps its connection, and sends its next request as soon as it has the answer to the last one. The texts of all
requests are different, so that an answer shows to which request it belongs: it has to have the scores of its texts.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Load", "Measured", "Request", "has_wrk", "run_clients", "run_wrk"]

#: seconds after which an answer is lost
DEADLINE = 60.0
#: seconds between two attempts to connect
RECONNECT = 0.05
#: scores of one text
Scores = tuple[float, ...]


@dataclass(frozen=True)
class Request:
    """A body, and what it has to be answered with.

    Attributes:
        body: JSON.
        texts: their number.
        expected: the probabilities of each text; None where they are not known.
    """

    body: bytes
    texts: int
    expected: tuple[Scores, ...] | None = None


@dataclass
class Measured:
    """What clients saw.

    Attributes:
        tool: ``python`` or ``wrk``.
        clients: their number.
        seconds: from the first request until no more were sent.
        rows_per_second: texts of the answers that came in this time.
        p50, p95, p99: of the time from a request to its answer, in milliseconds, of answers with status 200.
        statuses: status -> number of answers.
        lost: requests without an answer: closed connections, and none within :data:`DEADLINE`.
        swapped, wrong: answers with the scores of another request, and with others; None where nothing was checked.
        unread: requests without an answer when the server was told to end; it may never have read them.
        client_cores: cores that the clients used.
    """

    tool: str
    clients: int
    seconds: float
    rows_per_second: float
    p50: float
    p95: float
    p99: float
    statuses: dict[str, int]
    lost: int = 0
    swapped: int | None = None
    wrong: int | None = None
    unread: int = 0
    client_cores: float = 0.0

    @property
    def answered(self) -> int:
        """Number of answers."""
        return sum(self.statuses.values())

    def failures(self) -> list[str]:
        """What must not happen, in words; status 429 may."""
        found = [f"{count:,} answers with status {status}" for status, count in self.statuses.items()
                 if status not in {"200", "429"}]  # fmt: skip
        for count, what in ((self.lost, "lost"), (self.swapped, "swapped"), (self.wrong, "wrong")):
            if count:
                found.append(f"{count:,} answers {what}")
        if not self.statuses.get("200"):
            found.append("no answer with status 200")
        return found


@dataclass
class Load:
    """Requests that are sent in turn by all clients, and what comes back.

    Args:
        host, port, path: of the server.
        requests: with different texts; there must be more of them than clients.
    """

    host: str
    port: int
    path: str
    requests: Sequence[Request]
    is_stopping: bool = False
    #: whether the server was told to end, so that it may leave connections
    may_close: bool = False
    answers: list[tuple[float, int, float]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    unread: int = 0
    swapped: int = 0
    wrong: int = 0
    _next: int = 0

    def __post_init__(self) -> None:
        # Scores that several requests expect show nothing about to which of them an answer belongs.
        self._known = {request.expected for request in self.requests}

    def take(self) -> Request:
        """The next request."""
        request = self.requests[self._next % len(self.requests)]
        self._next += 1
        return request

    def record(self, request: Request, status: int, body: bytes, seconds: float) -> None:
        """Checks an answer."""
        self.statuses[status] += 1
        if status != 200:
            return
        self.answers.append((time.perf_counter(), request.texts, seconds))
        if request.expected is None:
            return
        found = _scores(body)
        if found != request.expected:
            self.swapped += found in self._known
            self.wrong += found not in self._known


def _scores(body: bytes) -> tuple[Scores, ...] | None:
    """The probabilities in an answer of ``/v1/classify``."""
    try:
        return tuple(tuple(result["probabilities"].values()) for result in json.loads(body)["results"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


class _Client(asyncio.Protocol):
    """A connection that is opened again when the server closes it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._request: Request | None = None
        self._sent = 0.0
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self.ended = asyncio.get_running_loop().create_future()

    async def connect(self) -> None:
        """Connects and sends the first request; tries again until the load ends."""
        while not self._load.is_stopping:
            try:
                await asyncio.get_running_loop().create_connection(lambda: self, self._load.host, self._load.port)
                return
            except OSError:
                await asyncio.sleep(RECONNECT)
        self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._buffer = transport, b""
        self._send()

    def _send(self) -> None:
        assert self._transport
        if self._load.is_stopping:
            self._transport.close()
            return
        self._request = request = self._load.take()
        head = f"POST {self._load.path} HTTP/1.1\r\nHost: {self._load.host}\r\nContent-Type: application/json\r\n"
        self._sent = time.perf_counter()
        self._transport.write(f"{head}Content-Length: {len(request.body)}\r\n\r\n".encode() + request.body)

    def data_received(self, data: bytes) -> None:
        assert self._transport
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = re.search(rb"(?im)^content-length:\s*(\d+)", head)
        size = int(length[1]) if length else 0
        if len(body) < size:
            return
        self._buffer = body[size:]
        status, request = int(head.split(None, 2)[1]), self._request
        if request is None:  # an answer to nothing
            self._load.wrong += 1
            return
        self._request = None
        self._load.record(request, status, body[:size], time.perf_counter() - self._sent)
        again = re.search(rb"(?im)^retry-after:\s*(\d+)", head)
        if again and not self._load.is_stopping:
            self._waiting = asyncio.get_running_loop().call_later(int(again[1]), self._send)
        else:
            self._send()

    def connection_lost(self, _: Exception | None) -> None:
        if self._waiting:
            self._waiting.cancel()
        if self._request is not None:
            if self._load.may_close:
                self._load.unread += 1
            else:
                self._load.lost += 1
        self._request = None
        if self._load.is_stopping:
            self._end()
        else:
            self._connecting = asyncio.ensure_future(self.connect())

    def give_up(self) -> None:
        """The deadline has passed."""
        if self._transport:
            self._transport.abort()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def run_clients(
    load: Load, clients: int, seconds: float, *, every_second: Callable[[], None] = lambda: None,
    at_end: Callable[[], None] = lambda: None,
) -> Measured:  # fmt: skip
    """Sends requests for a while, and waits for the last answers.

    Args:
        load: the requests.
        clients: number of connections.
        seconds: for how long.
        every_second: called while requests are sent.
        at_end: called when no more are sent, while the last ones are in progress.
    """
    if len(load.requests) < 2 * clients:
        raise ValueError(f"{len(load.requests)} requests are too few for {clients} clients")
    cpu, start = _cpu(resource.RUSAGE_SELF), time.perf_counter()
    everyone = [_Client(load) for _ in range(clients)]
    await asyncio.gather(*(client.connect() for client in everyone))
    while (left := start + seconds - time.perf_counter()) > 0:
        await asyncio.sleep(min(1.0, left))
        every_second()
    load.is_stopping = True
    end = time.perf_counter()
    cores = (_cpu(resource.RUSAGE_SELF) - cpu) / (end - start)
    at_end()
    _, pending = await asyncio.wait([client.ended for client in everyone], timeout=DEADLINE)
    for client in everyone if pending else ():
        client.give_up()
    await asyncio.gather(*(client.ended for client in everyone))
    rows = sum(texts for moment, texts, _ in load.answers if moment <= end)
    times = [1000 * taken for _, _, taken in load.answers] or [0.0]
    p50, p95, p99 = np.percentile(times, [50, 95, 99]).tolist()
    is_checked = any(request.expected is not None for request in load.requests)
    return Measured(
        "python", clients, end - start, rows / (end - start),
        p50, p95, p99, {str(status): count for status, count in sorted(load.statuses.items())}, lost=load.lost,
        swapped=load.swapped if is_checked else None, wrong=load.wrong if is_checked else None, unread=load.unread,
        client_cores=cores,
    )  # fmt: skip


def has_wrk() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


def run_wrk(load: Load, clients: int, seconds: float) -> Measured:
    """The same with wrk, which compares no scores."""
    script = Path(__file__).with_name("wrk.lua")
    with tempfile.NamedTemporaryFile("wb") as file:
        file.writelines(request.body + b"\n" for request in load.requests)
        file.flush()
        url = f"http://{load.host}:{load.port}{load.path}"
        command = ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", f"--timeout={DEADLINE:.0f}s"]
        cpu = _cpu(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [*command, f"-s{script}", url, "--", file.name], capture_output=True, text=True, check=True
        )
    found: dict[str, Any] = json.loads(re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE)[1])
    texts = load.requests[0].texts
    return Measured(
        "wrk", clients, found["seconds"], found["statuses"].get("200", 0) * texts / found["seconds"], found["p50"],
        found["p95"], found["p99"], found["statuses"], lost=found["connection_errors"] + found["timeouts"],
        client_cores=(_cpu(resource.RUSAGE_CHILDREN) - cpu) / found["seconds"],
    )  # fmt: skip


def _cpu(who: int) -> float:
    """Seconds of CPU time."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime
