"""The ASGI application: everything around a protocol's endpoints that is the same for all of them.

Authentication, limits, strict JSON, deadlines, clients that went away, metrics, logs, request ids, security headers.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toxonnx.errors import ToxonnxError, place_of
from toxonnx.serve import openapi
from toxonnx.serve.bodies import BodyReader
from toxonnx.serve.endpoints import Answer, Call, Endpoint, Protocol
from toxonnx.serve.pages import page_endpoints
from toxonnx.serve.protocols import classify, huggingface, kserve, openai, perspective, tei
from toxonnx.serve.service import Service
from toxonnx.wire.errors import RequestError
from toxonnx.wire.json_body import parse_json

__all__ = ["PROTOCOLS", "make_app"]

log = logging.getLogger("toxonnx.serve")

PROTOCOLS: tuple[Protocol, ...] = (
    classify.PROTOCOL, perspective.PROTOCOL, openai.PROTOCOL, tei.PROTOCOL, kserve.PROTOCOL, huggingface.PROTOCOL,
)  # fmt: skip

#: seconds after which a client that got status 429 or 503 should try again
RETRY_AFTER = 1
#: bytes from which a body is parsed in another thread
LARGE_BODY = 1 << 16
#: the client closed the connection (nginx's status for it)
_CLIENT_GONE = 499
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
#: headers that a page of another origin may read
_EXPOSED_HEADERS = ("retry-after", "x-request-id", "x-toxonnx-bundle", "x-toxonnx-truncated")
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


@dataclass
class _Record:
    """What is known about a request, for its log line and the metrics."""

    id: str
    protocol: str = "none"
    status: int = 0
    method: str = ""
    texts: int = 0
    error: str = ""


def make_app(service: Service) -> ASGIApp:
    """The application that serves some bundles; it closes them when it ends."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await service.drain()

    document = openapi.document(PROTOCOLS, [bundle.manifest for bundle in service.bundles])

    async def describe(_: Call) -> Answer:
        return Answer(content=document)

    own = Protocol(
        name="toxonnx",
        error=classify.PROTOCOL.error,
        endpoints=(
            Endpoint(method="GET", path="/openapi.json", answer=describe, summary="OpenAPI", is_public=True),
            *page_endpoints(),
        ),
    )
    keys = _Keys(service.options.api_keys)
    origins = service.options.allowed_origins
    cross_origin = Middleware(
        CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"],
        expose_headers=_EXPOSED_HEADERS,
    )  # fmt: skip
    routes = [
        Route(endpoint.path, _Handler(service, keys, protocol, endpoint), methods=[endpoint.method])
        for protocol in (*PROTOCOLS, own)
        for endpoint in protocol.endpoints
    ]
    app = Starlette(
        routes=routes,
        middleware=[cross_origin] if origins else [],
        lifespan=lifespan,
        exception_handlers={HTTPException: _not_found},
    )
    return _RequestMiddleware(app, service)


class _RequestMiddleware:
    """Request ids, security headers, metrics and logs, also for paths that do not exist."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._metrics = app, service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        record = _Record(given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}")
        scope["toxonnx"] = record
        start = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                given_headers = list(message["headers"])
                names = {name for name, _ in given_headers}
                given_headers += [header for header in _SECURITY_HEADERS if header[0] not in names]
                message["headers"] = [*given_headers, (b"x-request-id", record.id.encode("latin-1"))]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - start
            self._metrics.observe_request(record.protocol, record.status, seconds)
            self._log(scope, record, seconds)

    @staticmethod
    def _log(scope: Scope, record: _Record, seconds: float) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        fields = {
            "id": record.id, "method": scope["method"], "path": quote(scope["path"], safe="/:$")[:200],
            "protocol": record.protocol, "status": record.status, "ms": round(seconds * 1000, 1), "texts": record.texts,
        }  # fmt: skip
        log.info("request", extra={"fields": fields | ({"error": record.error} if record.error else {})})


class _Keys:
    """API keys, compared in constant time."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def check(self, request: Request) -> None:
        """Looks for a key where the clients of the protocols put it.

        Raises:
            RequestError: there is none, or it is not one of the keys.
        """
        if not self._digests:
            return
        headers = request.headers
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = (
            (token.strip() if scheme.lower() == "bearer" else "")
            or headers.get("x-api-key")
            or headers.get("x-goog-api-key")
            or request.query_params.get("key", "")
        )
        digest = hashlib.sha256(given.encode()).digest()
        if not sum(hmac.compare_digest(digest, one) for one in self._digests):  # compares with all of them
            raise RequestError("unauthorized", "a valid API key is needed")


