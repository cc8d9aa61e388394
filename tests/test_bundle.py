"""Bundles: the seal, damaged files, and the manifest."""

from __future__ import annotations

import copy
import dataclasses
import errno
import functools
import json
import math
import operator
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import SHIPPED, toxonnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toxonnx.bundle import MANIFEST, _seal_of, new_folder, open_bundle, seal
from toxonnx.errors import BundleError, InputError
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.self_test import run_self_test
from toxonnx.manifest import Adapter, Manifest


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the shipped bundle."""
    shutil.copytree(SHIPPED, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_changed_byte_in_any_file_is_detected(bundle: Path) -> None:
    for path in sorted(bundle.iterdir()):
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        done = toxonnx("info", bundle)
        assert done.returncode == 2, path.name
        assert path.name in done.stderr and "Traceback" not in done.stderr, done.stderr
        path.write_bytes(content)
    assert toxonnx("info", bundle).returncode == 0


def test_folders_that_are_not_sealed_bundles(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    done = toxonnx("info", tmp_path / "mounted")
    assert done.returncode == 2 and "mounted is empty\nIf it is mounted" in done.stderr
    manifest = bundle / MANIFEST
    table = json.loads(manifest.read_text())
    manifest.unlink()
    done = toxonnx("info", bundle)
    assert done.returncode == 2 and "is not sealed" in done.stderr
    manifest.write_text(json.dumps({**table, "schema": 99}))
    done = toxonnx("info", bundle)
    assert done.returncode == 2 and "has schema 99, this version of toxonnx reads schema 5" in done.stderr
    manifest.write_text(json.dumps({**table, "max_length": 4}))
    done = toxonnx("info", bundle)
    assert done.returncode == 2 and "does not match its seal" in done.stderr
    manifest.write_text(json.dumps(table))
    (bundle / "model.onnx").unlink()
    done = toxonnx("info", bundle)
    assert done.returncode == 2 and "model.onnx is missing" in done.stderr


def test_a_manifest_survives_json() -> None:
    manifest = open_bundle(SHIPPED).manifest
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest


#: values of every type, and the kind of number, name or nesting that breaks a reader
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1, 2, 600, 10**12, 10**30, 0.5, -0.5, 1e308, math.nan, math.inf, "", "x", "0", "5",
    "../../etc/hostname", "/etc/hostname", "a\0b", "\ud800", "\x1b[2J", "packed", "fp16", "sigmoid", [], [None], [[]],
    ["a", "a"], {}, {"a": {}}, {"../up": "0" * 64}, {"": 1}, 1,
]  # fmt: skip
#: sections that decide how a text is scored
RUN = {"labels", "text", "max_length", "pad_id", "precision", "layout"}


def reseal(folder: Path, table: dict[str, Any]) -> None:
    """Writes a manifest whose seal is right, as anybody could."""
    (folder / MANIFEST).write_text(json.dumps({**table, "seal": _seal_of(table)}), encoding="utf-8")


def paths(value: Any) -> list[tuple[Any, ...]]:
    """The paths of all values inside a value, its own first."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(), *((key, *path) for key, item in items for path in paths(item))]


MANIFEST_TABLE = json.loads((SHIPPED / MANIFEST).read_text(encoding="utf-8"))
#: a section, then a value in it, so that long sections do not get all the tests
PATHS = st.sampled_from(sorted(MANIFEST_TABLE)).flatmap(
    lambda key: st.sampled_from([(key, *path) for path in paths(MANIFEST_TABLE[key])])
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PATHS, st.sampled_from([*HOSTILE, "remove", "rename"]))
def test_a_hostile_manifest_gives_a_working_bundle_or_one_error(
    bundle: Path, path: tuple[Any, ...], value: Any
) -> None:
    table = copy.deepcopy(MANIFEST_TABLE)
    parent: Any = functools.reduce(operator.getitem, path[:-1], table)
    if value == "rename" and isinstance(parent, dict):
        parent["surprise"] = parent.pop(path[-1])
    elif value == "remove":
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    reseal(bundle, table)
    try:
        opened = open_bundle(bundle)
        if path[0] in RUN:
            assert len(Classifier(opened).score(["What a lovely morning!"])) == 1
    except InputError as error:
        assert "\n" not in error.what and len(error.what) < 600
        error.what.encode()
        assert any(str(key) in error.what for key in (path[0], path[-1], "surprise", "not a label")), error.what


