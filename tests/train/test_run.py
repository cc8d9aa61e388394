"""The files of a finished run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest


def test_a_run_has_checkpoint_metrics_and_plot(run: Path) -> None:
    screen = (run.parent / "screen.txt").read_text()
    assert re.search(r"1 row repeats the text of another row; the split keeps both together \(\d+ would leak", screen)
    assert "epoch  training loss  validation loss  accuracy  macro F1" in screen
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    table = json.loads((run / "run.json").read_text())
    assert table["labels"] == ["complaint", "praise"]
    assert table["split"]["leaking"] == 0
    # A single word decides the class, and the model has learnt that.
    assert table["metrics"]["validation"]["macro_f1"] > 0.9
    best = max(lines, key=lambda line: line["validation_macro_f1"])
    assert table["metrics"]["validation"]["macro_f1"] == pytest.approx(best["validation_macro_f1"])
    assert not (run / "checkpoints").exists()
