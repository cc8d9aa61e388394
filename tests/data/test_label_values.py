"""Cells of label columns."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import write_csv
from hypothesis import given
from hypothesis import strategies as st

from toxonnx.data.examples import Examples
from toxonnx.data.label_values import MISSING, class_names, read_classes, read_flags
from toxonnx.data.labelled_files import load_examples
from toxonnx.errors import InputError, RecipeError
from toxonnx.recipe import LabelSpec, Recipe
from toxonnx.recipe_files import recipe_from_dict
from toxonnx.texts import TextSpec


def _recipe(**labels: object) -> Recipe:
    return Recipe("r", LabelSpec(**labels), text=TextSpec(("text",)))


def _rows(path: Path, cells: list[str], **labels: object) -> Examples:
    write_csv(path / "rows.csv", ["text", "class"], [[f"text {i}", cell] for i, cell in enumerate(cells)])
    return load_examples(path / "rows.csv", _recipe(**{"column": "class", **labels}))


def test_numbers_are_sorted_by_value_and_read_without_decimals(tmp_path: Path) -> None:
    assert _rows(tmp_path, ["10", "2", "1"]).labels.names == ("1", "2", "10")
    assert _rows(tmp_path, ["10", "2", "one"]).labels.names == ("10", "2", "one")
    rows = _rows(tmp_path, ["1.0", "0.0", "", "1.0"], missing="drop")
    assert rows.labels.names == ("0", "1") and rows.y_true.tolist() == [1, 0, 1]
    assert rows.lines == [2, 3, 5] and rows.unlabelled == 1
    assert rows.notes == ("column 'class' contains whole numbers with decimals: 1.0 is read as 1",)
    named = _rows(tmp_path, ["1.0", "0.0"], names={"0": "calm", "1": "rude"})
    assert named.labels.names == ("calm", "rude") and named.y_true.tolist() == [1, 0]


@pytest.mark.parametrize("word", ["", " ", "NaN", "n/a", "NULL", "<NA>"])
def test_a_word_for_missing_is_no_class(tmp_path: Path, word: str) -> None:
    cells = ["good", "bad", word, "good", "bad"]
    with pytest.raises(InputError, match=r"line 4: column 'class' has no label.*\n.*labels\.missing = \"drop\""):
        _rows(tmp_path, cells)
    rows = _rows(tmp_path, cells, missing="drop")
    assert rows.labels.names == ("bad", "good") and len(rows) == 4 and rows.unlabelled == 1
    if word.strip():  # unless the recipe names it as one
        names = {"good": "good", "bad": "bad", word: "other"}
        assert _rows(tmp_path, cells, names=names).labels.names == ("good", "bad", "other")


def test_scores_need_a_threshold(tmp_path: Path) -> None:
    cells = ["0.0079", "0.5", "0.93", "1"]
    with pytest.raises(InputError, match=r"column 'class' looks like a score, not a class.*\n.*labels\.threshold"):
        _rows(tmp_path, cells)
    assert _rows(tmp_path, cells, threshold=0.5).y_true.tolist() == [0, 1, 1, 1]
    named = _rows(tmp_path, cells, threshold=0.9, names={"0": "calm", "1": "rude"})
    assert named.labels.names == ("calm", "rude") and named.y_true.tolist() == [0, 0, 1, 1]
    with pytest.raises(InputError, match=r"line 3: .* must contain a number, since labels\.threshold is set"):
        _rows(tmp_path, ["0.1", "high", "0.7"], threshold=0.5)
    with pytest.raises(InputError, match=r"only the class '1'\nChoose a labels\.threshold"):
        _rows(tmp_path, cells, threshold=0.0)
    with pytest.raises(RecipeError, match=r"labels\.names must name 0 \(below it\) and 1"):
        recipe_from_dict({"name": "r", "labels": {"column": "c", "threshold": 0.5, "names": {"a": "b"}}}, "r.toml")


def test_cells_of_several_labels_in_other_spellings(tmp_path: Path) -> None:
    cells = [["a", "True", "no"], ["b", "FALSE", "Yes"], ["c", "1.0", "0.0"], ["d", "0", "1"]]
    cells += [["e", "nan", "1"], ["f", "NA", ""]]
    path = write_csv(tmp_path / "rows.csv", ["text", "rude", "food"], cells)
    rows = load_examples(path, _recipe(columns=("rude", "food"), missing="drop"))
    assert rows.y_true.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1], [MISSING, 1]] and rows.unlabelled == 1
    with pytest.raises(InputError, match=r"line 7: none of 'rude', 'food' has a label"):
        load_examples(path, _recipe(columns=("rude", "food")))
    write_csv(path, ["text", "rude", "food"], [["a", "0.7", "0"], ["b", "0.2", "1"]])
    with pytest.raises(InputError, match=r"must contain 0, 1 or nothing, got '0\.7'\n.*labels\.threshold"):
        load_examples(path, _recipe(columns=("rude", "food")))
    assert load_examples(path, _recipe(columns=("rude", "food"), threshold=0.5)).y_true.tolist() == [[1, 0], [0, 1]]


def test_a_text_in_the_label_column_is_not_quoted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got a value of 25 characters") as caught:
        _rows(tmp_path, ["good", "bad", "a text that nobody labels"], names={"good": "good", "bad": "bad"})
    assert "nobody" not in str(caught.value)


@given(st.lists(st.text() | st.floats().map(str) | st.sampled_from(["1", "1.0", "nan", "", "yes"])))
def test_every_cell_has_a_reading(values: list[str]) -> None:
    names = class_names(values)
    numbers = read_classes(values, names)
    assert (numbers != -1).all() and set(numbers.tolist()) <= {-2, *range(len(names))}
    assert set(read_flags(values).tolist()) <= {0, 1, -1, -2}
    assert read_classes(values, {"0": "0", "1": "1"}, 0.5).shape == (len(values),)
