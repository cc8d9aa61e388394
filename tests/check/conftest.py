"""The tokenizer that the tests of ``check`` count with."""

from __future__ import annotations

import pytest

from toxonnx.bundle import open_bundle
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.resources import find_bundle


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """The tokenizer of the shipped bundle, without truncation."""
    return Tokenizer(open_bundle(find_bundle(None)).path / "tokenizer.json", 1 << 24)
