"""The layout of the Hugging Face Hub."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from helpers import ROOT, SHIPPED, sentences
from huggingface_hub import ModelCard

from toxonnx import Classifier
from toxonnx.bundle import open_bundle, seal
from toxonnx.cli import group
from toxonnx.errors import InputError
from toxonnx.formats import PRECISIONS
from toxonnx.manifest import ModelSource


def hub_layout(*arguments: object) -> tuple[int, str]:
    """Exit code, and what was printed or raised."""
    done = CliRunner().invoke(group, ["hub-layout", *map(str, arguments)])
    if isinstance(done.exception, InputError):
        return 2, f"{done.exception.what} {done.exception.hint}"
    assert done.exception is None, done.exception
    return done.exit_code, done.output


def test_the_folder_is_the_same_bundle_with_a_card_for_the_hub(tmp_path: Path) -> None:
    options = ("--metadata", "license=apache-2.0", "--metadata", "datasets=a/b, c/d", "--add", ROOT / "NOTICE")
    code, output = hub_layout(SHIPPED, "-o", tmp_path / "hub", *options)
    assert code == 0 and f"and {len(list((tmp_path / 'hub').iterdir())) - 1} other files" in output
    original, opened = open_bundle(SHIPPED).manifest, open_bundle(tmp_path / "hub").manifest
    moved, place = "model.onnx", f"onnx/{PRECISIONS[original.precision].hub_file}"
    assert set(opened.files) == {*original.files, place, "NOTICE"} - {moved}
    assert opened.files[place] == original.files[moved]
    changed = {name for name in original.files if name in opened.files and opened.files[name] != original.files[name]}
    assert changed == {"README.md", "config.json", "tokenizer_config.json"}
    assert dataclasses.replace(opened, files={}) == dataclasses.replace(original, files={})

    config, tokenizer = (
        json.loads((tmp_path / "hub" / name).read_text()) for name in ("config.json", "tokenizer_config.json")
    )
    assert config["transformers.js_config"] == {"dtype": "q8"}
    assert tokenizer["model_max_length"] == original.max_length
    texts = [text for text, _ in sentences(20)]
    assert np.array_equal(Classifier.load(tmp_path / "hub").logits(texts), Classifier.load(SHIPPED).logits(texts))

    card = ModelCard.load(tmp_path / "hub" / "README.md")
    assert (card.data.license, card.data.language, card.data.datasets) == ("apache-2.0", ["en"], ["a/b", "c/d"])
    assert card.data.pipeline_tag == "text-classification"
    measured = original.evaluation["models"][0]["unseen"]["metrics"]
    assert {one.metric_name: one.metric_value for one in card.data.eval_results} == {
        "Accuracy": round(measured["accuracy"], 4), "Macro F1": round(measured["macro_f1"], 4),
    }  # fmt: skip
    for paragraph in (SHIPPED / "README.md").read_text().split("\n\n"):
        assert paragraph.strip() in card.content


def test_metadata_comes_from_the_manifest_unless_it_is_given(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "bundle")
    source = ModelSource(base="an-owner/a-model")
    manifest = dataclasses.replace(open_bundle(SHIPPED).manifest, model=source, language="French and German")
    seal(tmp_path / "bundle", dataclasses.replace(manifest, evaluation={}))
    _, output = hub_layout(tmp_path / "bundle", "-o", tmp_path / "hub", "--metadata", "tags=a,b")
    assert "the card has no licence" in output
    data = ModelCard.load(tmp_path / "hub" / "README.md").data
    assert (data.base_model, data.language, data.tags) == (["an-owner/a-model"], ["fr", "de"], ["a", "b"])
    assert data.eval_results is None and data.license is None


def test_what_is_refused(tmp_path: Path) -> None:
    assert hub_layout("-o", tmp_path / "hub")[0] == 0
    (tmp_path / "README.md").write_text("another card")
    (tmp_path / "not-a-bundle").mkdir()
    (tmp_path / "dangling").symlink_to("nothing")
    for name in ("one/NOTICE", "two/NOTICE", "onnx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a notice")
    for arguments, message in (
        (("-o", tmp_path / "hub"), "already exists Add --force"),
        (("-o", tmp_path / "not-a-bundle", "--force"), "is not a bundle, so --force does not replace it"),
        (("-o", tmp_path / "dangling", "--force"), "dangling is a link to nothing, which does not exist"),
        ((tmp_path / "hub", "-o", tmp_path / "again"), "already has the layout of the hub"),
        (("-o", tmp_path / "new", "--metadata", "licence=mit"), "unknown metadata 'licence' The known keys are"),
        (("-o", tmp_path / "new", "--metadata", "license"), "--metadata must be KEY=VALUE"),
        (("-o", tmp_path / "new", "--add", tmp_path / "README.md"), "has a file or folder README.md already"),
        (("-o", tmp_path / "new", "--add", tmp_path / "onnx"), "has a file or folder onnx already"),
        (
            ("-o", tmp_path / "new", "--add", tmp_path / "one" / "NOTICE", "--add", tmp_path / "two" / "NOTICE"),
            "several of the files to add are called NOTICE",
        ),
        (("-o", tmp_path / "new", "--add", tmp_path / "LICENSE"), "there is no file"),
    ):
        code, output = hub_layout(*arguments)
        assert code == 2 and message in output, output
    assert not (tmp_path / "new").exists() and not (tmp_path / "again").exists()
    assert hub_layout("-o", tmp_path / "hub", "--force")[0] == 0


def test_a_link_to_the_output_stays(tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to("v1")
    shutil.copytree(SHIPPED, tmp_path / "v1")
    assert hub_layout("-o", tmp_path / "current", "--force")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "v1"]
    assert (tmp_path / "current").readlink() == Path("v1") and (tmp_path / "v1" / "onnx").is_dir()


def test_a_bundle_from_elsewhere_gives_a_folder_or_one_error(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(SHIPPED, bundle)
    manifest = open_bundle(SHIPPED).manifest
    (bundle / "README.md").write_bytes("# Café".encode("latin-1"))
    seal(bundle, manifest)
    code, output = hub_layout(bundle, "-o", tmp_path / "new")
    assert code == 2 and "README.md is not UTF-8" in output
    (bundle / "README.md").write_text("# Card")
    seal(bundle, dataclasses.replace(manifest, evaluation={"part": "test", "models": [{"name": "x"}]}))
    code, output = hub_layout(bundle, "-o", tmp_path / "new")
    assert code == 2 and "missing key evaluation" in output and not (tmp_path / "new").exists()
