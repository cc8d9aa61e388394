"""Exports without Optimum. Also run with transformers 5, with which Optimum does not load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers import sentences

from toxonnx import Classifier, RuntimeOptions
from toxonnx.convert import exporters
from toxonnx.convert.encoder_weights import extract_weights
from toxonnx.convert.export import ExportRequest, export
from toxonnx.convert.plain import plain
from toxonnx.convert.verify import reference_logits
from toxonnx.errors import CheckpointError
from toxonnx.recipe import Export, LabelSpec, Recipe
from toxonnx.train.adapters import load_trained

TEXTS = [text for text, _ in sentences(60, 7)] + ["", "word " * 400, "Gr\u00fc\u00dfe \N{SNOWMAN}"]


@pytest.mark.parametrize("name", ["bert", "distilbert", "roberta", "deberta"])
def test_a_graph_agrees_with_pytorch_for_any_padding(checkpoints: dict[str, Path], tmp_path: Path, name: str) -> None:
    model = load_trained(checkpoints[name]).model
    path, pad = tmp_path / "model.onnx", int(model.config.pad_token_id)
    if name == "deberta":
        with pytest.raises(CheckpointError, match="deberta-v2 is not one of"):
            extract_weights(model)
        assert exporters.trace(model, path).simplified
    else:
        onnx.save(plain(extract_weights(model)), str(path))
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    for rows, tokens in ((1, 1), (3, 7), (2, 128)):
        ids = torch.randint(5, model.config.vocab_size, (rows, tokens), generator=generator)
        mask = torch.ones_like(ids)
        for row in range(1, rows):  # each row with another length
            mask[row, tokens - 2 * row :] = 0
        ids[mask == 0] = pad
        ids[0, tokens // 2] = pad  # a padding token inside a text
        with torch.inference_mode():
            expected = model(input_ids=ids, attention_mask=mask).logits.numpy()
        feed = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        (logits,) = session.run(None, {value.name: feed[value.name] for value in session.get_inputs()})
        assert np.abs(logits - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())


def test_a_run_is_exported_without_optimum(
    run: Path, checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporters, "load_optimum", lambda: None)
    # Random weights have arbitrary decisions, so that their agreement is not limited.
    lax = Recipe("lax", LabelSpec(column="label"), export=Export(min_agreement=0.0))
    for source, recipe, precision, writer, layers in (
        (run, None, "fp32", "toxonnx.convert.plain", 0),
        (run, None, "int8", "toxonnx.convert.plain", 18),
        (checkpoints["deberta"], lax, "int8", "torch.onnx", 12),
    ):
        output = tmp_path / f"{source.name}-{precision}"
        request = ExportRequest(source=source, output=output, recipe=recipe, settings={"precision": precision})
        bundle = export(request, log=lambda _: None)
        graph = bundle.manifest.graph
        assert (graph.written_by, graph.simplified) == (writer, True)
        assert (graph.linear_layers_int8 or 0) >= layers
        assert "optimum-onnx" not in bundle.manifest.tools
        trained = load_trained(source, max_length=128)
        texts = [trained.text.clean(text) for text in TEXTS]
        expected = reference_logits(trained, texts)
        batched, single = (Classifier(bundle, RuntimeOptions(max_batch_tokens=count)) for count in (4096, 1))
        logits = batched.logits(texts)
        assert np.abs(logits - expected).max() < (1e-4 if precision == "fp32" else 0.2)
        if precision == "int8":
            assert (logits == single.logits(texts)).all()
