"""Text with bytes that its encoding cannot decode, kept as lone surrogates: ``surrogateescape`` for any encoding."""

from __future__ import annotations

import codecs
import re

__all__ = ["AS_SURROGATES", "UNDECODABLE", "encoded"]

#: error handler that decodes such a byte to the lone surrogate U+DC00 + byte, as surrogateescape does for encodings
#: that extend ASCII
AS_SURROGATES = "toxonnx-lone-surrogate"

#: what the handler leaves; no decoder produces lone surrogates by itself
UNDECODABLE = re.compile("[\udc00-\udcff]")

_RUNS = re.compile("([\udc00-\udcff]+)")


def _as_surrogates(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(AS_SURROGATES, _as_surrogates)


def encoded(text: str, encoding: str) -> bytes:
    """The bytes that text was decoded from with :data:`AS_SURROGATES`."""
    if text.isascii():
        return text.encode(encoding)
    runs = _RUNS.split(text)
    runs_of_bytes = [
        bytes(ord(character) - 0xDC00 for character in run) if number % 2 else run.encode(encoding, "replace")
        for number, run in enumerate(runs)
    ]
    return b"".join(runs_of_bytes)
