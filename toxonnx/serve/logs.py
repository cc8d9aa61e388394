"""One line per request on standard error, as text or JSON. No line contains a text, a key or a query."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

__all__ = ["configure"]


class _Json(logging.Formatter):
    """An object per line, with the fields of the record's ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        return json.dumps(fields | getattr(record, "fields", {}), ensure_ascii=True)


class _Text(logging.Formatter):
    """The message, followed by the fields."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = " ".join(f"{name}={value}" for name, value in getattr(record, "fields", {}).items())
        return " ".join(part for part in (moment, record.levelname.lower(), record.getMessage(), fields) if part)


def configure(log_format: str) -> None:
    """Sends the records of toxonnx and of uvicorn to standard error.

    Args:
        log_format: ``text`` or ``json``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    for name, least in (("toxonnx.serve", "INFO"), ("uvicorn", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least)
