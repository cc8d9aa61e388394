"""The pages at ``/`` and ``/docs`` in a headless Chromium, on a server that requires an API key."""

from __future__ import annotations

import csv
import dataclasses
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect, sync_playwright
from serve_helpers import running

from toxonnx import Classifier
from toxonnx.bundle import open_bundle, seal
from toxonnx.cli import group
from toxonnx.errors import RowError
from toxonnx.io.base import ReadOptions, open_source
from toxonnx.manifest_decisions import Decisions, ThresholdCurve, ThresholdsDict
from toxonnx.texts import TextSpec

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

KEY = "a-key-for-tests"
TEXT = "The soup was awful today, but the garden is lovely."
PREDICT = ("--columns", "label,score,probabilities,review,truncated,error", "--on-error", "null")
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
    # Without a key, and where a test makes the server busy.
    assert [text for text in complaints if not re.search(r"status of (401|429)", text)] == []


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
    scored = score_file(page, "a.csv", b"body,title\nIt was awful.,Soup\n")
    assert f",{expected.score:.6f}," in scored.decode()
    scored = score_file(page, "a.csv", b"id,text\n1,Soup: It was awful.\n")  # a single column with the whole text
    assert f",{expected.score:.6f}," in scored.decode()


CSV = (
    "\ufeffsep=;\r\nnumber;comment;label\r\n"
    '1;"He said ""awful"";\nand left";x\r\n'
    "\r\n"
    "2;lovely soup;\r\n"
    "3;a field is missing\r\n"
    '4;"";"quoted"\r\n'
    f"5;{'word ' * 200};a"
)
JSON_LINES = """{"id": 12345678901234567890, "inner": {"comment": "awful soup"}}

{ "inner": {"comment": "half a character \\ud83d"}, "id": 1.50 } \r
{"inner": {"comment": null}}
not JSON
{"inner": {"comment": "lovely"}}"""


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


LINES = 'awful soup\r\n\n  with "quotes", and a comma\nlovely'


def score_file(page: Page, name: str, content: bytes, column: str = "") -> bytes:
    """The file that comes back."""
    page.get_by_label("CSV, TSV").set_input_files({"name": name, "mimeType": "", "buffer": content})
    if column:
        page.get_by_label("Column with the text").select_option(label=column)
    page.get_by_role("button", name=re.compile(r"Score \d+ row")).click()
    return downloaded(page)


def downloaded(page: Page) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    return Path(download.value.path()).read_bytes()


def test_files_come_back_as_from_predict(
    page: Page, tone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content, column, options in (
        ("rows.csv", CSV, "comment", ("--prefix", "predicted_")),
        ("rows.jsonl", JSON_LINES, "inner.comment", ()),
        ("rows.txt", LINES, "", ()),
    ):
        Path(name).write_bytes(content.encode())
        arguments = ["predict", name, "--bundle", str(tone), "-o", f"{name}.out", *PREDICT, *options]
        arguments += ["--text-column", column] if column else []
        done = CliRunner().invoke(group, arguments)
        assert done.exit_code == 0, done.output
        expected = re.sub(r"not JSON \(.*?\)", "not JSON", Path(f"{name}.out").read_bytes().decode())
        assert score_file(page, name, content.encode(), column).decode() == expected


@pytest.mark.parametrize("name", ["posts.tsv", "posts.TAB"])
def test_a_file_with_tabs_comes_back_as_one(page: Page, name: str) -> None:
    content = b"text\tnote, or comment\nSo kind!\ta, b, c\n"
    assert score_file(page, name, content).startswith(b"text\tnote, or comment\tlabel\t")
    expect(page.get_by_role("link", name="Download")).to_have_attribute("download", "posts.scored.tsv")
    assert b"text\tlabel\t" in score_file(page, "one.tsv", b"text\nSo kind, so nice\n")  # no tab to count


def test_a_file_can_be_dropped(page: Page) -> None:
    dropped = page.evaluate_handle(
        "(text) => { const data = new DataTransfer(); data.items.add(new File([text], 'rows.txt')); return data; }",
        LINES,
    )
    target = page.locator("#drop")
    target.dispatch_event("dragenter", {"dataTransfer": dropped})
    expect(target).to_have_class("over")
    target.dispatch_event("drop", {"dataTransfer": dropped})
    expect(target).not_to_have_class("over")
    page.get_by_role("button", name="Score 4 rows").click()
    assert downloaded(page).decode().count("\n") == 5  # with the header

    # Outside the field, the browser would open the file in place of the page.
    drop = "new DragEvent('drop', { dataTransfer, cancelable: true, bubbles: true })"
    assert page.evaluate(f"(dataTransfer) => document.body.dispatchEvent({drop})", dropped) is False


@pytest.fixture(scope="module")
def csv_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csv") / "rows.csv"


def test_csv_is_read_as_by_predict(page: Page, csv_path: Path) -> None:
    read = """async (text) => {
      const { FileError, isRow, openTable } = await import("/page/tables.js");
      try {
        const table = openTable("csv", text, ",");
        for (const row of table.rows.filter(isRow)) table.textOf(row, [0]);
        return table.rows.map((row) => [isRow(row) ? row.fields : [], row.raw, row.end]);
      } catch (error) {
        if (error instanceof FileError) return "refused";
        throw error;
      }
    }"""

    @settings(max_examples=60, deadline=None)
    @given(st.text('ab,,""\n\n\r', max_size=15))
    def check(rows: str) -> None:
        csv_path.write_bytes(b"c,d\n" + rows.encode())
        with open_source(csv_path, ReadOptions()) as source:
            try:
                expected: object = [[record.fields, record.raw, record.end] for record in source]
            except RowError:
                expected = "refused"
        assert page.evaluate(read, "c,d\n" + rows) == expected

    check()


def test_a_busy_server_is_asked_again_later_and_scoring_can_be_cancelled(page: Page) -> None:
    times: list[float] = []
    held: list[Route] = []

    def answer(route: Route) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            route.fulfill(status=429, headers={"retry-after": "2"}, json={"error": {"message": "busy"}})
        elif len(times) == 2:
            route.continue_()
        else:
            held.append(route)

    page.route("**/v1/classify", answer)
    content = "".join(f"text {number}\n" for number in range(200))
    page.get_by_label("CSV, TSV").set_input_files({"name": "a.txt", "mimeType": "", "buffer": content.encode()})
    page.get_by_role("button", name="Score 200 rows").click()
    expect(page.locator("#count")).to_have_text("0 of 200 rows; the server is busy, trying again in 2 s")
    expect(page.locator("#count")).to_have_text("128 of 200 rows")
    assert times[1] - times[0] >= 2
    expect(page.get_by_role("progressbar")).to_have_js_property("value", 128)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#file-status")).to_contain_text("Cancelled. 128 of 200 rows scored")
    rows = list(csv.DictReader(downloaded(page).decode().splitlines()))
    assert [row["text"] for row in rows] == content.splitlines()
    assert [row["error"] for row in rows] == [""] * 128 + ["not scored: cancelled"] * 72
    held[0].abort()


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


def test_with_the_keyboard_only(page: Page) -> None:
    seen = []
    page.locator("body").evaluate("node => node.focus()")
    page.keyboard.press("Tab")
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
