"""The pages at ``/`` and ``/docs`` in a headless Chromium, on a server that requires an API key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from page_helpers import CHROMIUM, CURVES, KEY, TEXT, choose, score
from playwright.sync_api import Page, Route, expect

from toxonnx import Classifier
from toxonnx.bundle import open_bundle

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")


def test_a_key_that_no_header_can_have_is_refused(page: Page) -> None:
    page.reload()
    for wrong, problem in ((f"{KEY}\u200b", "16 of the key (U+200B)"), (f"\u201c{KEY}\u201d", "1 of the key (U+201C)")):
        page.get_by_label("API key").fill(wrong)
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_contain_text(f"character {problem} is one that no key can have")
    page.get_by_label("API key").fill("another-key")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("The server does not accept this key.")
    page.get_by_label("API key").fill(f" {KEY} ")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Text", exact=True)).to_be_focused()
    expect(page.get_by_label("API key")).to_be_hidden()
    expect(page.locator("#status")).to_be_empty()


def test_a_key_is_asked_for_again_when_the_server_has_others(page: Page) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(status=401, json={"error": {"message": "a valid API key is needed"}})

    page.route("**/v1/classify", refuse)
    page.get_by_label("Text", exact=True).fill(TEXT)
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.locator("#status")).to_have_text("The server does not accept this key.")
    expect(page.get_by_label("API key")).to_be_focused()
    page.unroute("**/v1/classify")
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Text", exact=True)).to_be_focused()
    expect(page.get_by_label("Text", exact=True)).to_have_value(TEXT)
    expect(page.get_by_label("API key")).to_be_hidden()
    score(page)


def test_a_text_with_its_thresholds_and_words(page: Page, tone: Path) -> None:
    classifier = Classifier.load(tone)
    (expected,) = classifier.score([TEXT])
    bars = score(page)
    for bar, (name, probability), threshold in zip(
        bars.all(), expected.probabilities.items(), classifier.labels.thresholds, strict=True
    ):
        relation = "reaches" if name in expected.labels else "below"
        assert bar.inner_text().split("\n") == [name, f"{probability:.3f}", f"{relation} threshold {threshold:g}"]
        track, fill, line = (bar.locator(part).bounding_box() for part in (".bar", ".bar i", ".bar b"))
        assert track and fill and line
        assert fill["width"] / track["width"] == pytest.approx(probability, abs=0.01)
        assert (line["x"] + 1 - track["x"]) / track["width"] == pytest.approx(threshold, abs=0.01)
    applying = f"Labels that apply: {', '.join(expected.labels)}." if expected.labels else "No label applies."
    expect(page.locator("#text-status")).to_have_text(applying)

    page.get_by_role("button", name="Show which words matter").click()
    words = TEXT.split()
    without = classifier.score([" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]).probabilities
    for number, name in enumerate(("toxic", "calm")):
        page.get_by_label("Label", exact=True).select_option(label=name)
        changes = expected.probabilities[name] - without[:, (0, 2)[number]]
        items = page.get_by_role("list", name=re.compile(f"probability of {name}")).get_by_role("listitem")
        texts = [f"{word} {change:+.2f}" for word, change in zip(words, changes, strict=True)]
        expect(items).to_have_text([re.sub("[+-]0.00", "0.00", text).replace("-", "\N{MINUS SIGN}") for text in texts])

    choose(page, "plain")
    score(page)
    expect(page.get_by_text("This model has no thresholds")).to_be_visible()


def test_several_columns_become_one_text_by_the_template(page: Page, tone: Path) -> None:
    choose(page, "columns")
    page.get_by_label("title", exact=True).fill("Soup")
    page.get_by_label("body", exact=True).fill("It was awful.")
    page.keyboard.press("Control+Enter")
    (expected,) = Classifier.load(tone).score(["Soup: It was awful."])
    expect(page.locator(".bars .number")).to_have_text([f"{one:.3f}" for one in expected.probabilities.values()])


def test_windows_of_long_texts_are_stated(page: Page) -> None:
    def answer(route: Route) -> None:
        route.fulfill(json={**route.fetch().json(), "max_tokens": 222})

    page.route("**/v1/bundles/columns", answer)
    choose(page, "columns")
    expect(page.locator("#model")).to_contain_text("reads up to 222 tokens of a text, in windows of 128 tokens;")


def test_the_newest_choice_of_a_model_is_shown_and_a_failed_one_is_reported(page: Page) -> None:
    held: list[Route] = []
    page.route("**/v1/bundles/plain", lambda route: held.append(route))
    menu = page.get_by_label("Model to use")
    menu.select_option("plain")
    choose(page, "columns")
    held[0].continue_()
    page.unroute("**/v1/bundles/plain")
    page.route("**/v1/bundles/plain", lambda route: route.fulfill(body="not JSON"))
    menu.select_option("plain")
    expect(page.locator("#status")).to_contain_text("could not be loaded")
    expect(menu).to_have_value("columns")
    expect(page.locator("#model strong").first).to_have_text("columns")


def test_precision_and_recall_are_those_of_the_bundle(page: Page, plain: Path) -> None:
    expect(page.get_by_role("row")).to_have_text(
        ["LabelPrecisionRecall", "toxic90.0%40.5%", "insultunknown0.0%"]  # with its thresholds
    )
    for name, curve in CURVES.items():
        slider = page.get_by_role("slider", name=f"{name}: threshold")
        slider.focus()
        for step in (*range(40, 45), 100):
            page.keyboard.press("End") if step == 100 else slider.evaluate(
                "(node, step) => { node.value = step; node.dispatchEvent(new Event('input')); }", step
            )
            found, flagged = curve.true_positives[step], curve.true_positives[step] + curve.false_positives[step]
            precision = f"{found / flagged:.1%} ({found} of {flagged})" if flagged else "no such rows"
            expect(page.locator(".slider", has=slider).locator("dd")).to_have_text(
                [precision, f"{found / 200:.1%} ({found} of 200)", f"{flagged / 1000:.1%} ({flagged} of 1,000)"]
            )
    expect(page.get_by_text("of the texts that were judged for this label, the share")).to_be_visible()
    expect(page.get_by_text("No limits are recorded in this bundle.")).to_be_visible()

    choose(page, "plain")
    verification = open_bundle(plain).manifest.verification
    assert verification and verification.test
    per_label = verification.test.metrics["final"]["per_class"]
    expect(page.get_by_role("row")).to_have_text(
        [
            "LabelPrecisionRecall",
            *(f"{name}{one['precision']:.1%}{one['recall']:.1%}" for name, one in per_label.items()),
        ]
    )
    expect(page.get_by_text("This bundle has no figures for other thresholds")).to_be_visible()
    expect(page.get_by_role("heading", name="Intended use and limits")).to_be_visible()


def test_a_slider_starts_with_the_figures_of_the_table(page: Page) -> None:
    def answer(route: Route) -> None:
        details = route.fetch().json()
        details["labels"][0]["threshold"] = 0.4434
        route.fulfill(json=details)

    page.route("**/v1/bundles/curves", answer)
    choose(page, "plain")
    choose(page, "curves")
    expect(page.get_by_role("row").nth(1)).to_have_text("toxic90.0%40.5%")
    slider = page.get_by_role("slider", name="toxic: threshold")
    shown = page.locator(".slider", has=slider)
    expect(shown.get_by_role("status")).to_have_text("0.4434")
    expect(shown.locator("dd")).to_have_text(["90.0% (81 of 90)", "40.5% (81 of 200)", "9.0% (90 of 1,000)"])
    slider.press("ArrowRight")
    expect(shown.get_by_role("status")).to_have_text("0.45")
    expect(shown.locator("dd").nth(1)).to_have_text("55.0% (110 of 200)")


#: text whose contrast with what is behind it is below 4.5
FAINT = """() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const pixel = () => context.getImageData(0, 0, 1, 1).data;
  const paint = (color) => { context.fillStyle = color; context.fillRect(0, 0, 1, 1); };
  const luminance = () => [...pixel()].slice(0, 3).map((x) => x / 255)
    .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest("select, script")) continue;
    const behind = [];
    for (let one = node; one; one = one.parentElement) behind.unshift(getComputedStyle(one).backgroundColor);
    behind.forEach(paint);
    const back = luminance();
    paint(getComputedStyle(node).color);
    const [dark, light] = [back, luminance()].sort((a, b) => a - b);
    if ((light + 0.05) / (dark + 0.05) < 4.5) faint.push(walker.currentNode.data);
  }
  return faint;
}"""
#: elements that take keys and show no outline when they have the focus
UNMARKED = """() => [...document.querySelectorAll("a, button, input, select, textarea")]
  .filter((node) => node === document.activeElement && getComputedStyle(node).outlineStyle === "none").length"""


def test_it_can_be_read_in_light_and_dark_on_a_phone(page: Page) -> None:
    score(page)
    page.get_by_role("button", name="Show which words matter").click()
    expect(page.get_by_text("A number is the probability")).to_be_visible()
    page.get_by_label("CSV, TSV").set_input_files({"name": "a.exe", "mimeType": "", "buffer": b"x"})
    expect(page.locator("#file-status")).to_have_text(
        "a.exe cannot be read: the name must end in .csv, .tsv, .jsonl or .txt."
    )
    page.set_viewport_size({"width": 360, "height": 740})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert page.evaluate(FAINT) == []
        assert page.evaluate("document.documentElement.scrollWidth") == 360
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "textbox", "combobox", "slider", "link", "progressbar", "region", "navigation"}
    named = [(one["role"]["value"], one["name"]["value"]) for one in tree if one.get("role", {}).get("value") in roles]
    assert len(named) > 10 and [role for role, name in named if not name] == []


def test_a_table_breaks_no_word_on_a_narrow_screen(page: Page) -> None:
    def answer(route: Route) -> None:
        details = route.fetch().json()
        long = {"identity_attack_or_threat_of_violence": {"precision": 0.9, "recall": None, "predicted": 1}}
        details["measured"]["labels"] |= long
        route.fulfill(json=details)

    page.route("**/v1/bundles/plain", answer)
    page.set_viewport_size({"width": 320, "height": 640})
    choose(page, "plain")
    lines = """node => {
      const range = document.createRange();
      range.selectNodeContents(node);
      return new Set([...range.getClientRects()].map((box) => box.top)).size;
    }"""
    for cell in page.locator("thead th, td").all():
        assert cell.evaluate(lines) == 1, cell.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_forced_colours_show_buttons_and_thresholds(page: Page) -> None:
    page.emulate_media(forced_colors="active")
    score(page)
    color = "(node, name) => getComputedStyle(node)[name]"
    canvas = page.locator("body").evaluate(color, "backgroundColor")
    button = page.get_by_role("button", name="Score", exact=True)
    assert button.evaluate(color, "borderTopStyle") == "solid"
    assert button.evaluate(color, "borderTopColor") != button.evaluate(color, "backgroundColor")
    for part in (".bar i", ".bar b"):
        assert page.locator(part).first.evaluate(color, "backgroundColor") != canvas


def test_with_the_keyboard_only(page: Page) -> None:
    seen = []
    page.locator(".skip").focus()
    for _ in range(30):
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        assert page.evaluate(UNMARKED) == 0, seen
        if seen[-1] == "threshold-1":
            break
        if seen[-1] == "field-0":
            page.keyboard.type(TEXT)
        if seen[-1] == "score":
            page.keyboard.press("Enter")
            expect(page.get_by_role("list", name="Probability of each label")).to_be_visible()
        page.keyboard.press("Tab")
    assert seen[-6:] == ["score", "words-label", "Show which words matter", "file", "threshold-0", "threshold-1"], seen


def test_docs_describe_every_endpoint(page: Page, address: str) -> None:
    page.get_by_role("link", name="API documentation").click()
    policy = page.request.get(f"{address}/docs").headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy and "unsafe" not in policy
    document = page.request.get(f"{address}/openapi.json").json()
    operations = [f"{method.upper()} {path}" for path, one in document["paths"].items() for method in one]
    expect(page.get_by_role("heading", level=3)).to_have_count(len(operations))
    assert sorted(page.get_by_role("heading", level=3).all_inner_texts()) == sorted(operations)
    page.set_viewport_size({"width": 360, "height": 740})
    page.get_by_text("Request (JSON schema)").first.click()
    assert page.evaluate(FAINT) == [] and page.evaluate("document.documentElement.scrollWidth") == 360
