"""A bundle from anybody: it can be wrong or slow, but it runs no code and reads nothing outside of its folder.

SECURITY.md says this; ``tests/test_bundle.py`` has hostile manifests, names of files and links, and
``tests/train/test_weight_files.py`` pickles in checkpoints.
"""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import ROOT, SHIPPED

from toxonnx.bundle import open_bundle, seal
from toxonnx.cli.console import sanitize
from toxonnx.data.fingerprints import load_fingerprints
from toxonnx.errors import BundleError, InputError
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.self_test import run_self_test
from toxonnx.manifest import Manifest


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the shipped bundle."""
    shutil.copytree(SHIPPED, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def manifest() -> Manifest:
    return open_bundle(SHIPPED).manifest


def add_to_graph(model: Path, graph: onnx.GraphProto) -> None:
    """Adds what is in a graph to a model's: serialized messages, one after another, are one message."""
    with open(model, "ab") as file:
        file.write(onnx.ModelProto(graph=graph).SerializeToString())


def external(location: str) -> onnx.TensorProto:
    """A tensor whose data is in a file, or, by ONNX Runtime's own scheme, at an address in memory."""
    tensor = onnx.TensorProto(
        name="elsewhere", data_type=onnx.TensorProto.FLOAT, dims=[1], data_location=onnx.TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value=location)
    return tensor


@pytest.mark.parametrize("place", ["model.onnx", "onnx/model_quantized.onnx"])
def test_a_model_that_reads_other_files_or_memory_is_refused(bundle: Path, manifest: Manifest, place: str) -> None:
    model = bundle / place
    model.parent.mkdir(exist_ok=True)
    (bundle / "model.onnx").rename(model)
    kept = model.read_bytes()
    (bundle / "weights.bin").write_bytes(bytes(4))
    compiled = onnx.helper.make_node("EPContext", [], ["x"], domain="com.microsoft", ep_cache_context="../engine")
    constant = onnx.helper.make_node("Constant", [], ["x"], value=external("/etc/hostname"))
    for graph, message in (
        (onnx.GraphProto(initializer=[external("../../secret.txt")]), "has data outside of the file"),
        (onnx.GraphProto(initializer=[external("/etc/hostname")]), "has data outside of the file"),
        (onnx.GraphProto(initializer=[external("weights.bin")]), "has data outside of the file"),
        (onnx.GraphProto(initializer=[external("*/_ORT_MEM_ADDR_/*")]), "has data outside of the file"),
        (onnx.GraphProto(node=[constant]), "has data outside of the file"),
        (onnx.GraphProto(node=[compiled]), "has compiled parts"),
    ):
        add_to_graph(model, graph)
        seal(bundle, manifest)
        with pytest.raises(BundleError, match=message):
            open_bundle(bundle)
        model.write_bytes(kept)
    # The length of the key in two bytes instead of one, which parsers of protobuf take, too.
    written = external("weights.bin").SerializeToString()
    longer = written.replace(b"\x08location", b"\x88\x00location").replace(b"j\x17", b"j\x18")
    assert onnx.TensorProto.FromString(longer) == external("weights.bin") and longer != written
    model.write_bytes(kept + longer)
    seal(bundle, manifest)
    with pytest.raises(BundleError, match="has data outside of the file"):
        open_bundle(bundle)


def test_a_custom_operator_is_not_loaded(bundle: Path, manifest: Manifest) -> None:
    graph = onnx.GraphProto(node=[onnx.helper.make_node("Run", [], ["x"], domain="example.custom")])
    add_to_graph(bundle / "model.onnx", graph)
    seal(bundle, manifest)
    with pytest.raises(BundleError, match="does not load in ONNX Runtime"):
        Classifier(open_bundle(bundle))


class _Creates:
    """Creates a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.mkdir, (self.folder,)


def test_a_pickle_in_an_array_is_not_executed(tmp_path: Path) -> None:
    created = tmp_path / "created"
    np.save(tmp_path / "training_texts.npy", np.array([_Creates(created)], dtype=object))
    with pytest.raises(InputError, match="does not contain fingerprints"):
        load_fingerprints(tmp_path / "training_texts.npy")
    assert not created.exists()
    np.load(tmp_path / "training_texts.npy", allow_pickle=True)  # the test can fail
    assert created.exists()


def test_files_that_the_manifest_does_not_list_are_not_read(bundle: Path, tmp_path: Path) -> None:
    manifest = json.loads((bundle / "toxonnx.json").read_text(encoding="utf-8"))
    assert "expected.json" in manifest["files"]
    (bundle / "expected.json").unlink()
    seal(bundle, open_bundle(SHIPPED).manifest)
    (tmp_path / "elsewhere.json").write_text("{}", encoding="utf-8")
    (bundle / "expected.json").symlink_to(tmp_path / "elsewhere.json")
    assert run_self_test(Classifier(open_bundle(bundle))) is None


def test_a_regular_expression_that_takes_too_long_is_an_error(bundle: Path, manifest: Manifest) -> None:
    path = bundle / "tokenizer.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    table["normalizer"] = {"type": "Replace", "pattern": {"Regex": "(a|a)*$"}, "content": ""}
    path.write_text(json.dumps(table), encoding="utf-8")
    seal(bundle, manifest)
    classifier = Classifier(open_bundle(bundle))
    text = "a" * 24 + "b"
    with pytest.raises(BundleError, match="the tokenizer of this bundle failed on a text") as caught:
        classifier.score(text)
    assert text not in str(caught.value)


def test_a_terminal_gets_no_control_characters() -> None:
    assert sanitize("red \x1b[31m or \u202ereversed\n") == "red \ufffd[31m or \ufffdreversed\ufffd"


def test_no_code_of_a_checkpoint_or_bundle_is_run() -> None:
    """transformers asks at a terminal whether to run it, unless it is told not to."""
    calls = 0
    for path in (ROOT / "toxonnx").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id.startswith("Auto") and node.func.attr.startswith("from_"):
                calls += 1
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert given.get("trust_remote_code") == "False", f"{path.name}:{node.lineno}"
    assert calls
