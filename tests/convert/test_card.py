"""The model card: prose, sources."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from helpers import SHIPPED

from toxonnx.bundle import open_bundle
from toxonnx.convert.card import model_card, without_foreign_prose
from toxonnx.recipe_files import load_recipe
from toxonnx.train.run import FileIdentity, load_run


def test_prose_is_left_out_where_data_or_settings_differ(run: Path) -> None:
    recipe, training = load_recipe("minilm-toxicity"), open_bundle(SHIPPED).manifest.training
    metadata = load_run(run)
    own = dataclasses.replace(
        metadata, base=f"/anywhere/{recipe.model.base}", data=FileIdentity(**training.data),
        validation_file=FileIdentity(file="validation.csv", sha256=recipe.written_for.validation),
    )  # fmt: skip
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
    validated = dataclasses.replace(own, validation_file=FileIdentity(file="held-out.csv", sha256="ab" * 32))
    about_both = dataclasses.replace(recipe.written_for, validation="ab" * 32)
    for_both = dataclasses.replace(recipe, written_for=about_both)
    assert without_foreign_prose(for_both, validated) == (for_both, "")
    assert without_foreign_prose(for_both, own)[1] == "data"
    unbound = dataclasses.replace(recipe, written_for=type(recipe.written_for)())
    assert without_foreign_prose(unbound, metadata) == (unbound, "")


def test_the_card_lists_sources_with_their_licences_and_the_teacher() -> None:
    manifest = open_bundle(SHIPPED).manifest
    assert manifest.training is not None
    alone = dataclasses.replace(manifest.training, sources={}, teacher={})
    assert "Sources of the rows" not in model_card(dataclasses.replace(manifest, training=alone), None)
    training = dataclasses.replace(
        alone,
        sources={
            "forum_posts": {"rows": 12345, "weight": 0.5, "licence": "CC-BY 4.0"},
            "letters": {"rows": 7, "weight": 1.0, "licence": ""},
        },
        teacher={"big-run": "ab" * 32},
    )
    lines = model_card(dataclasses.replace(manifest, training=training), None).splitlines()
    assert "| forum\\_posts | 12,345 | 0.5 | CC-BY 4.0 |" in lines and "| letters | 7 | 1 | not given |" in lines
    assert "- it also learnt the probabilities of big-run (sha256 abababababababab)" in lines
