"""Graphs written for a GPU, checked where there is none: against PyTorch, and for what they need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers import sentences, toxonnx
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from toxonnx import Classifier
from toxonnx.bundle import EMULATED, open_bundle
from toxonnx.convert.encoder_weights import extract_weights
from toxonnx.convert.export import export
from toxonnx.convert.fused import emulated, fused, packed
from toxonnx.convert.verify import reference_logits
from toxonnx.errors import CheckpointError, GateError, MachineError
from toxonnx.inference.batching import PackedBatcher, PaddedBatcher
from toxonnx.inference.cuda_graphs import SMALL_BATCH, CudaGraphRunner, bucketed
from toxonnx.inference.session import Session
from toxonnx.inference.tokenizer_pool import Encoder
from toxonnx.train.adapters import Trained, load_trained

TEXTS = [text for text, _ in sentences(40, 11)] + ["", "word " * 400, "Gr\u00fc\u00dfe \N{SNOWMAN}", "a"]


@pytest.fixture(scope="module")
def checkpoints(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Classifiers with random heads that decide something."""
    root = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(1)
    for name in ("bert", "distilbert", "roberta", "deberta"):
        config = AutoConfig.from_pretrained(bases[name], num_labels=3)
        model = AutoModelForSequenceClassification.from_pretrained(bases[name], config=config)
        for key, parameter in model.named_parameters():  # biases of zeros and the same logits for all prove nothing
            torch.nn.init.normal_(parameter, std=0.1, mean=float("norm.weight" in key.lower()))
        model.save_pretrained(root / name)
        AutoTokenizer.from_pretrained(bases[name]).save_pretrained(root / name)
    return {path.name: path for path in root.iterdir()}


def _session(tmp_path: Path, model: onnx.ModelProto, layout: str) -> Session:
    path = tmp_path / f"{layout}.onnx"
    onnx.save(model, str(path))
    return Session(path, 3, layout=layout)


def _tokens(trained: Trained, folder: Path) -> object:
    encoder = Encoder(folder / "tokenizer.json", trained.max_length, trained.text)
    return encoder(TEXTS).tokens(range(len(TEXTS)))


@pytest.mark.parametrize("name", ["distilbert", "bert", "roberta"])
@pytest.mark.parametrize("half", [False, True])
def test_fused_and_packed_graphs_say_what_pytorch_says(
    checkpoints: dict[str, Path], tmp_path: Path, name: str, half: bool
) -> None:
    trained = load_trained(checkpoints[name], max_length=64)
    reference = reference_logits(trained, TEXTS)
    spread = np.ptp(reference, axis=0).max()
    assert spread > 0.05
    encoder = extract_weights(trained.model)
    tokens = _tokens(trained, checkpoints[name])
    models = {"fused": fused(encoder, half=half), EMULATED: emulated(packed(encoder, half=half))}
    for layout, model in models.items():
        session = _session(tmp_path, model, layout)
        for batcher in (
            [PackedBatcher(300), PackedBatcher(1)]
            if layout == EMULATED
            else [PaddedBatcher(300, 1, 64), PaddedBatcher(1, 1, 64)]
        ):
            logits = np.empty_like(reference)
            for rows in batcher.plan(tokens.lengths):
                logits[rows] = session.run(batcher.feed(tokens, rows))[: len(rows)]
            assert np.abs(logits - reference).max() < (3e-2 if half else 1e-5) * spread, (layout, batcher)
        if half:  # the weights are what makes a file large
            kinds = {w.data_type for w in model.graph.initializer if len(w.dims) == 2 and w.dims[0] > 8}
            assert kinds == {onnx.TensorProto.FLOAT16}


