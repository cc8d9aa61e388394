"""The prose of a model card."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from helpers import SHIPPED

from toxonnx.bundle import open_bundle
from toxonnx.convert.card import without_foreign_prose
from toxonnx.recipe import load_recipe
from toxonnx.train.run import FileIdentity, load_run


def test_prose_is_left_out_where_data_or_settings_differ(run: Path) -> None:
    recipe, training = load_recipe("minilm-hate"), open_bundle(SHIPPED).manifest.training
    metadata = load_run(run)
    own = dataclasses.replace(metadata, base=recipe.model.base, data=FileIdentity(**training.data))
    assert without_foreign_prose(recipe, own) == (recipe, "")
    other_split = dataclasses.replace(recipe, split=dataclasses.replace(recipe.split, seed=1))
    for changed, by, others in (
        (recipe, metadata, "data and settings"),
        (recipe, dataclasses.replace(own, data=metadata.data), "data"),
        (recipe, dataclasses.replace(own, validation_file=metadata.data), "data"),
        (recipe, dataclasses.replace(own, base="another-base"), "settings"),
        (other_split, own, "settings"),
        (recipe, None, "data and settings"),
    ):
        kept, found = without_foreign_prose(changed, by)
        assert (found, kept.description, kept.language, kept.labels.descriptions, kept.card) == (others, "", "", {}, {})
        assert kept.training == recipe.training
    unbound = dataclasses.replace(recipe, written_for=type(recipe.written_for)())
    assert without_foreign_prose(unbound, metadata) == (unbound, "")
