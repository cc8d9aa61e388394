from __future__ import annotations

import pytest

from toxonnx.check.text_quality import text_findings


@pytest.mark.parametrize(
    ("text", "kind"),
    [("so\u200eup", "invisible-characters"), ("so\u034fup", "invisible-characters"),
     ("soup\U000e0041", "invisible-characters"), ("\U0001f3f4\U000e0067\U000e0062\U000e007f soup", ""),
     ("\u05e9\u200e soup", ""), ("\u202dsoup", "bidirectional-overrides"), ("\u202asoup\u202c", ""),
     ("\u202asoup", "bidirectional-overrides"), ("\u2066soup\u2069", "")],
)  # fmt: skip
def test_invisible_and_bidirectional_characters(text: str, kind: str) -> None:
    assert [finding.kind for finding in text_findings([text], [2], has_html=False)] == ([kind] if kind else [])
