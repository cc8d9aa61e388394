"""Labelled rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toxonnx.data.examples import Examples, load_saved_rows, save_examples
from toxonnx.data.labelled_files import load_examples
from toxonnx.errors import InputError
from toxonnx.io.base import ReadOptions
from toxonnx.labels import Labels
from toxonnx.recipe import LabelSpec, Recipe
from toxonnx.texts import TextSpec


@pytest.mark.parametrize("multi", [False, True])
def test_saved_rows_round_trip(tmp_path: Path, multi: bool) -> None:
    y_true = np.array([[0, 1], [1, 1], [0, 0]]) if multi else np.array([1, 0, 1])
    labels = Labels(("a b", "c,d"), "sigmoid" if multi else "softmax")
    save_examples(tmp_path / "v.csv", Examples(["x", "y\nz", '"q"'], y_true, [2, 3, 5], labels, TextSpec()))
    texts, back = load_saved_rows(tmp_path / "v.csv", labels)
    assert texts == ["x", "y\nz", '"q"']
    assert (back == y_true).all()


def test_a_file_is_read_by_the_same_options_as_in_predict(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'sep=;\n"a \\"fine\\" caf\xe9";x\nrain;y\n')
    recipe = Recipe("r", LabelSpec(column="column_2"), text=TextSpec(("column_1",)))
    reading = ReadOptions("cp1252", has_header=False, escape_char="\\")
    rows = load_examples(path, recipe, reading=reading)
    assert rows.texts == ['a "fine" caf\u00e9', "rain"] and rows.lines == [2, 3] and rows.labels.names == ("x", "y")
    for broken, hint in (
        (b"text;class\nrain;y\n", "try --delimiter semicolon"),
        (b"Rows\na,b\nc,d\n", "line 2 may be"),
    ):
        path.write_bytes(broken)
        with pytest.raises(InputError) as caught:
            load_examples(path, Recipe("r", LabelSpec(column="class")))
        assert hint in caught.value.hint


def test_data_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,class\na fine day,x\nrain,y\n", encoding="utf-8")
    script = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'peft', 'optimum', 'onnxruntime'): sys.modules[name] = None\n"
        "from toxonnx.data import examples, fingerprints, labelled_files, label_columns, splits\n"
        "from toxonnx.recipe import LabelSpec, Recipe\n"
        "rows = labelled_files.load_examples(sys.argv[1], Recipe('r', LabelSpec(column='class')))\n"
        "assert len(rows) == 2\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "rows.csv")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4))
def test_rows_that_a_run_saves_can_be_read(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Also those with a NUL, which JSON and Parquet can contain but CSV cannot."""
    path = tmp_path_factory.mktemp("run") / "validation.csv"
    labels, y_true = Labels(("rude", "curt", "kind"), "softmax"), np.arange(len(texts)) % 3
    save_examples(path, Examples([f"{text}." for text in texts], y_true, [2] * len(texts), labels, TextSpec()))
    read, back = load_saved_rows(path, labels)
    assert read == [f"{text}.".replace("\0", "\ufffd") for text in texts]
    assert back.tolist() == y_true.tolist()
