"""Silences the exporters' own output."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

__all__ = ["silence_exporters"]


@contextlib.contextmanager
def silence_exporters() -> Iterator[None]:
    """Hides tracer warnings and the advice of the quantizer."""
    root = logging.getLogger()
    level = root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)
