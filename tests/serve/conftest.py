"""A multi-label bundle with mappings, and servers of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serve_helpers import RunningServer, make_bundle, make_plain_bundle, running, serving
from starlette.testclient import TestClient


@pytest.fixture(scope="session")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the labels toxic, insult and calm, of which two are mapped."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tone")


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the classes sun, rain and wind, without thresholds and mappings."""
    return make_plain_bundle(tmp_path_factory.mktemp("bundles") / "plain")


@pytest.fixture(scope="session")
def client(tone: Path, plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An application that serves two bundles, and keeps suggestions."""
    suggestions = tmp_path_factory.mktemp("suggestions") / "rows.jsonl"
    with serving(tone, plain, suggestions=suggestions, payload_limit=200_000) as one:
        one.app_state["suggestions"] = suggestions
        yield one


@pytest.fixture(scope="session")
def server(tone: Path, plain: Path) -> Iterator[RunningServer]:
    """A server of two bundles."""
    with running(tone, plain, "--fill-categories") as one:
        yield one
