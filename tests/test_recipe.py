"""Recipes are validated, and errors name the key."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import recipe

from toxonnx.errors import RecipeError
from toxonnx.recipe import load_recipe, recipe_from_dict


@pytest.mark.parametrize("name", ["minilm-hate", "distilbert-lora", "distilroberta-full"])
def test_shipped_recipes_load_and_round_trip(name: str) -> None:
    shipped = load_recipe(name)
    assert recipe_from_dict(shipped.to_dict(), name) == shipped


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 2", "epoch = 2", "unknown key training.epoch"),
        ("epochs = 2", 'epochs = "2"', "training.epochs must be an integer, got '2'"),
        ("epochs = 2", "epochs = 0", "training.epochs must be positive, got 0"),
        ('method = "lora"', 'method = "qlora"', "model.method must be one of lora, full, got 'qlora'"),
        ('column = "class"', "", "labels must have either column or columns"),
        ("validation = 0.2", "validation = 0.6\ntest = 0.5", "leave no rows for training"),
        ("[split]", "[split", "is not TOML"),
        ("seed = 3", "seed = -3", "split.seed must not be negative, got -3"),
        ("dropout = 0.0", "dropout = 1.5", "model.lora.dropout must be between 0 and 1, got 1.5"),
        ("epochs = 2", 'schedule = "cosin"', "training.schedule must be one of linear"),
        ("[training]", "[trainig]", "unknown key trainig"),
    ],
)
def test_recipe_errors_name_the_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = recipe(tmp_path / "r.toml")
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RecipeError, match=message.replace(".", r"\.")) as caught:
        load_recipe(path)
    assert "r.toml" in str(caught.value)


def test_an_unknown_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(RecipeError, match="there is no recipe 'minilm'") as caught:
        load_recipe("minilm")
    assert "minilm-hate" in str(caught.value)
