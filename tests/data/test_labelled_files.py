"""Rows of several files and sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import write_csv
from hypothesis import given, settings
from hypothesis import strategies as st

from toxonnx.data.examples import Examples
from toxonnx.data.label_values import MISSING
from toxonnx.data.labelled_files import LoadedRows, data_files, load_files
from toxonnx.data.splits import split
from toxonnx.errors import InputError, RecipeError, RowError
from toxonnx.labels import Labels
from toxonnx.recipe import LabelSpec, Recipe, Split
from toxonnx.recipe_files import load_recipe, recipe_from_dict
from toxonnx.texts import TextSpec, fold

LABELS = Labels(("rude", "food"), "sigmoid")

TEXT = """
[[data]]
columns = { rude = "is_rude" }
source_column = "from"
licence = "MIT"

[data.sources.forum]
cap = 5
licence = "CC0"

[data.sources.chat]
weight = 0

[[data]]
path = "more/letters.csv"
weight = 0.5

[labels]
columns = ["rude", "food"]

[split]
validation = 0.3
group = ["thread"]

[model]
base = "x"
"""


def _load(folder: Path, text: str = TEXT) -> tuple[Recipe, LoadedRows]:
    (folder / "recipe.toml").write_text(text)
    recipe = load_recipe(folder / "recipe.toml")
    return recipe, load_files(data_files(recipe, folder / "posts.csv"), recipe)


def _write(folder: Path) -> None:
    (folder / "more").mkdir()
    posts = [[f"post {i}", i % 2, "", ("forum", "chat", "mail")[i % 3], f"t{i // 4}"] for i in range(60)]
    write_csv(folder / "posts.csv", ["text", "is_rude", "food", "from", "thread"], posts)
    # No column rude, no column thread; two texts of the other file.
    letters = [[f"Post  {i}" if i < 4 else f"letter {i}", i % 2] for i in range(20)]
    write_csv(folder / "more" / "letters.csv", ["text", "food"], letters)


def test_files_with_different_columns_and_sources(tmp_path: Path) -> None:
    _write(tmp_path)
    recipe, loaded = _load(tmp_path)
    rows = loaded.labelled
    counts = {name: rows.sources.count(name) for name in dict.fromkeys(rows.sources)}
    assert counts == {"forum": 5, "mail": 20, "letters": 20} and rows.unused == 35
    assert len(loaded.unlabelled) == 0
    weights = dict(zip(rows.sources, rows.weights.tolist(), strict=True))
    assert weights == {"forum": 1.0, "mail": 1.0, "letters": 0.5}
    y_true = {name: rows.y_true[np.array(rows.sources) == name] for name in counts}
    assert (y_true["mail"][:, 1] < 0).all() and set(y_true["mail"][:, 0].tolist()) == {0, 1}
    assert (y_true["letters"][:, 0] < 0).all() and set(y_true["letters"][:, 1].tolist()) == {0, 1}
    # The same rows again, and other rows of a capped source with another seed.
    assert _load(tmp_path)[1].labelled.texts == rows.texts
    assert _load(tmp_path, TEXT.replace("[split]", "[split]\nseed = 7"))[1].labelled.texts != rows.texts
    parts = split(rows, recipe.split, "posts.csv")
    train, held_out = ({fold(rows.texts[i]) for i in part} for part in (parts.train, parts.validation))
    assert not train & held_out
    assert not {rows.groups[i] for i in parts.train} & {rows.groups[i] for i in parts.validation}


def test_the_command_line_gives_the_file_without_a_path(tmp_path: Path) -> None:
    recipe = recipe_from_dict({"name": "r", "labels": {"column": "c"}, "data": [{"path": "a.csv"}]}, "r.toml")
    assert [path.name for path, _ in data_files(recipe, None)] == ["a.csv"]
    with pytest.raises(InputError, match=r"the recipe names its files, so b\.csv is not used"):
        data_files(recipe, Path("b.csv"))
    with pytest.raises(InputError, match="there is no file to train on"):
        data_files(Recipe("r", LabelSpec("c")), None)
    _write(tmp_path)
    for old, new, message in (
        ('rude = "is_rude"', 'rude = "crude"', "has no column 'crude'"),
        ("sources.chat", "sources.chatt", "no row has the source 'chatt'"),
        ('"rude", "food"', '"rude", "food", "calm"', "column 'calm' contains no label"),
    ):
        with pytest.raises(InputError, match=message):
            _load(tmp_path, TEXT.replace(old, new))
    with pytest.raises(RecipeError, match=r"data\.sources needs data\.source_column"):
        _load(tmp_path, TEXT.replace('source_column = "from"', ""))


def _recipe(**settings: Any) -> Recipe:
    return recipe_from_dict({"name": "r", **settings}, "r.toml")


def test_a_teacher_reads_another_column(tmp_path: Path) -> None:
    rows = [
        ["r&b", "1", "rhythm &amp;  blues"],
        ["so r0de", "1", ""],
        ["nice", "0", "nice"],
        ["odd", "", "an original"],
    ]
    file = write_csv(tmp_path / "a.csv", ["text", "rude", "original"], rows)
    spec = {"labels": {"column": "rude"}, "text": {"normalise": ["html", "spaces"]}}
    recipe = _recipe(**spec, teacher={"models": ["t"], "alpha": 0.5, "text_column": "original"})
    loaded = load_files(data_files(recipe, file), recipe)
    assert loaded.labelled.teacher_texts == ("rhythm & blues", "", "nice")
    assert loaded.labelled.subset(np.array([0, 2])).teacher_texts == ("rhythm & blues", "nice")
    assert loaded.unlabelled.texts == ["odd"] and loaded.unlabelled.teacher_texts == ("an original",)
    # Nobody says anything about a row without a label that the teacher does not read.
    file = write_csv(tmp_path / "b.csv", ["text", "rude", "original"], [*rows, ["lost", "", " "]])
    with pytest.raises(RowError, match=r"b\.csv, line 6"):
        load_files(data_files(recipe, file), recipe)
    # Without a step that collapses white space.
    dropping = _recipe(labels={"column": "rude", "missing": "drop"}, teacher=recipe.to_dict()["teacher"])
    loaded = load_files(data_files(dropping, file), dropping)
    assert loaded.unlabelled.texts == ["odd"] and loaded.labelled.unlabelled == 1
    file = write_csv(tmp_path / "c.csv", ["text", "rude", "original"], [*rows, ["blank", "1", " "]])
    assert load_files(data_files(dropping, file), dropping).labelled.teacher_texts[-1] == ""
    with pytest.raises(InputError, match=r"no column .text_of_teacher"):
        other = _recipe(**spec, teacher={"models": ["t"], "alpha": 0.5, "text_column": "text_of_teacher"})
        load_files(data_files(other, file), other)
    with pytest.raises(RecipeError, match=r"teacher\.text_column needs teacher\.models"):
        _recipe(**spec, teacher={"text_column": "original"})


def test_shares_and_weights(tmp_path: Path) -> None:
    cells = [["a", "0.7", "", 2], ["b", "0.2", "1", "0.5"], ["c", "", "0", 0], ["d", "0.9", "0", 1]]
    path = write_csv(tmp_path / "rows.csv", ["text", "rude", "food", "w"], cells)
    labels = {"columns": ["rude", "food"], "threshold": 0.5, "soft": True}
    recipe = _recipe(labels=labels, training={"weight_column": "w"})
    rows = load_files(data_files(recipe, path), recipe).labelled
    # A weight of 0 leaves a row out.
    assert rows.texts == ["a", "b", "d"] and rows.weights.tolist() == [2, 0.5, 1]
    assert rows.y_true.tolist() == [[1, MISSING], [0, 1], [1, 0]]
    assert rows.targets is not None
    assert np.array_equal(rows.targets, np.array([[0.7, np.nan], [0.2, 1], [0.9, 0]], dtype=np.float32), equal_nan=True)
    one = _recipe(labels={"column": "rude", "threshold": 0.5, "soft": True, "missing": "drop"})
    targets = load_files(data_files(one, path), one).labelled.targets
    assert targets is not None and np.allclose(targets, [[0.3, 0.7], [0.8, 0.2], [0.1, 0.9]])
    for column, cell, message in ((1, "1.5", "must contain a share from 0 to 1"), (3, "-1", "number of at least 0")):
        broken = [list(map(str, row)) for row in cells]
        broken[0][column] = cell
        write_csv(path, ["text", "rude", "food", "w"], broken)
        with pytest.raises(InputError, match=f"line 2: .*{message}"):
            load_files(data_files(recipe, path), recipe)
    with pytest.raises(RecipeError, match=r"labels\.soft needs labels\.threshold"):
        _recipe(labels={"columns": ["a"], "soft": True})


def test_a_file_without_a_usual_text_column_says_what_to_write_into_the_recipe(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "rows.csv", ["note", "tone"], [["a", "kind"], ["b", "rude"]])
    recipe = _recipe(labels={"column": "tone"})
    with pytest.raises(InputError, match=r"no text column\nName the text column in the recipe: text\.columns = "):
        load_files(data_files(recipe, path), recipe)


def test_rows_without_weight_are_not_looked_at(tmp_path: Path) -> None:
    cells = [["a", "kind", "new"], ["b", "rude", "new"], ["c", "no idea", "old"], ["d", "", "old"]]
    write_csv(tmp_path / "rows.csv", ["text", "tone", "from"], cells)
    file = {"path": str(tmp_path / "rows.csv"), "source_column": "from", "sources": {"old": {"weight": 0}}}
    for names in ({}, {"names": {"kind": "kind", "rude": "rude"}}):
        recipe = _recipe(labels={"column": "tone", **names}, data=[file])
        rows = load_files(data_files(recipe, None), recipe).labelled
        assert rows.texts == ["a", "b"] and rows.labels.names == ("kind", "rude")
    recipe = _recipe(
        labels={"column": "tone", "names": {"kind": "kind", "rude": "rude"}}, data=[{"path": file["path"]}]
    )
    with pytest.raises(RowError, match=r"line 4: column 'tone' must contain one of kind, rude"):
        load_files(data_files(recipe, None), recipe)


def test_settings_of_sources_are_those_of_their_own_file(tmp_path: Path) -> None:
    files = []
    for folder, source, licence in (("a", "forum", "MIT"), ("b", "mail", "CC0")):
        (tmp_path / folder).mkdir()
        rows = [[f"{source} {i}", i % 2, source] for i in range(4)]
        write_csv(path := tmp_path / folder / "rows.csv", ["text", "rude", "from"], rows)
        files.append({"path": str(path), "licence": licence})
    recipe = _recipe(labels={"column": "rude"}, data=[{**file, "source_column": "from"} for file in files])
    licences = {name: one.licence for name, one in load_files(data_files(recipe, None), recipe).sources.items()}
    assert licences == {"forum": "MIT", "mail": "CC0"}
    # A source that one file leaves out can be in another one.
    first, second = ({**file, "source_column": "from"} for file in files)
    write_csv(tmp_path / "b" / "rows.csv", ["text", "rude", "from"], [["x", 0, "forum"], ["y", 1, "mail"]])
    for weight, rows_of_forum in ((0, 4), (1, 5)):
        used = second | {"licence": "MIT", "sources": {"forum": {"weight": weight, "licence": "MIT"}}}
        recipe = _recipe(labels={"column": "rude"}, data=[first, used])
        assert load_files(data_files(recipe, None), recipe).labelled.sources.count("forum") == rows_of_forum
    # Without names, both are called rows.
    recipe = _recipe(labels={"column": "rude"}, data=files)
    with pytest.raises(InputError, match=r"a/rows\.csv and .*b/rows\.csv both have the source 'rows'"):
        load_files(data_files(recipe, None), recipe)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_rows_that_belong_together_are_on_one_side(data: st.DataObject) -> None:
    """Equal texts over all files, and equal groups within one."""
    texts = st.sampled_from(["a", "A", "b", " b", "c", "d", "e"])
    parts = []
    for file in range(data.draw(st.integers(1, 3))):
        rows = data.draw(
            st.lists(st.tuples(texts, st.sampled_from("xyz"), st.sampled_from([0, 1, MISSING])), min_size=1)
        )
        y_true = np.array([[label, 1] for _, _, label in rows])
        parts.append(
            Examples(
                [text for text, _, _ in rows], y_true, list(range(len(rows))), LABELS, TextSpec(),
                groups=tuple(f"{file}\0{group}" for _, group, _ in rows), sources=(str(file),) * len(rows),
                weights=np.ones(len(rows), dtype=np.float32),
            )
        )  # fmt: skip
    rows_of_all = Examples.concatenate(parts)
    drawn = split(rows_of_all, Split(validation=0.3, test=0.2), "files")
    assert sorted([*drawn.train, *drawn.validation, *drawn.test]) == list(range(len(rows_of_all)))
    sides = [set(part.tolist()) for part in (drawn.train, drawn.validation, drawn.test)]
    for keys in ([text.strip().lower() for text in rows_of_all.texts], rows_of_all.groups):
        for key in set(keys):
            members = {i for i, other in enumerate(keys) if other == key}
            assert sum(bool(members & side) for side in sides) == 1
