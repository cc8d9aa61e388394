"""Calibration inside the graph."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from checkpoints import make_checkpoint
from click.testing import CliRunner
from helpers import SHIPPED, random_logits, sentences, write_csv
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

from toxonnx import Classifier
from toxonnx.bundle import Bundle, open_bundle
from toxonnx.cli import group
from toxonnx.convert.calibration import fold_into_last_layer, measure_calibration
from toxonnx.convert.export import ExportRequest, export
from toxonnx.convert.verify import VerificationRows, reference_logits
from toxonnx.errors import CheckpointError, InputError
from toxonnx.evaluate.metrics import evaluate
from toxonnx.inference.self_test import run_self_test
from toxonnx.labels import Labels
from toxonnx.manifest_decisions import Decisions, LabelCalibration
from toxonnx.train.adapters import load_trained

TEXTS = list(dict.fromkeys(text for text, _ in sentences(700, 3)))
NAMES = ("calm", "rude", "odd", "spam")


def _other_runtime(bundle: Bundle, texts: list[str]) -> np.ndarray:
    """Logits of the graph by nothing but ONNX Runtime and the tokenizer in the folder, float32 [texts, labels]."""
    tokenizer = Tokenizer.from_file(str(bundle.path / "tokenizer.json"))
    session = onnxruntime.InferenceSession(str(bundle.model))
    rows = []
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        rows += session.run(["logits"], {one.name: feed[one.name] for one in session.get_inputs()})
    return np.concatenate(rows)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "gpt2"])
def test_folding_changes_the_logits_and_nothing_else(checkpoints: dict[str, Path], tmp_path: Path, kind: str) -> None:
    trained = load_trained(checkpoints.get(kind) or make_checkpoint(tmp_path / kind, kind))
    trained = dataclasses.replace(trained, labels=Labels(trained.labels.names, "sigmoid"))
    before = reference_logits(trained, TEXTS[:20])

    @settings(max_examples=8, deadline=None)
    @given(st.lists(st.tuples(st.floats(0.06, 19), st.floats(-20, 20)), min_size=3, max_size=3))
    def check(values: list[tuple[float, float]]) -> None:
        calibration = {
            name: LabelCalibration(rows=1, positives=1, scale=scale, shift=shift)
            for name, (scale, shift) in zip(trained.labels.names, values, strict=True)
        }
        folded = fold_into_last_layer(trained, Decisions(rows=1, rows_from="rows", calibration=calibration))
        scale, shift = np.array(values).T
        assert reference_logits(folded, TEXTS[:20]) == pytest.approx(before * scale + shift, rel=1e-4, abs=1e-4)

    check()
    assert (reference_logits(trained, TEXTS[:20]) == before).all()


def test_a_head_that_is_more_than_a_linear_layer_is_refused(checkpoints: dict[str, Path]) -> None:
    trained = load_trained(checkpoints["distilbert"])
    model = copy.deepcopy(trained.model)
    model.classifier = torch.nn.Sequential(model.classifier, torch.nn.Tanh())
    with pytest.raises(CheckpointError, match=r"not those of its last linear layer\n.*--no-calibration"):
        fold_into_last_layer(
            dataclasses.replace(trained, model=model), Decisions(rows=1, rows_from="rows", temperature=0.5)
        )


def test_every_runtime_gives_the_calibrated_probabilities(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", names=NAMES, problem_type="multi_label_classification")
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    model.classifier.weight.data *= 50  # the logits of random weights hardly differ
    model.save_pretrained(checkpoint)
    trained = load_trained(checkpoint)
    logits = reference_logits(trained, TEXTS).astype(np.float64)
    rng = np.random.default_rng(0)
    z = (logits - logits.mean(axis=0)) / logits.std(axis=0)
    y_true = (rng.random(z.shape) < 1 / (1 + np.exp(-2 * z))).astype(int)
    y_true[:, 2] = 1 - y_true[:, 2]  # rarer where its logits are higher
    y_true[:, 3] = np.arange(len(TEXTS)) < 20
    cells = y_true.astype(object)
    cells[::2, 1] = ""  # not judged
    data = write_csv(tmp_path / "rows.csv", ["text", *NAMES], [[t, *row] for t, row in zip(TEXTS, cells, strict=True)])
    for precision, limit in (("fp32", 1e-4), ("int8", 0.2)):
        request = ExportRequest(
            source=checkpoint, output=tmp_path / precision, data=data, text_columns=("text",), label_columns=NAMES,
            settings={"precision": precision, "min_agreement": 0.0, "max_f1_loss": 1.0},
            allow_worse_than_baseline=True,
        )  # fmt: skip
        log: list[str] = []
        bundle = export(request, log.append)
        manifest, classifier = bundle.manifest, Classifier(bundle)
        theirs = _other_runtime(bundle, TEXTS[:50])
        ours = classifier.score(TEXTS[:50]).probabilities
        assert np.abs(1 / (1 + np.exp(-theirs.astype(np.float64))) - ours).max() < 1e-6
        folded = reference_logits(fold_into_last_layer(trained, manifest.decisions), TEXTS[:50])
        assert np.abs(folded - theirs).max() < limit * np.abs(folded).max()
        assert run_self_test(classifier).passed

        calibration = manifest.decisions.calibration
        assert manifest.labels.temperature == 1 and list(calibration) == list(NAMES)
        verified = np.arange(len(TEXTS)) % 4 > 0 if precision == "int8" else np.full(len(TEXTS), True)
        for name, column in zip(NAMES, cells[verified].T, strict=True):
            assert (calibration[name].rows, calibration[name].positives) == ((column != "").sum(), (column == 1).sum())
        for i, name in enumerate(("calm", "rude")):
            one = calibration[name]
            assert one.scale == pytest.approx(2 / logits[:, i].std(), rel=0.3) and not one.left_out
            assert one.cross_validated.after.loss < one.cross_validated.before.loss - 0.05
            assert one.cross_validated.after.ece < one.cross_validated.before.ece
        for name, reason in (
            ("odd", "no scale between 0.05 and 20 fits the rows"),
            ("spam", "judged texts with the label and"),
        ):
            one = calibration[name]
            assert (one.scale, one.shift) == (1, 0) and reason in one.left_out
            assert any(f"probabilities of {name} are not calibrated: {one.left_out}" in line for line in log)
        agreement = manifest.verification.agreement
        assert agreement.metrics["final"]["per_class"]["calm"]["ece"] < 0.1
        assert list(agreement.per_label) == list(NAMES)
        assert max(0, 1 - sum(1 - share for share in agreement.per_label.values())) <= agreement.label_agreement + 1e-9
        assert min(agreement.per_label.values()) >= agreement.label_agreement
        assert any("(for each label at least " in line for line in log)

    card = (bundle.path / "README.md").read_text(encoding="utf-8")
    assert f"| calm | {calibration['calm'].rows} |" in card and "spam is as it was trained: 1" in card
    assert "temperature" not in (bundle.path / "expected.json").read_text(encoding="utf-8")
    shown = CliRunner().invoke(group, ["info", str(bundle.path)], catch_exceptions=False).output
    assert "calibrated in the graph, except odd, spam" in " ".join(shown.split())
    with pytest.raises(InputError, match=r"thresholds for the best macro F1 can only be fitted on labelled rows"):
        export(ExportRequest(source=checkpoint, output=tmp_path / "b", settings={"best_f1": True}), log.append)


def test_the_temperature_of_an_earlier_manifest_is_applied() -> None:
    shipped = open_bundle(SHIPPED)
    labels = Labels(shipped.manifest.labels.names, temperature=0.7)
    bundle = dataclasses.replace(shipped, manifest=dataclasses.replace(shipped.manifest, labels=labels))
    scores = Classifier(bundle).score(TEXTS[:20])
    x = np.exp(_other_runtime(bundle, TEXTS[:20]).astype(np.float64) / 0.7)
    assert scores.probabilities == pytest.approx(x / x.sum(axis=1, keepdims=True), abs=1e-6)


def test_on_test_rows_the_exported_model_is_measured_with_and_without_calibration() -> None:
    raw, y_true, labels = random_logits(0, 300, multi=True)
    y_true[::3, 1] = -1  # not judged
    fitted = {"a": LabelCalibration(rows=9, positives=4, scale=0.4, shift=0.7)}
    decisions = Decisions(rows=9, rows_from="rows", calibration=fitted)
    calibrated = (raw * np.array([0.4, 1, 1]) + np.array([0.7, 0, 0])).astype(np.float32)
    rows = VerificationRows([f"day {i}" for i in range(300)], y_true, "the test split", "test")
    measured = measure_calibration(decisions, calibrated, rows, labels)
    for found, logits in ((measured.before, raw), (measured.after, calibrated)):
        expected = evaluate(logits, y_true, labels)
        assert (found.ece, found.loss) == pytest.approx((expected.ece, expected.loss), abs=1e-4)
    assert measured.measured_on == "300 rows, the test split" and measured.before.loss != measured.after.loss
