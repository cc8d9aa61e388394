"""Bodies of requests: their content type, their size, and gzip."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request

from toxonnx.wire.errors import RequestError

__all__ = ["BodyReader"]

#: zlib's name for the format of gzip with its largest window
_GZIP = 31


@dataclass(frozen=True)
class BodyReader:
    """Reads bodies of at most some bytes, counted after decompression.

    Attributes:
        limit: bytes.
    """

    limit: int

    def max_size(self, request: Request) -> int:
        """The bytes that the body has at most, from the headers.

        Raises:
            RequestError: it is not JSON, has an unknown encoding, or announces too many bytes.
        """
        _check_type(request.headers)
        is_compressed = _is_compressed(request.headers)
        announced = request.headers.get("content-length", "")
        if not announced.isdecimal():  # sent in chunks
            return self.limit
        size = int(announced[:20])
        if size > self.limit:
            raise self._too_large()
        return self.limit if is_compressed else size

    async def read(self, request: Request) -> bytes:
        """The body, decompressed.

        Raises:
            RequestError: it has too many bytes, or is not gzip though its headers say so.
            ClientDisconnect: the client closed the connection.
        """
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > self.limit:
                raise self._too_large()
        if _is_compressed(request.headers):
            return await asyncio.to_thread(self._decompress, bytes(body))
        return bytes(body)

    def _decompress(self, body: bytes) -> bytes:
        stream = zlib.decompressobj(_GZIP)
        try:
            content = stream.decompress(body, self.limit + 1)
        except zlib.error:
            raise RequestError("malformed", "the body is not valid gzip, as its content encoding says") from None
        if len(content) > self.limit:
            raise self._too_large()
        if not stream.eof:
            raise RequestError("malformed", "the body is cut off: its gzip stream has no end")
        if stream.unused_data:
            raise RequestError("malformed", "the body has further bytes after the end of its gzip stream")
        return content

    def _too_large(self) -> RequestError:
        return RequestError("too_large", f"the body has more than {self.limit:,} bytes")


def _check_type(headers: Headers) -> None:
    """Accepts JSON, and a request without a type unless a browser sent it.

    A web page can make a browser send any body without a type to any server, and other types than JSON; for JSON, the
    browser asks the server first, which refuses.
    """
    given = headers.get("content-type")
    if given is None:
        if "origin" in headers or "sec-fetch-site" in headers:
            raise RequestError("media_type", "the content type is missing; it must be application/json")
        return
    kind = given.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise RequestError("media_type", "the content type must be application/json")


def _is_compressed(headers: Headers) -> bool:
    encoding = ", ".join(headers.getlist("content-encoding")).strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise RequestError("media_type", "the content encoding must be gzip, or the body not compressed")
    return encoding in {"gzip", "x-gzip"}
