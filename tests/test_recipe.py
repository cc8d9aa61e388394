"""Recipes are validated, and errors name the key."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from helpers import ROOT, recipe

from toxonnx.errors import RecipeError
from toxonnx.recipe import Export, LabelSpec, Recipe
from toxonnx.recipe_files import load_recipe, recipe_from_dict
from toxonnx.recipe_prose import settings_fingerprint, with_prose_of

SHIPPED_RECIPES = [path.stem for path in sorted((ROOT / "export" / "recipes").glob("*.toml"))]
STAGES = [str(path) for path in sorted((ROOT / "export" / "stages").glob("*.toml"))]


@pytest.mark.parametrize("name", [*SHIPPED_RECIPES, *STAGES])
def test_shipped_recipes_load_and_round_trip(name: str) -> None:
    shipped = load_recipe(name)
    assert recipe_from_dict(shipped.to_dict(), name) == shipped


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 2", "epoch = 2", "unknown key training.epoch"),
        ("epochs = 2", 'epochs = "2"', 'training.epochs must be an integer, got "2"'),
        ("epochs = 2", "epochs = 0", "training.epochs must be positive, got 0"),
        ('method = "lora"', 'method = "qlora"', 'model.method must be one of lora, full, got "qlora"'),
        ('column = "class"', "", "labels must have either column or columns"),
        ("validation = 0.2", "validation = 0.6\ntest = 0.5", "leave no rows for training"),
        ("[split]", "[split", "is not TOML"),
        ("seed = 3", "seed = -3", "split.seed must be from 0 to 4294967295, got -3"),
        ("dropout = 0.0", "dropout = 1.5", "model.lora.dropout must be between 0 and 1, got 1.5"),
        ("epochs = 2", 'schedule = "cosin"', "training.schedule must be one of linear"),
        ("[training]", "[trainig]", "unknown key trainig"),
        ("learning_rate = 0.003", "learning_rate = nan", "training.learning_rate must be a finite number, got NaN"),
        (
            "learning_rate = 0.003",
            "learning_rate = -inf",
            "training.learning_rate must be a finite number, got -Infinity",
        ),
        ("learning_rate = 0.003", "learning_rate = 1" + 400 * "0", "training.learning_rate must be a finite number"),
        ("[training]", "[export]\ntarget_recall = { a = nan }\n[training]", "export.target_recall.a must be a finite"),
        ("[training]", "[training]\nbetas = [0.9, 1.0]", "training.betas[1] must be from 0 to below 1, got 1.0"),
        ("seed = 3", "seed = 4294967296", "split.seed must be from 0 to 4294967295, got 4294967296"),
        ('columns = ["text"]', "columns = 'text'", "text.columns must be a list of strings, got"),
        ('columns = ["text"]', "columns = ['text', 1]", "text.columns[1] must be a string, got 1"),
        ('targets = "all-linear"', "targets = 1", "model.lora.targets must be a string or a list of strings"),
        ('column = "class"', "column = 'class'\nthreshold = 'half'", 'labels.threshold must be a number, got "half"'),
        ('column = "class"', "column = 'class'\nmissing = 'skip'", "labels.missing must be one of error, drop"),
        ("[training]", '[export]\nleave_out = ["a"]\n[training]', "export.leave_out needs labels.columns"),
        (
            'column = "class"',
            "columns = ['a', 'b']\n[export]\nleave_out = ['c']",
            "leave_out: the model has no label c",
        ),
        ('column = "class"', "columns = ['a', 'b']\n[export]\nleave_out = ['b', 'a']", "leave_out names all labels"),
        ('column = "class"', "columns = ['a', 'a|b']", "joined by |, which must not be part of a name: 'a|b'"),
        ('column = "class"', "column = 'class'\nnames = { 0 = '', 1 = 'b' }", "label names must not be empty"),
    ],
)
def test_recipe_errors_name_the_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = recipe(tmp_path / "r.toml")
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RecipeError, match=re.escape(message)) as caught:
        load_recipe(path)
    assert "r.toml" in str(caught.value)


def test_an_unknown_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(RecipeError, match="there is no recipe 'minilm'") as caught:
        load_recipe("minilm")
    assert "minilm-hate" in str(caught.value)


@pytest.mark.parametrize("name", [*SHIPPED_RECIPES, *STAGES])
def test_shipped_prose_is_bound_to_the_recipe(name: str) -> None:
    shipped = load_recipe(name)
    assert len(shipped.written_for.data) == 64
    assert shipped.written_for.settings == settings_fingerprint(shipped)
    assert settings_fingerprint(recipe_from_dict(json.loads(json.dumps(shipped.to_dict())), name)) == (
        shipped.written_for.settings
    )
    other = dataclasses.replace(shipped, training=dataclasses.replace(shipped.training, learning_rate=7e-4))
    assert settings_fingerprint(other) != shipped.written_for.settings
    same = dataclasses.replace(shipped, name="copy", card={}, export=Export())
    same = with_prose_of(same, Recipe("", LabelSpec(descriptions={"a": "b"}), language="Latin"))
    assert settings_fingerprint(same) == shipped.written_for.settings
