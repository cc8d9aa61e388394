"""Graphs for GPUs, checked without one: agreement with PyTorch, and what they need."""

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
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from toxonnx import Classifier
from toxonnx.bundle import Bundle, open_bundle
from toxonnx.convert.encoder_weights import extract_weights
from toxonnx.convert.export import ExportRequest, export
from toxonnx.convert.fused import emulate_packed, fused, packed
from toxonnx.convert.verify import reference_logits
from toxonnx.errors import CheckpointError, GateError, MachineError
from toxonnx.formats import EMULATED
from toxonnx.inference.batching import PackedBatcher, PaddedBatcher
from toxonnx.inference.cuda_graphs import SMALL_BATCH, CudaGraphRunner, pad_to_fixed_shape
from toxonnx.inference.session import Session, SessionOptions
from toxonnx.inference.tokenizer_pool import TextPreprocessor
from toxonnx.train.adapters import Trained, load_trained

TEXTS = [text for text, _ in sentences(40, 11)] + ["", "word " * 400, "Gr\u00fc\u00dfe \N{SNOWMAN}", "a"]


def make_bundle(source: Path, output: Path, **options: Any) -> Bundle:
    return export(ExportRequest(source=source, output=output, **options), log=lambda _: None)


def _session(tmp_path: Path, model: onnx.ModelProto, layout: str) -> Session:
    path = tmp_path / f"{layout}.onnx"
    onnx.save(model, str(path))
    return Session(path, 3, SessionOptions(layout=layout))


def _tokens(trained: Trained, folder: Path) -> object:
    preprocess = TextPreprocessor(folder / "tokenizer.json", trained.max_length, trained.text)
    return preprocess(TEXTS).tokens(range(len(TEXTS))).tokens


@pytest.mark.parametrize("name", ["distilbert", "bert", "roberta"])
@pytest.mark.parametrize("half", [False, True])
def test_fused_and_packed_graphs_agree_with_pytorch(
    checkpoints: dict[str, Path], tmp_path: Path, name: str, half: bool
) -> None:
    trained = load_trained(checkpoints[name], max_length=64)
    reference = reference_logits(trained, TEXTS)
    spread = np.ptp(reference, axis=0).max()
    assert spread > 0.05
    encoder = extract_weights(trained.model)
    tokens = _tokens(trained, checkpoints[name])
    models = {"fused": fused(encoder, half=half), EMULATED: emulate_packed(packed(encoder, half=half))}
    for layout, model in models.items():
        session = _session(tmp_path, model, layout)
        for batcher in (
            [PackedBatcher(300), PackedBatcher(1)]
            if layout == EMULATED
            else [PaddedBatcher(300, 1, 64), PaddedBatcher(1, 1, 64)]
        ):
            logits = np.empty_like(reference)
            for rows in batcher.batches(tokens.lengths):
                logits[rows] = session.run(batcher.feed(tokens, rows))[: len(rows)]
            assert np.abs(logits - reference).max() < (3e-2 if half else 1e-5) * spread, (layout, batcher)
        if half:  # weights are most of a file
            kinds = {w.data_type for w in model.graph.initializer if len(w.dims) == 2 and w.dims[0] > 8}
            assert kinds == {onnx.TensorProto.FLOAT16}