class _Handler:
    """One endpoint as an ASGI application."""

    def __init__(self, service: Service, keys: _Keys, protocol: Protocol, endpoint: Endpoint) -> None:
        self._service, self._keys, self._protocol, self._endpoint = service, keys, protocol, endpoint
        self._bodies = BodyReader(service.options.payload_limit)
        self._has_body = endpoint.method == "POST"
        self._scores = self._has_body and endpoint.scores

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, record = Request(scope, receive), scope["toxonnx"]
        record.protocol = "public" if self._endpoint.is_public else self._protocol.name
        try:
            answer = await self._answer(request, record)
            if self._scores:
                self._service.metrics.successes.labels(record.method).inc()
        except ClientDisconnect:
            record.status, record.error = _CLIENT_GONE, "client gone"
            return
        except RequestError as error:
            record.error = error.kind
            if self._scores:
                self._service.metrics.failures.labels(error.kind).inc()
            answer = self._protocol.error(error)
        finally:
            if not record.method:  # refused before its texts were read
                self._count(record, "unknown")
        await _response(answer)(scope, receive, send)

    async def _answer(self, request: Request, record: _Record) -> Answer:
        try:
            async with asyncio.timeout(self._service.options.timeout):
                if not self._endpoint.is_public:
                    self._keys.check(request)
                if not self._has_body:
                    return await self._endpoint.answer(self._call(request, record))
                with self._service.admit(self._bodies.max_size(request)) as set_size:
                    body = await self._bodies.read(request)
                    set_size(len(body))
                    return await self._answer_body(request, record, body)
        except TimeoutError:
            raise RequestError("timeout", f"no answer within {self._service.options.timeout:g} seconds") from None
        except (RequestError, ClientDisconnect):
            raise
        except ToxonnxError as error:
            raise RequestError("internal", error.what) from None
        except Exception as bug:  # its message may quote a text
            log.error("%s at %s (request %s)", type(bug).__name__, place_of(bug), record.id)
            raise RequestError("internal", "internal error") from None

    async def _answer_body(self, request: Request, record: _Record, body: bytes) -> Answer:
        # A large body takes so long that other requests would have to wait for it.
        value = parse_json(body) if len(body) < LARGE_BODY else await asyncio.to_thread(parse_json, body)
        call = self._call(request, record, value)
        answer = await _unless_client_leaves(request, self._endpoint.answer(call))
        record.texts = sum(len(scored.scores) for _, scored in answer.scored)
        return answer

    def _count(self, record: _Record, method: str) -> None:
        if self._scores:
            record.method = method
            self._service.metrics.calls.labels(method).inc()

    def _call(self, request: Request, record: _Record, body: object = None) -> Call:
        return Call(
            service=self._service, id=record.id, body=body, path=request.path_params, query=request.query_params,
            base_url=str(request.base_url),
            count_request=lambda texts: self._count(record, "single" if texts == 1 else "batch"),
        )  # fmt: skip


async def _unless_client_leaves(request: Request, work: Awaitable[Answer]) -> Answer:
    """The result of some work, which is cancelled if the client closes the connection.

    Raises:
        ClientDisconnect: it did.
    """
    task = asyncio.current_task()
    assert task is not None
    has_left = has_ended = False

    def leave(_: object) -> None:
        nonlocal has_left
        if not has_ended:  # this call may be on its way when it is removed
            has_left = True
            task.cancel()

    gone = asyncio.ensure_future(_disconnected(request.receive))
    gone.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if has_left and not task.uncancel():  # else the deadline has passed, too, or the server ends
            raise ClientDisconnect from None
        raise
    finally:
        has_ended = True
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _response(answer: Answer) -> Response:
    headers = dict(answer.headers)
    if answer.scored:
        headers["x-toxonnx-bundle"] = ",".join(dict.fromkeys(bundle.bundle.seal for bundle, _ in answer.scored))
        truncated = sum(int(scored.scores.truncated.sum()) for _, scored in answer.scored)
        headers["x-toxonnx-truncated"] = str(truncated)
    if answer.status in {429, 503}:
        headers["retry-after"] = str(RETRY_AFTER)
    if answer.status == 401:
        headers["www-authenticate"] = "Bearer"
    if answer.content is None or isinstance(answer.content, bytes):
        return Response(answer.content, answer.status, headers)
    text = json.dumps(answer.content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A lone surrogate, echoed from the request, has no form in UTF-8.
    return Response(text.encode("utf-8", "replace"), answer.status, headers, "application/json")


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = RequestError("not_found", "this path does not exist")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        problem = RequestError("method", "this path does not take the method")
    protocol = _BY_FIRST_SEGMENT.get(_first_segment(request.url.path), classify.PROTOCOL)
    answer = protocol.error(problem)
    return _response(replace(answer, headers={**answer.headers, **(error.headers or {})}))


def _first_segment(path: str) -> str:
    return path.split("/")[1]


#: the protocol in whose form a wrong path gets its error; of several, the first in :data:`PROTOCOLS`
_BY_FIRST_SEGMENT = {
    _first_segment(endpoint.path): protocol
    for protocol in reversed(PROTOCOLS)
    for endpoint in protocol.endpoints
    if endpoint.path != "/"
}