def test_a_packed_graph_lacks_nothing_but_its_cuda_kernel(checkpoints: dict[str, Path]) -> None:
    model = packed(extract_weights(load_trained(checkpoints["distilbert"]).model), half=True)
    with pytest.raises(Exception, match=r"Failed to find kernel for com\.microsoft\.PackedMultiHeadAttention"):
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_buffers_that_stay_give_the_same_logits_as_fresh_ones(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    trained = load_trained(checkpoints["distilbert"], max_length=64)
    session = _session(tmp_path, emulated(packed(extract_weights(trained.model), half=False)), EMULATED)
    captured = CudaGraphRunner(session, 0)
    tokens = _tokens(trained, checkpoints["distilbert"])
    reference = reference_logits(trained, TEXTS)
    rng = np.random.default_rng(0)
    entered, shapes = [], set()

    @contextlib.contextmanager
    def alone() -> Iterator[None]:
        entered.append(1)
        yield

    for count in [1, 2, SMALL_BATCH, 1, 3, 1, SMALL_BATCH, 5] * 3:
        rows = rng.choice(len(TEXTS), count, replace=False)
        some = tokens.subset(rows.tolist())
        feed = bucketed(some.ids, some.lengths, 0)
        assert feed is not None
        shapes.add(feed["token_offset"].shape)
        logits = captured.run(some, alone)
        assert logits is not None and logits.shape == (count, 3)
        assert np.abs(logits - reference[rows]).max() < 1e-5
    assert captured.run(tokens.subset(range(SMALL_BATCH + 1))) is None
    assert 2 < len(shapes) == len(entered), "each shape is captured once, and alone"


def test_packed_export_is_verified_and_refused_where_it_cannot_run(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    done = toxonnx("export", run, "-o", out, "--precision", "fp16", "--layout", "packed")
    assert done.returncode == 0, done.stderr
    assert "with the packed attention emulated" in done.stdout
    manifest = open_bundle(out).manifest
    assert manifest.layout == "packed" and manifest.verification["label_agreement"] == 1
    assert manifest.graph["operators"]["PackedMultiHeadAttention"] == 3
    assert 0 < manifest.graph["largest_product"] < 1000
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "No GPU took part" in card and "--device cuda" in card
    rows = tmp_path / "rows.csv"
    rows.write_text("text\nthe soup was warm\n", encoding="utf-8")
    done = toxonnx("predict", rows, "--bundle", out, "-o", tmp_path / "out.csv")
    assert done.returncode == 2 and "Add --device cuda" in done.stderr
    done = toxonnx("predict", rows, "--bundle", out, "-o", tmp_path / "out.csv", "--device", "cuda", "--allow-fallback")
    assert done.returncode == 3, "nothing else can run it"
    assert not (tmp_path / "out.csv").exists()


def test_a_fused_bundle_runs_anywhere_and_in_optimum(run: Path, tmp_path: Path) -> None:
    bundle = export(run, tmp_path / "fused", settings={"precision": "fp16", "layout": "fused"}, log=lambda _: None)
    texts = [text for text, _ in sentences(12, 5)]
    ours = np.array([p.probabilities for _, p in Classifier(bundle).stream(texts)])
    tokenizer = AutoTokenizer.from_pretrained(bundle.path)
    theirs = ORTModelForSequenceClassification.from_pretrained(bundle.path)
    cleaned = [bundle.manifest.text.clean(text) for text in texts]
    given = tokenizer(cleaned, padding=True, return_tensors="pt", return_token_type_ids=False)
    logits = theirs(**given).logits / bundle.manifest.labels.temperature
    assert np.abs(torch.softmax(logits, dim=-1).numpy() - ours).max() < 2e-3


def test_what_cannot_be_written_is_refused_before_anything_is_exported(
    checkpoints: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    half = {"precision": "fp16", "layout": "packed"}
    with pytest.raises(CheckpointError, match="deberta-v2 is none of distilbert, bert, roberta"):
        export(checkpoints["deberta"], tmp_path / "b", settings=half, log=lambda _: None)
    done = toxonnx("export", run, "-o", tmp_path / "b", "--layout", "packed", "--precision", "int8")
    assert done.returncode == 2 and "Add --precision fp16." in done.stderr
    model = AutoModelForSequenceClassification.from_pretrained(checkpoints["distilbert"])
    model.distilbert.transformer.layer[0].ffn.lin1.weight.data *= 1e6
    model.save_pretrained(tmp_path / "wild")
    AutoTokenizer.from_pretrained(checkpoints["distilbert"]).save_pretrained(tmp_path / "wild")
    with pytest.raises(GateError, match=r"a product inside the model reaches [\d,]+; fp16 ends at 65,504"):
        export(tmp_path / "wild", tmp_path / "b", settings=half, log=lambda _: None)
    assert not (tmp_path / "b").exists()


def test_a_graph_that_is_written_wrong_is_not_sealed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit on logits is about the very graph that is sealed, its rounding aside."""

    def wrong(*arguments: Any, **options: Any) -> onnx.ModelProto:
        model = fused(*arguments, **options)
        (bias,) = (weight for weight in model.graph.initializer if weight.name == "layer.0.up.bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float16(0.02), bias.name))
        return model

    monkeypatch.setattr("toxonnx.convert.graph.fused", wrong)
    for precision in ("fp32", "fp16"):
        with pytest.raises(GateError, match="ONNX fp32 differs from PyTorch"):
            export(run, tmp_path / "b", settings={"precision": precision, "layout": "fused"}, log=lambda _: None)


def test_a_gpu_that_does_not_load_the_model_leaves_verification_to_the_cpu(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = MachineError("no memory")
    monkeypatch.setattr("toxonnx.convert.verification_models.why_unavailable", lambda _: None)
    monkeypatch.setattr("toxonnx.inference.session.why_unavailable", lambda device: full if device == "cuda" else None)
    bundle = export(run, tmp_path / "b", settings={"precision": "fp16", "layout": "fused"}, log=lambda _: None)
    assert bundle.manifest.verification["ran_on"] == "CPUExecutionProvider (CUDA: no memory)"
