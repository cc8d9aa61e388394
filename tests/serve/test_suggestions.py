"""The rows of ``--suggestions``: what moderators decided can be checked, and trains the next model."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import sentences, write_csv
from serve_helpers import serving

from toxonnx.cli import group
from toxonnx.data.label_values import MISSING
from toxonnx.data.labelled_files import data_files, load_files
from toxonnx.recipe_files import load_recipe

RECIPE = """
[[data]]
path = "posts.csv"
[[data]]
path = "suggestions.jsonl"
columns = { comment = "text" }

[text]
columns = ["comment"]

[labels]
columns = ["toxic", "insult", "calm"]
threshold = 0.5
"""


def test_decisions_of_moderators_are_rows_of_the_next_training(tone: Path, tmp_path: Path) -> None:
    suggestions, decided = tmp_path / "suggestions.jsonl", sentences(60, 21)
    with serving(tone, suggestions=suggestions) as client:
        for number, (text, kind) in enumerate(decided):
            scores = {"TOXICITY": int(kind == "complaint")} | ({"INSULT": number % 2} if number > 29 else {})
            values = {name: {"summaryScore": {"value": value}} for name, value in scores.items()}
            body = {"comment": {"text": text}, "attributeScores": values}
            assert client.post("/v1alpha1/comments:suggestscore", json=body).status_code == 200
    options = ["--label-column", "toxic", "--label-column", "insult", "--no-baseline"]
    checked = CliRunner().invoke(group, ["check", str(suggestions), *options, "--json", str(tmp_path / "report.json")])
    assert checked.exit_code == 0, checked.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert {finding["id"] for finding in report["findings"]} <= {"near-duplicates", "duplicates"}, report["findings"]
    assert [size["known"] for size in report["classes"]] == [None, 30]  # None: in all rows

    write_csv(
        tmp_path / "posts.csv", ["comment", "toxic", "insult", "calm"], [["A fine day", 0, 0, 1], ["Ugly", 1, 1, 0]]
    )
    (tmp_path / "next.toml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "next.toml")
    rows = load_files(data_files(recipe, None), recipe).labelled
    assert rows.texts[2:] == [text for text, _ in decided]
    expected = [
        [int(kind == "complaint"), number % 2 if number > 29 else MISSING, MISSING]
        for number, (_, kind) in enumerate(decided)
    ]
    assert rows.y_true[2:].tolist() == expected


def test_a_suggestion_that_the_disk_has_no_room_for_is_an_error_and_leaves_no_part(
    tone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write, sizes = tmp_path / "suggestions.jsonl", os.write, [10, 0]

    def write_part(descriptor: int, content: bytes) -> int:
        if not (size := sizes.pop(0)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content[:size])

    body = {"comment": {"text": "So kind!"}, "attributeScores": {"TOXICITY": {"summaryScore": {"value": 0}}}}
    with serving(tone, suggestions=path) as client:
        assert client.post("/v1alpha1/comments:suggestscore", json=body).status_code == 200
        kept = path.read_bytes()
        with monkeypatch.context() as patched:
            patched.setattr("os.write", write_part)
            failed = client.post("/v1alpha1/comments:suggestscore", json=body)
    assert failed.status_code == 500 and "not kept: No space left on device" in failed.json()["error"]["message"]
    assert path.read_bytes() == kept
