"""Scoring files with the page at ``/``, in a headless Chromium."""

from __future__ import annotations

import csv
import re
import socket
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from page_helpers import CHROMIUM, choose
from playwright.sync_api import Page, Route, expect

from toxonnx import Classifier
from toxonnx.cli import group
from toxonnx.errors import RowError
from toxonnx.io.base import ReadOptions, open_source

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")

PREDICT = ("--columns", "label,score,probabilities,review,truncated,error", "--on-error", "null")

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
#: a key with a dot comes before one inside an object
DOTTED_KEYS = """{"comment.text": "awful soup", "comment": {"text": "lovely"}}
{"comment.text": "lovely"}
{"comment": {"text": "lovely"}}
{"comment": {}}
{"comment": "lovely"}
"""
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
        ("nul.csv", "text,number\nawful \0 soup,1\nlovely,2\na field is missing\n", "text", ()),
        ("nul.txt", "awful \0 soup\nlovely\n", "", ()),
        ("dots.jsonl", DOTTED_KEYS, "comment.text", ()),
        ("large.txt", f"{'soup ' * 450_000}\nlovely", "", ()),  # one text is larger than a request can be
    ):
        Path(name).write_bytes(content.encode())
        arguments = ["predict", name, "--bundle", str(tone), "-o", f"{name}.out", *PREDICT, *options]
        arguments += ["--text-column", column] if column else []
        done = CliRunner().invoke(group, arguments)
        assert done.exit_code == 0, done.output
        expected = re.sub(r"not JSON \(.*?\)", "not JSON", Path(f"{name}.out").read_bytes().decode())
        assert score_file(page, name, content.encode(), column).decode() == expected


def test_a_header_that_predict_refuses_is_refused(page: Page, tmp_path: Path) -> None:
    for number, (header, problem) in enumerate(
        (
            ("text,note,note,text", "the header repeats the column 'note', 'text'"),
            ("text,\0", "a NUL byte, which no text file contains"),
            (" ,", "the header is blank"),
            ("", "the header is blank"),
        )
    ):
        path = tmp_path / f"{number}.csv"
        path.write_text(f"{header}\nSo kind!,1,2,3\n")
        with pytest.raises(RowError, match=f"line 1: {problem}"), open_source(path, ReadOptions()):
            pass
        page.get_by_label("CSV, TSV").set_input_files(path)
        expect(page.locator("#file-status")).to_have_text(f"{number}.csv cannot be read: line 1: {problem}.")


def test_a_file_can_be_scored_again_and_chosen_again(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,title\nawful soup,lovely\n")
    field = page.get_by_label("CSV, TSV")
    with page.expect_file_chooser() as chooser:
        field.click()
    chooser.value.set_files(path)
    page.get_by_role("button", name="Score 1 row").click()
    first = downloaded(page)
    page.get_by_label("Column with the text").select_option(label="title")
    page.get_by_role("button", name="Score 1 row").click()
    expect(page.locator("#file-status")).to_have_text("1 row scored.")
    expect(page.get_by_role("link", name="Download")).to_have_count(1)
    second = downloaded(page)
    assert first.splitlines()[0] == second.splitlines()[0] and first != second
    path.write_text("text,title\nawful soup,lovely\nlovely,awful soup\n")
    with page.expect_file_chooser() as chooser:
        field.click()
    chooser.value.set_files(path)
    page.get_by_role("button", name="Score 2 rows").click()
    expect(page.locator("#file-status")).to_have_text("2 rows scored.")


def test_the_delimiter_that_is_used_stays_selected(page: Page) -> None:
    content = b"sep=;\na|text;b|a\n1;2\n"
    page.get_by_label("CSV, TSV").set_input_files({"name": "a.csv", "mimeType": "", "buffer": content})
    menu = page.get_by_label("Delimiter")
    expect(menu.locator("option:checked")).to_have_text("semicolon")
    menu.select_option(label="comma")
    expect(menu.locator("option:checked")).to_have_text("comma")
    menu.select_option(label="pipe")
    expect(page.locator("#file-status")).to_have_text(
        "With the delimiter pipe, a.csv cannot be read: line 2: the header repeats the column 'a'."
    )
    expect(menu.locator("option:checked")).to_have_text("comma")
    page.get_by_role("button", name="Score 1 row").click()
    assert downloaded(page).startswith(b"sep=;\na|text;b|a,label,")


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


def test_text_can_be_dragged_into_the_text_field(page: Page) -> None:
    heading = page.get_by_role("heading", name="Score a text")
    field = page.get_by_label("Text", exact=True)
    heading.select_text()
    heading.hover(position={"x": 20, "y": 12})
    page.mouse.down()
    field.hover(position={"x": 20, "y": 20})
    field.hover(position={"x": 30, "y": 30})
    page.mouse.up()
    expect(field).to_have_value(re.compile("Score a text"))


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_an_answer_that_breaks_off_stops_a_file(page: Page, is_cancelled: bool) -> None:
    head = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"results": ['
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        page.route(
            "**/v1/classify", lambda route: route.continue_(url=f"http://127.0.0.1:{listener.getsockname()[1]}/")
        )
        page.get_by_label("CSV, TSV").set_input_files({"name": "a.txt", "mimeType": "", "buffer": b"So kind!"})
        page.get_by_role("button", name="Score 1 row").click()
        with listener.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(head)
            if is_cancelled:
                page.wait_for_timeout(200)  # the headers arrive
                page.get_by_role("button", name="Cancel").click()
        why = "Cancelled." if is_cancelled else "Stopped: the server's answer was cut off."
        expect(page.locator("#file-status")).to_contain_text(f"{why} 0 of 1 row scored")


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
    expect(page.get_by_role("button", name="Score 200 rows")).to_be_visible()
    rows = list(csv.DictReader(downloaded(page).decode().splitlines()))
    assert [row["text"] for row in rows] == content.splitlines()
    assert [row["error"] for row in rows] == [""] * 128 + ["not scored: cancelled"] * 72
    held[0].abort()


def test_several_columns_of_a_file_become_one_text(page: Page, tone: Path) -> None:
    choose(page, "columns")
    (expected,) = Classifier.load(tone).score(["Soup: It was awful."])
    scored = score_file(page, "a.csv", b"body,title\nIt was awful.,Soup\n")
    assert f",{expected.score:.6f}," in scored.decode()
    scored = score_file(page, "a.csv", b"id,text\n1,Soup: It was awful.\n")  # a single column with the whole text
    assert f",{expected.score:.6f}," in scored.decode()
