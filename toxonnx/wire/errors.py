"""The errors of a request. Each protocol has its own form for them."""

from __future__ import annotations

from http import HTTPStatus

__all__ = ["STATUS", "RequestError"]

#: kind of error -> HTTP status, where a protocol has no other one for it
STATUS: dict[str, HTTPStatus] = {
    "malformed": HTTPStatus.BAD_REQUEST,  # the body is not JSON
    "invalid": HTTPStatus.BAD_REQUEST,  # a value is missing, unknown or of the wrong type
    "empty": HTTPStatus.BAD_REQUEST,  # there is no text
    "unauthorized": HTTPStatus.UNAUTHORIZED,
    "not_found": HTTPStatus.NOT_FOUND,
    "method": HTTPStatus.METHOD_NOT_ALLOWED,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too_many_texts": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "media_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "overloaded": HTTPStatus.TOO_MANY_REQUESTS,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "not_implemented": HTTPStatus.NOT_IMPLEMENTED,
    "unhealthy": HTTPStatus.SERVICE_UNAVAILABLE,
    "timeout": HTTPStatus.GATEWAY_TIMEOUT,
}


class RequestError(Exception):
    """A request that gets no scores.

    Args:
        kind: a key of :data:`STATUS`.
        message: what is wrong and what to do, without any text of the request.
        field: the field of the body that is wrong; may be empty.
        code: the protocol's own name for the error; may be empty.
    """

    def __init__(self, kind: str, message: str, *, field: str = "", code: str = "") -> None:
        super().__init__(message)
        self.kind, self.message, self.field, self.code = kind, message, field, code
        self.status = int(STATUS[kind])
