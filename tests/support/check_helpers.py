"""Helpers of the tests of ``toxonnx check``: sentences without duplicates, checks in this process, complete pages."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html import escape
from pathlib import Path
from typing import Any

from helpers import sentences

from toxonnx.check.finding import Finding
from toxonnx.check.near_duplicates import find_near_duplicates
from toxonnx.check.options import CheckOptions
from toxonnx.check.report import CheckReport
from toxonnx.check.run import check
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.recipe import LabelSpec, Recipe, Split
from toxonnx.texts import TextSpec, fold

Rows = list[list[object]]


def distinct_sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Labelled sentences without near duplicates."""
    rows = list({fold(text): (text, label) for text, label in sentences(3 * count, seed)}.values())
    near = {i for pair in find_near_duplicates([fold(text) for text, _ in rows]).pairs for i in pair}
    return [row for i, row in enumerate(rows) if i not in near][:count]


def distinct_rows(count: int, seed: int = 0) -> Rows:
    """:func:`distinct_sentences` as rows of a CSV file."""
    return [list(row) for row in distinct_sentences(count, seed)]


def check_file(path: Path, tokenizer: Tokenizer, **options: Any) -> CheckReport:
    return check(CheckOptions(data=path, **options), tokenizer, "small-bundle", lambda _: None)


def check_quickly(path: Path, tokenizer: Tokenizer, **options: Any) -> CheckReport:
    """:func:`check_file` without baselines."""
    return check_file(path, tokenizer, with_baseline=False, **options)


def by_kind(report: CheckReport, *severities: str) -> dict[str, Finding]:
    """The findings, or those of some severities, by kind."""
    return {
        finding.kind: finding for finding in report.findings if not severities or finding.severity in severities
    }  # fmt: skip


def recipe_for(path: Path, **split: Any) -> Recipe:
    return Recipe(path.stem, LabelSpec("class"), text=TextSpec(("text",)), split=Split(**split))


def assert_complete_page(page: str, report: dict[str, Any], plots: int | None = None) -> None:
    """A page with valid SVG, every finding and every class."""
    figures = [ET.fromstring(svg) for svg in re.findall("<svg.*?</svg>", page, re.DOTALL)]
    assert plots in (None, page.count("<figure")) and all(figure.get("aria-label") for figure in figures)
    for finding in report["findings"]:
        assert escape(finding["message"]) in page and escape(finding["advice"]) in page
    for size in report["classes"]:
        assert f'{escape(size["name"])}</td><td data-name="rows">{size["rows"]:,}</td>' in page