def test_manifests_that_are_refused_before_anything_else_is_read(bundle: Path) -> None:
    manifest = bundle / MANIFEST
    table = json.loads(manifest.read_text())
    deep = '{"schema": 5, "evaluation": ' + '{"a": ' * 100_000 + "1" + "}" * 100_000 + "}"
    for content, message in (
        (b"\xff", "is not JSON"),
        (b"[]", "must contain a JSON object"),
        (b"{", "is not JSON"),
        (deep.encode(), "is nested too deeply"),
        (b'{"schema": 5, "max_length": ' + b"1" * 5000 + b"}", "a number with too many digits"),
        (b'{"a": "' + b"x" * (1 << 23) + b'"}', "is larger than 8 MiB"),
        (b'{"schema": "5"}', "has schema unknown"),
    ):
        manifest.write_bytes(content)
        with pytest.raises(BundleError, match=message):
            open_bundle(bundle)
    nested: Any = 1
    for _ in range(100):
        nested = [nested]
    for changed, message in (
        ({"evaluation": {"models": nested}}, r"evaluation.* is nested too deeply"),
        ({"max_length": 600}, "max_length in toxonnx.json is 600, but max_position_embeddings in config.json is 512"),
        ({"pad_id": 30522}, "pad_id in toxonnx.json is 30522, but vocab_size in config.json is 30522"),
        ({"max_length": 0}, "max_length must be between 3 and"),
        ({"files": 5}, "files must be an object, got 5"),
        ({"files": {**table["files"], "../up": "0" * 64}}, r'key "../up" of files must be the name of a file in the'),
        ({"verification": {**table["verification"], "surprise": 1}}, r"unknown key verification\.surprise"),
        ({"text": None}, "text must be an object, got null"),
    ):
        reseal(bundle, {**table, **changed})
        with pytest.raises(BundleError, match=message):
            open_bundle(bundle)


def test_a_link_out_of_the_folder_is_refused(bundle: Path, tmp_path: Path) -> None:
    shutil.move(bundle / "README.md", tmp_path / "elsewhere.md")
    (bundle / "README.md").symlink_to(tmp_path / "elsewhere.md")
    with pytest.raises(BundleError, match=r"README\.md is a link to a file outside the folder"):
        open_bundle(bundle)


def test_a_folder_that_cannot_be_replaced_stays(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.replace

    def refuse(source: Path, target: Path) -> None:
        if source.suffix == ".part":
            raise OSError(errno.EACCES, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="Permission denied"), new_folder(bundle, force=True) as work:
        (work / "new").touch()
    monkeypatch.undo()
    assert open_bundle(bundle).manifest.name and [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("force", "appears", "message"), [(False, MANIFEST, "already exists"), (True, "notes.txt", "is not a bundle")]
)
def test_a_folder_that_appears_meanwhile_stays(tmp_path: Path, force: bool, appears: str, message: str) -> None:
    output = tmp_path / "bundle"
    with pytest.raises(InputError, match=message), new_folder(output, force=force):
        output.mkdir()
        (output / appears).write_text("{}", encoding="utf-8")
    assert (output / appears).is_file() and [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda metrics: metrics.pop("final"), "metrics must be of pytorch, onnx_fp32 and final"),
        (lambda metrics: metrics["final"]["per_class"].popitem(), "the same labels in each per_class"),
    ],
)
def test_a_verification_with_metrics_missing_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    table = copy.deepcopy(MANIFEST_TABLE)
    change(table["verification"]["agreement"]["metrics"])
    reseal(bundle, table)
    with pytest.raises(BundleError, match=message):
        open_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 1e-308}, "temperature must be between 0.001 and 1000, got 1e-308"),
        ({"temperature": 1e4}, "temperature must be between"),
        ({"names": ["", "b", "c", "d", "e"]}, "label names must not be empty"),
        ({"names": ["a|b", "a", "b", "c", "d"]}, r"joined by \|, which must not be part of a name: 'a\|b'"),
    ],
)
def test_labels_whose_scores_would_be_undefined_or_ambiguous(
    bundle: Path, change: dict[str, Any], message: str
) -> None:
    reseal(bundle, {**MANIFEST_TABLE, "labels": {**MANIFEST_TABLE["labels"], **change}})
    with pytest.raises(BundleError, match=message):
        open_bundle(bundle)


@pytest.mark.parametrize("others", [["onnx/notes.txt"], ["onnx/model_q4.onnx", "onnx/notes.txt"]])
def test_other_files_in_the_folder_of_the_hub_are_not_the_model(bundle: Path, others: list[str]) -> None:
    (bundle / "onnx").mkdir()
    for name in others:
        (bundle / name).write_bytes(b"not a model")
    seal(bundle, open_bundle(SHIPPED).manifest)
    assert open_bundle(bundle).model == bundle / "model.onnx"


def test_damaged_files_of_a_resealed_bundle(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    config = json.loads((bundle / "config.json").read_text())
    deep = "[" * 100_000 + "]" * 100_000
    for name, content, message in (
        ("config.json", "[]", r"config\.json must contain a JSON object"),
        ("config.json", json.dumps({**config, "id2label": {"x": "hate"}}), "the ids in id2label must be 0, 1, 2"),
        ("config.json", json.dumps({**config, "id2label": 5}), "id2label must be an object"),
        ("tokenizer.json", deep, r"tokenizer\.json is not a tokenizer"),
        ("tokenizer.json", "{}", r"tokenizer\.json is not a tokenizer"),
        ("expected.json", '{"pytorch": []}', r"missing key expected\.json\.(labels|temperature)"),
    ):
        kept = (bundle / name).read_bytes()
        (bundle / name).write_text(content)
        seal(bundle, manifest)
        with pytest.raises(InputError, match=message):
            run_self_test(Classifier(open_bundle(bundle)))
        (bundle / name).write_bytes(kept)


def test_a_fractional_lora_alpha_can_be_read_again(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    adapter = Adapter(r=8, alpha=0.5, layers=12, head=[])
    seal(bundle, dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, adapter=adapter)))
    reopened = open_bundle(bundle).manifest.model.adapter
    assert reopened is not None and reopened.alpha == 0.5