def test_a_packed_graph_only_lacks_the_cuda_kernel_here(checkpoints: dict[str, Path]) -> None:
    model = packed(extract_weights(load_trained(checkpoints["distilbert"]).model), half=True)
    with pytest.raises(Exception, match=r"Failed to find kernel for com\.microsoft\.PackedMultiHeadAttention"):
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_fixed_buffers_give_the_same_logits(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    trained = load_trained(checkpoints["distilbert"], max_length=64)
    session = _session(tmp_path, emulate_packed(packed(extract_weights(trained.model), half=False)), EMULATED)
    runner = CudaGraphRunner(session, 0)
    tokens = _tokens(trained, checkpoints["distilbert"])
    reference = reference_logits(trained, TEXTS)
    rng = np.random.default_rng(0)
    entered, shapes = [], set()

    @contextlib.contextmanager
    def exclusive() -> Iterator[None]:
        entered.append(1)
        yield

    for count in [1, 2, SMALL_BATCH, 1, 3, 1, SMALL_BATCH, 5] * 3:
        rows = rng.choice(len(TEXTS), count, replace=False)
        part = tokens.subset(rows.tolist())
        feed = pad_to_fixed_shape(part.ids, part.lengths, 0)
        assert feed is not None
        shapes.add(feed["token_offset"].shape)
        logits = runner.run(part, exclusive)
        assert logits is not None and logits.shape == (count, 3)
        assert np.abs(logits - reference[rows]).max() < 1e-5
    assert runner.run(tokens.subset(range(SMALL_BATCH + 1))) is None
    assert 2 < len(shapes) == len(entered), "each shape is captured once, exclusively"


def test_a_packed_export_is_verified_and_does_not_run_on_the_cpu(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    done = toxonnx("export", run, "-o", out, "--precision", "fp16", "--layout", "packed")
    assert done.returncode == 0, done.stderr
    assert "with the packed attention emulated" in done.stderr
    manifest = open_bundle(out).manifest
    assert manifest.layout == "packed" and manifest.verification.agreement.label_agreement == 1
    assert manifest.graph.operators["PackedMultiHeadAttention"] == 3
    assert 0 < manifest.graph.largest_product < 1000
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "It was not verified on a GPU" in card and "--device cuda" in card
    rows = tmp_path / "rows.csv"
    rows.write_text("text\nthe soup was warm\n", encoding="utf-8")
    done = toxonnx("predict", rows, "--bundle", out, "-o", tmp_path / "out.csv")
    assert done.returncode == 2 and "Add --device cuda" in done.stderr
    done = toxonnx("predict", rows, "--bundle", out, "-o", tmp_path / "out.csv", "--device", "cuda", "--allow-fallback")
    assert done.returncode == 3, "there is no fallback"
    assert not (tmp_path / "out.csv").exists()


def test_a_fused_bundle_runs_anywhere_and_in_optimum(run: Path, tmp_path: Path) -> None:
    bundle = make_bundle(run, tmp_path / "fused", settings={"precision": "fp16", "layout": "fused"})
    texts = [text for text, _ in sentences(12, 5)]
    ours = Classifier(bundle).score(texts).probabilities
    tokenizer = AutoTokenizer.from_pretrained(bundle.path)
    theirs = ORTModelForSequenceClassification.from_pretrained(bundle.path)
    cleaned = [bundle.manifest.text.clean(text) for text in texts]
    given = tokenizer(cleaned, padding=True, return_tensors="pt", return_token_type_ids=False)
    logits = theirs(**given).logits / bundle.manifest.labels.temperature
    assert np.abs(torch.softmax(logits, dim=-1).numpy() - ours).max() < 2e-3


def test_unsupported_exports_fail_before_anything_is_written(
    checkpoints: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    half = {"precision": "fp16", "layout": "packed"}
    with pytest.raises(CheckpointError, match="deberta-v2 is not one of distilbert, bert, roberta"):
        make_bundle(checkpoints["deberta"], tmp_path / "b", settings=half)
    done = toxonnx("export", run, "-o", tmp_path / "b", "--layout", "packed", "--precision", "int8")
    assert done.returncode == 2 and "Add --precision fp16" in done.stderr
    model = AutoModelForSequenceClassification.from_pretrained(checkpoints["distilbert"])
    model.distilbert.transformer.layer[0].ffn.lin1.weight.data *= 1e6
    model.save_pretrained(tmp_path / "wild")
    AutoTokenizer.from_pretrained(checkpoints["distilbert"]).save_pretrained(tmp_path / "wild")
    with pytest.raises(
        GateError, match=r"matrix product in the model reaches [\d,]+; the largest fp16 value is 65,504"
    ):
        make_bundle(tmp_path / "wild", tmp_path / "b", settings=half)
    assert not (tmp_path / "b").exists()


def test_a_wrong_graph_is_not_sealed(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on logits applies to the graph that is sealed, in fp32."""

    def wrong(*arguments: Any, **options: Any) -> onnx.ModelProto:
        model = fused(*arguments, **options)
        (bias,) = (weight for weight in model.graph.initializer if weight.name == "layer.0.up.bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float16(0.02), bias.name))
        return model

    monkeypatch.setattr("toxonnx.convert.graph.fused", wrong)
    for precision in ("fp32", "fp16"):
        with pytest.raises(GateError, match="ONNX fp32 differs from PyTorch"):
            make_bundle(run, tmp_path / "b", settings={"precision": precision, "layout": "fused"})


def test_verification_uses_the_cpu_if_the_gpu_does_not_load_the_model(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = MachineError("no memory")
    monkeypatch.setattr("toxonnx.convert.verification_models.why_unavailable", lambda _: None)
    monkeypatch.setattr("toxonnx.inference.session.why_unavailable", lambda device: full if device == "cuda" else None)
    bundle = make_bundle(run, tmp_path / "b", settings={"precision": "fp16", "layout": "fused"})
    assert bundle.manifest.verification.ran_on == "CPUExecutionProvider (CUDA: no memory)"
