"""The true labels of a file, for a model that names them differently."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import write_csv

from toxonnx.data.label_columns import LabelColumns
from toxonnx.errors import InputError, RowError
from toxonnx.evaluate.models import EvaluatedModel, read_labelled_texts
from toxonnx.io.table import read_table
from toxonnx.labels import Labels
from toxonnx.texts import TextSpec

TONES = Labels(("rude", "curt", "kind"), "softmax")
TOPICS = Labels(("food", "sport"), "sigmoid")


def _y_true(path: Path, labels: Labels, known: LabelColumns | None = None, **arguments: Any) -> list[Any]:
    scorer: Any = SimpleNamespace(labels=labels)
    unused: Any = None
    model = EvaluatedModel(name="m", scorer=scorer, text=TextSpec(), description=unused, label_columns=known)
    y_true: list[Any] = read_labelled_texts(model, read_table(path), **arguments).y_true.tolist()
    return y_true


def test_a_map_between_labels_keeps_the_numbers_of_the_model(tmp_path: Path) -> None:
    rows = [[f"text {tone}", tone] for tone in ("rude", "curt", "kind")]
    path = write_csv(tmp_path / "a.csv", ["text", "tone"], rows)
    assert _y_true(path, TONES, label_columns=["tone"]) == [0, 1, 2]
    assert _y_true(path, TONES, label_columns=["tone"], label_map={"rude": "curt"}) == [1, 1, 2]
    assert _y_true(path, TONES, label_columns=["tone"], label_map={"rude": "kind", "kind": "rude"}) == [2, 1, 0]
    path = write_csv(tmp_path / "b.csv", ["text", "bad"], [["a", "0"], ["b", "1.0"]])
    flipped = {"0": "1", "1": "0"}
    assert _y_true(path, Labels(("0", "1"), "softmax"), label_columns=["bad"], label_map=flipped) == [1, 0]


def test_a_threshold_of_the_training_holds_for_numbers_only(tmp_path: Path) -> None:
    known = LabelColumns(("tone",), {"0": "kind", "1": "rude"}, threshold=0.5)
    labels = Labels(("kind", "rude"), "softmax")
    path = write_csv(tmp_path / "a.csv", ["text", "tone"], [["a", "0.7"], ["b", "0.2"]])
    assert _y_true(path, labels, known) == [1, 0]
    assert _y_true(path, labels, known, label_map={"0": "rude", "1": "kind"}) == [0, 1]
    with pytest.raises(RowError, match=r"line 2: column 'tone' must contain one of kind, rude, got '0.7'"):
        _y_true(path, labels, known, label_map={"rude": "rude"})
    path = write_csv(tmp_path / "b.csv", ["text", "tone"], [["a", "nasty"], ["b", "kind"]])
    assert _y_true(path, labels, known, label_map={"nasty": "rude"}) == [1, 0]


def test_a_column_with_the_name_of_a_label_is_not_read_as_another(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ["text", "sport", "meals", "food"], [["a", 1, 0, 0], ["b", 0, 1, 1]])
    assert _y_true(path, TOPICS, label_columns=["sport", "food"]) == [[0, 1], [1, 0]]
    assert _y_true(path, TOPICS, label_columns=["meals", "sport"]) == [[0, 1], [1, 0]]
    with pytest.raises(InputError, match=r"'meals' is not a label of the model\nThe labels are food, sport"):
        _y_true(path, TOPICS, label_columns=["sport", "meals"])
