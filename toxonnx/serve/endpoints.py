"""What a protocol is: endpoints, which turn a call into an answer, and a form for errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from toxonnx.manifest import Manifest
from toxonnx.serve.scored import Scored
from toxonnx.serve.service import ServedBundle, Service
from toxonnx.wire.errors import RequestError

__all__ = ["Answer", "Call", "Endpoint", "Protocol", "Schema", "check_texts", "first_error"]

#: a JSON schema
Schema = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that was let in.

    Attributes:
        service: what it asks.
        id: of the request.
        body: its JSON value; None for GET.
        path: parameters in the path.
        query: parameters after the question mark.
        base_url: scheme, host and root path under which the client reached the server, with a slash at the end.
        count_request: to call with the number of texts as soon as it is known, for the metrics.
    """

    service: Service
    id: str
    body: Any = None
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    base_url: str = ""
    count_request: Callable[[int], None] = lambda _: None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response.

    Attributes:
        content: a JSON value, text with its own content type, or None for an empty body.
        status: HTTP status.
        headers: further headers.
        scored: the scores in it, with the bundle they are from.
    """

    content: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    scored: tuple[tuple[ServedBundle, Scored], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One path of a protocol.

    Attributes:
        method, path: ``GET`` or ``POST``, and the path with ``{parameters}``.
        answer: the function that answers.
        summary: a sentence about it.
        is_public: whether it needs no API key.
        scores: whether a POST request asks for scores, for the metrics.
        request, response: JSON schemas of the bodies.
    """

    method: str
    path: str
    answer: Callable[[Call], Awaitable[Answer]]
    summary: str
    is_public: bool = False
    scores: bool = True
    request: Schema | None = None
    response: Schema | None = None


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A wire format.

    Attributes:
        name: a short name, for metrics and logs.
        endpoints: its paths.
        error: the form of an error.
        why_unavailable: why a bundle cannot answer in this protocol; empty if it can.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    error: Callable[[RequestError], Answer]
    why_unavailable: Callable[[Manifest], str] = lambda _: ""


def check_texts(call: Call, count: int) -> None:
    """Counts a request, and checks the number of its texts.

    Raises:
        RequestError: there are none, or too many.
    """
    call.count_request(count)
    limit = call.service.options.max_client_batch_size
    if not count:
        raise RequestError("empty", "there is no text")
    if count > limit:
        raise RequestError("too_many_texts", f"batch size {count} > maximum allowed batch size {limit}")


def first_error(scored: Scored) -> None:
    """For protocols that have no place for the error of a single text.

    Raises:
        RequestError: the model could not score one.
    """
    for position, message in scored.errors.items():
        raise RequestError("internal", f"text {position} (counted from 0) was not scored: {message}")
