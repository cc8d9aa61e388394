"""Bundles in JavaScript: transformers.js and onnxruntime-web in Node, and the page of docs/browser in Chromium."""

from __future__ import annotations

import html.entities
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, SHIPPED, sentences
from playwright.sync_api import expect, sync_playwright

from toxonnx import Classifier
from toxonnx.bundle import open_bundle
from toxonnx.hub import write_hub_layout

FOLDER = ROOT / "docs" / "browser"
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    not (FOLDER / "node_modules").is_dir(), reason="no packages of Node: npm --prefix docs/browser ci"
)

TEXTS = [
    *(text for text, _ in sentences(20)),
    "What a lovely morning!",
    "",
    "\N{THUMBS UP SIGN}",  # a text without a known token
    "@someone   wrote: Fish &amp;amp; chips &#128512; &nbsp;at\thttps://example.com/menu&copy",
    "Ünïcödé, 日本語 and 🎉\u2028on two lines",
    "A long story about nothing. " * 60,
]
#: WebAssembly rounds differently from a CPU
LARGEST_DIFFERENCE = 0.02


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped bundle in the layout of the hub."""
    return write_hub_layout(open_bundle(SHIPPED), tmp_path_factory.mktemp("hub") / "model").path


def test_javascript_gives_the_scores_of_toxonnx(model: Path) -> None:
    bundle = open_bundle(SHIPPED)
    classifier = Classifier(bundle)
    # The page does what toxonnx does before and after the model; programs with transformers.js do it themselves.
    normalised = [bundle.manifest.text.clean(text) for text in TEXTS if text.isascii() and text]
    texts = {"transformers.js": normalised, "onnxruntime-web": TEXTS}
    request = {"folder": str(model), "entities": html.entities.html5, "texts": texts}
    done = subprocess.run(
        ["node", FOLDER / "compare.mjs"], input=json.dumps(request), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for runtime, rows in json.loads(done.stdout).items():
        found = np.array([[row[name] for name in classifier.labels.names] for row in rows])
        difference = np.abs(found - classifier.score(texts[runtime]).probabilities).max()
        assert difference < LARGEST_DIFFERENCE, runtime


@pytest.fixture
def site(model: Path, tmp_path: Path) -> Iterator[str]:
    """Address of the page."""
    subprocess.run([sys.executable, FOLDER / "build.py", model, tmp_path / "site"], check=True)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "site")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")
def test_the_page_scores_a_text_and_sends_nothing(site: str) -> None:
    text = "@someone: what a stupid, lovely idea &amp;amp; so on"
    classifier = Classifier.load(SHIPPED)
    expected = classifier.score([text]).probabilities[0]
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page, complaints, requests = browser.new_page(), list[str](), list[str]()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(site)
        field = page.get_by_label("Text", exact=True)
        expect(field).to_be_visible(timeout=60_000)
        loaded = len(requests)
        field.fill(text)
        page.keyboard.press("Control+Enter")
        bars = page.get_by_role("list", name="Probability of each label").get_by_role("listitem")
        expect(bars).to_have_count(len(classifier.labels.names), timeout=30_000)
        shown = [bar.inner_text().split("\n")[:2] for bar in bars.all()]
        field.fill("\N{THUMBS UP SIGN}")
        page.get_by_role("button", name="Score").click()
        expect(page.locator("#text-status")).to_contain_text("It has no word that the model knows, and was scored like")
        field.fill(" ")
        page.get_by_role("button", name="Score").click()
        expect(page.get_by_text("There is no text yet")).to_be_visible()
        browser.close()
    assert [name for name, _ in shown] == list(classifier.labels.names)
    assert np.abs(np.array([float(value) for _, value in shown]) - expected).max() < LARGEST_DIFFERENCE
    assert requests[loaded:] == [] and all(url.startswith((site, "blob:")) for url in requests)
    assert complaints == []


def test_a_page_of_what_is_not_a_model_is_refused(tmp_path: Path, model: Path) -> None:
    for arguments, message in (
        ((SHIPPED, tmp_path / "site"), "is not a folder that toxonnx hub-layout wrote"),
        ((model, tmp_path), "already exists"),
    ):
        done = subprocess.run(
            [sys.executable, FOLDER / "build.py", *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1 and message in done.stderr, done.stderr
