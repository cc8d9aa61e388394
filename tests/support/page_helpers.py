"""The page of ``toxonnx serve`` in a browser: the key and the figures of its server, and how it is used."""

from __future__ import annotations

import shutil

from playwright.sync_api import Locator, Page, expect

from toxonnx.manifest_decisions import ThresholdCurve, ThresholdsDict

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

KEY = "a-key-for-tests"
TEXT = "The soup was awful today, but the garden is lovely."
CURVES = {
    name: ThresholdCurve(
        positives=200, negatives=800,
        true_positives=[200 - 2 * step for step in range(101)],
        false_positives=[max(0, 790 - shift * step) for step in range(101)],
    )
    for name, shift in (("toxic", 8), ("insult", 20))
}  # fmt: skip

MEASURED = ThresholdsDict(
    rows=1000, review=0.0,
    per_class={
        "toxic": {"threshold": 0.4, "predicted": 90, "precision": (0.9, 0.8, 0.95), "recall": (0.405, 0.4, 0.5)},
        "insult": {"threshold": 0.5, "predicted": 0, "precision": None, "recall": (0.0, 0.0, 0.1)},
    },
)  # fmt: skip


def choose(page: Page, bundle: str) -> None:
    page.get_by_label("Model to use").select_option(bundle)
    expect(page.locator("#model strong").first).to_have_text(bundle)


def score(page: Page, text: str = TEXT) -> Locator:
    """The bars of a text."""
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Score", exact=True).click()
    bars = page.get_by_role("list", name="Probability of each label").get_by_role("listitem")
    expect(bars).to_have_count(3)
    return bars
