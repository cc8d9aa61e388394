"""Options of the server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from toxonnx.errors import InputError

__all__ = ["ServeOptions"]

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How the server behaves; how the model runs is in :class:`toxonnx.inference.options.RuntimeOptions`.

    Attributes:
        api_keys: keys of which a request needs one; empty for no authentication.
        max_concurrent_requests: requests in progress, beyond which further ones get status 429.
        max_client_batch_size: texts in one request.
        payload_limit: bytes of a request's body.
        timeout: seconds within which a request is answered, counted from its headers.
        max_wait: seconds that a batch with free space waits for texts that are being tokenized.
        cached_texts: distinct texts whose scores are kept; 0 for none.
        suggestions: file to which ``comments:suggestscore`` appends labelled rows; None to refuse it.
        allowed_origins: origins of the pages whose scripts may send requests (CORS), such as ``https://example.org``;
            ``*`` for all.
        fill_categories: whether OpenAI's response has all of its categories, with 0 for those without a label.
    """

    api_keys: tuple[str, ...] = ()
    max_concurrent_requests: int = 512
    max_client_batch_size: int = 1024
    payload_limit: int = 2_000_000
    timeout: float = 30.0
    max_wait: float = 0.0
    cached_texts: int = 1 << 15
    suggestions: Path | None = None
    allowed_origins: tuple[str, ...] = ()
    fill_categories: bool = False

    def __post_init__(self) -> None:
        for name in ("max_concurrent_requests", "max_client_batch_size", "payload_limit", "timeout"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}")
        if self.max_wait < 0 or self.cached_texts < 0:
            raise InputError("max_wait and cached_texts must not be negative")
        for origin in self.allowed_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise InputError(
                    f"{origin!r} is not an origin", "Give scheme and host, without a path: https://example.org."
                )

    @property
    def max_bytes_in_progress(self) -> int:
        """Bytes of all bodies in progress, beyond which further requests get status 429: it bounds the memory."""
        return 32 * self.payload_limit
