"""``toxonnx info``."""

from __future__ import annotations

import json

from helpers import toxonnx


def test_info_as_text_and_as_json() -> None:
    shown = toxonnx("info")
    assert shown.returncode == 0, shown.stderr
    for word in ("minilm-hate-int8", "hate, offensive, neither", "all hashes match", "PyTorch", "F1 hate"):
        assert word in shown.stdout
    table = json.loads(toxonnx("info", "--json").stdout)
    assert table["labels"]["names"] == ["hate", "offensive", "neither"]
    assert table["text"]["normalise"] == ["html", "urls", "mentions", "spaces"]
