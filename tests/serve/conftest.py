"""A multi-label bundle with mappings, servers of it, and their page in a headless Chromium."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from page_helpers import CHROMIUM, CURVES, FLAGS, KEY, MEASURED
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright
from serve_helpers import RunningServer, make_bundle, make_plain_bundle, running, serving
from starlette.testclient import TestClient

from toxonnx.bundle import open_bundle, seal
from toxonnx.manifest_decisions import Decisions
from toxonnx.texts import TextSpec


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


@pytest.fixture(scope="module")
def address(tone: Path, plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a multi-label bundle with figures for other thresholds and without a card, of the shipped one, and of
    one that reads two columns."""
    folder = tmp_path_factory.mktemp("page")
    manifest = open_bundle(tone).manifest
    for name in ("curves", "columns"):
        shutil.copytree(tone, folder / name)
    (folder / "curves" / "README.md").unlink()
    decisions = Decisions(rows=1000, rows_from="rows of this test", curves=CURVES, test=MEASURED)
    seal(folder / "curves", dataclasses.replace(manifest, name="curves", decisions=decisions))
    text = TextSpec(("title", "body"), "{title}: {body}")
    seal(folder / "columns", dataclasses.replace(manifest, name="columns", text=text))
    (folder / "key").write_text(KEY)
    with running(folder / "curves", plain, folder / "columns", "--api-key-file", folder / "key") as server:
        yield server.url


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """A Chromium that has not been used."""
    profile = tmp_path_factory.mktemp("profile")
    with sync_playwright() as started:
        context = started.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, headless=True, args=list(FLAGS), reduced_motion="reduce"
        )
        context.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        yield context
        context.close()


@pytest.fixture
def page(browser: BrowserContext, address: str) -> Iterator[Page]:
    """The page with the key typed in. Nothing was requested from elsewhere, and nothing broke its policy."""
    page, hosts, complaints = browser.new_page(), set(), list[str]()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(address)
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Score a text")).to_be_visible()
    yield page
    page.close()
    assert hosts <= {urlsplit(address).netloc, ""}  # none in the address of the scored file
    # Without a key, and where a test makes the server busy or an answer incomplete.
    expected = r"status of (401|429)|ERR_CONTENT_LENGTH_MISMATCH"
    assert [text for text in complaints if not re.search(expected, text)] == []
