"""The pages at ``/`` and ``/docs``: files of this package, whose scripts call the server's own API."""

from __future__ import annotations

from pathlib import Path

from toxonnx.serve.endpoints import Answer, Call, Endpoint

__all__ = ["page_endpoints"]

FOLDER = Path(__file__).parent / "page"
#: files that have an address of their own; the others are below /page/
_ADDRESSES = {"index.html": "/", "docs.html": "/docs"}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: Nothing from elsewhere, nothing inline, and no HTML made from strings.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


def page_endpoints() -> tuple[Endpoint, ...]:
    """One for each file, read once. They need no API key; the API that they call does."""
    return tuple(_endpoint(path) for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES)


def _endpoint(path: Path) -> Endpoint:
    headers = {"content-type": _TYPES[path.suffix], "content-security-policy": _POLICY}
    answer = Answer(content=path.read_bytes(), headers=headers)

    async def serve(_: Call) -> Answer:
        return answer

    return Endpoint(
        method="GET", path=_ADDRESSES.get(path.name, f"/page/{path.name}"), answer=serve, summary=path.name,
        is_public=True,
    )  # fmt: skip
