"""Codes of the languages that a manifest names."""

from __future__ import annotations

import pytest

from toxonnx.languages import language_codes


@pytest.mark.parametrize(
    ("language", "codes"),
    [
        ("English", ["en"]), ("english and German", ["en", "de"]), ("comments in English", ["en"]),
        ("en", ["en"]), ("en-US, de-AT; hi", ["en", "de", "hi"]), ("it is in no known tongue", []), ("", []),
    ],
)  # fmt: skip
def test_names_and_codes_are_recognized(language: str, codes: list[str]) -> None:
    assert language_codes(language) == codes
