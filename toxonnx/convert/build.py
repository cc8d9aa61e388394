"""Fills a folder with a bundle: calibration, graph, tokenizer, verification, thresholds, evaluation, card, seal."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

import toxonnx
from toxonnx.bundle import CASCADE_WEIGHTS, MANIFEST, Bundle, seal
from toxonnx.convert import graph
from toxonnx.convert.baselines import check_baselines
from toxonnx.convert.calibration import calibrate, fold_into_last_layer, measure_calibration, uncalibrated
from toxonnx.convert.card import model_card
from toxonnx.convert.cascade import cascade_target, fit_cascade
from toxonnx.convert.encoder_weights import EncoderWeights, extract_weights
from toxonnx.convert.evaluation import held_out_report
from toxonnx.convert.export_rows import BUILT_IN, long_rows, save_bundle_fingerprints, trained_on
from toxonnx.convert.exporters import OPTIMUM, to_onnx
from toxonnx.convert.fp16 import check_range, to_fp16
from toxonnx.convert.int8 import quantize
from toxonnx.convert.messages import cascade_lines, decision_lines, empty_text_lines, verification_lines
from toxonnx.convert.sample_texts import SENTENCES
from toxonnx.convert.thresholds import (
    add_threshold_curves,
    fit_bundle_thresholds,
    measure_thresholds_on_test_rows,
    threshold_target,
)
from toxonnx.convert.verification_models import load_final, load_fp32
from toxonnx.convert.verify import (
    ExportLogits,
    VerificationRows,
    check_limits,
    measure_agreement,
    measure_reference,
    reference_logits,
)
from toxonnx.data.fingerprints import FINGERPRINT_FILES, load_fingerprints, save_fingerprints
from toxonnx.errors import InputError
from toxonnx.evaluate.suites import SuiteRequest
from toxonnx.formats import LAYOUTS
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.scores import probabilities
from toxonnx.inference.self_test import Expected, ExpectedText
from toxonnx.long_texts import TRUNCATE
from toxonnx.manifest import CalibrationData, Graph, Manifest, Training
from toxonnx.manifest_decisions import Decisions
from toxonnx.manifest_verification import Agreement, Verification
from toxonnx.recipe import Export
from toxonnx.records import to_json
from toxonnx.train.adapters import Trained
from toxonnx.train.tokenizers import encode

__all__ = ["BuildInputs", "build_bundle"]

#: long texts that a bundle with windows contains for its self-test
LONG_EXPECTED = 3
#: files that tokenizer.json makes redundant
REDUNDANT_FILES = ("vocab.txt", "vocab.json", "merges.txt", "added_tokens.json")


@dataclass(frozen=True, kw_only=True)
class BuildInputs:
    """A loaded and checked export.

    Attributes:
        trained: the merged classifier.
        settings: how to export, and the limits.
        calibration: texts on which activations are measured for int8; None for other precisions.
        rows: the rows to verify on.
        test: the run's test rows; None if it has none.
        cascade: texts for the first stage of a cascade; None for none.
        suite: a functional suite, if one was requested.
        allow_worse_than_baseline: seal the model even if it is no better than the baselines.
    """

    trained: Trained
    settings: Export
    calibration: VerificationRows | None
    rows: VerificationRows
    test: VerificationRows | None
    cascade: VerificationRows | None
    suite: SuiteRequest | None
    allow_worse_than_baseline: bool = False


@dataclass(frozen=True)
class _Models:
    """The models to verify: the graph with fp32 weights, and the exported model with what it runs on."""

    fp32: Classifier
    final: Classifier
    ran_on: str


@dataclass(frozen=True)
class _Build:
    """A build whose graph is written: its inputs and models, the bundle's folder, one for other files, and the log."""

    inputs: BuildInputs
    models: _Models
    work: Path
    scratch: Path
    log: Callable[[str], None]


def build_bundle(inputs: BuildInputs, work: Path, name: str, log: Callable[[str], None]) -> Bundle:
    """Creates a sealed bundle in ``work``, an empty folder.

    Args:
        inputs: the model, the rows, and how to export.
        work: the folder.
        name: of the bundle.
        log: called with lines of progress.

    Raises:
        GateError: a limit is exceeded.
    """
    decisions = _calibrate(inputs)
    inputs = dataclasses.replace(inputs, trained=fold_into_last_layer(inputs.trained, decisions))
    trained, settings = inputs.trained, inputs.settings
    exported = to_onnx(trained.model, work)
    if not exported.simplified:
        log("the graph keeps the exporter's shape computations: the simplified one did not give the same logits")
    _write_tokenizer_and_config(trained, work, name)
    manifest = dataclasses.replace(_manifest(trained, settings, name, exported), decisions=decisions)
    with tempfile.TemporaryDirectory(dir=work.parent, prefix=f".{name}.", suffix=".fp32") as folder:
        scratch = Path(folder)
        encoder = extract_weights(trained.model) if LAYOUTS[settings.layout].native else None
        fp32 = load_fp32(work, manifest, scratch, encoder)
        manifest = dataclasses.replace(manifest, graph=_write_graph(inputs, work, scratch, exported, encoder))
        models = _Models(fp32, *_final(fp32, work, manifest, scratch))
        log(
            f"exported to ONNX {settings.precision}, {settings.layout} layout, by {manifest.graph.written_by}; "
            f"verifying on {len(inputs.rows.texts)} rows ({inputs.rows.where}), on {models.ran_on}"
        )
        manifest = _verify_and_evaluate(_Build(inputs, models, work, scratch, log), manifest)
        expected = _expected(trained, models.final)
    for line in [*verification_lines(manifest), *decision_lines(manifest.decisions), *cascade_lines(manifest)]:
        log(line)
    (work / MANIFEST).unlink(missing_ok=True)
    (work / "expected.json").write_text(to_json(expected), encoding="utf-8")
    (work / "README.md").write_text(model_card(manifest, trained.recipe), encoding="utf-8")
    return seal(work, manifest)


def _calibrate(inputs: BuildInputs) -> Decisions | None:
    """The manifest's section, with the calibration if there is one; None without labelled rows."""
    rows, target = inputs.rows, threshold_target(inputs.settings)
    if rows.y_true is None:
        if target:
            raise InputError(
                f"thresholds for {target} can only be fitted on labelled rows",
                "Add labelled rows with --data, --text-column and --label-column.",
            )
        return None
    if inputs.settings.calibrate:
        return calibrate(inputs.trained, rows)
    return Decisions(rows=len(rows.texts), rows_from=rows.where)


def _final(fp32: Classifier, work: Path, manifest: Manifest, scratch: Path) -> tuple[Classifier, str]:
    if manifest.precision == "fp32" and not LAYOUTS[manifest.layout].native:
        return fp32, "CPUExecutionProvider"
    return load_final(work, manifest, scratch)


def _write_tokenizer_and_config(trained: Trained, work: Path, name: str) -> None:
    config = {**trained.model.config.to_dict(), "_name_or_path": name}
    (work / "config.json").write_text(to_json(json.loads(json.dumps(config, default=str))), encoding="utf-8")
    trained.tokenizer.save_pretrained(str(work))
    # Without white space, which is a third of the file that transformers writes.
    trained.tokenizer.backend_tokenizer.save(str(work / "tokenizer.json"), pretty=False)
    for file in REDUNDANT_FILES:
        (work / file).unlink(missing_ok=True)


def _manifest(trained: Trained, settings: Export, name: str, exported: Graph) -> Manifest:
    packages = ("transformers", *(["optimum-onnx"] if exported.written_by == OPTIMUM else []), "onnx")
    recipe = trained.recipe
    meanings = recipe.labels.descriptions if recipe else {}
    return Manifest(
        name=name,
        description=recipe.description if recipe else "",
        language=recipe.language if recipe else "",
        labels=trained.labels,
        label_descriptions={label: meanings[label] for label in trained.labels.names if label in meanings},
        mappings=recipe.labels.mappings if recipe else {},
        left_out_labels=list(dict.fromkeys(settings.leave_out)),
        text=trained.text,
        max_length=trained.max_length,
        pad_id=int(trained.model.config.pad_token_id or 0),
        precision=settings.precision,
        layout=settings.layout,
        long_texts=None if trained.long_texts == TRUNCATE else trained.long_texts,
        model=trained.source,
        training=_training(trained),
        tools={
            "toxonnx": toxonnx.__version__,
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
            **{package: importlib.metadata.version(package) for package in packages},
        },
    )


def _training(trained: Trained) -> Training | None:
    run, recipe = trained.run, trained.recipe
    if not run or recipe is None:
        return None
    labels = recipe.labels
    return Training(
        recipe=recipe.name,
        labels={
            "column": labels.column,
            "columns": list(labels.columns),
            "names": dict(labels.names),
            "threshold": labels.threshold,
        },
        data={"file": run.data.file, "sha256": run.data.sha256, "rows": run.data.rows},
        split=run.split,
        best_epoch=run.best_epoch,
        epochs=run.epochs,
        baselines=run.baselines,
        sources={
            name: {"rows": source.rows, "weight": source.weight, "licence": source.licence}
            for name, source in run.sources.items()
        },
        teacher=run.teacher,
    )


def _write_graph(
    inputs: BuildInputs, work: Path, scratch: Path, exported: Graph, encoder: EncoderWeights | None
) -> Graph:
    """Writes the final graph over the exported one."""
    trained, settings = inputs.trained, inputs.settings
    model, plain = work / "model.onnx", scratch / "plain.onnx"
    shutil.copy(model, plain)
    half = settings.precision == "fp16"
    largest = check_range(plain, trained, inputs.rows.texts) if half else None
    written = exported
    if inputs.calibration:
        written = _to_int8(plain, model, trained, settings, inputs.calibration, exported)
    elif encoder:
        written = graph.write_layout(encoder, model, settings.layout, half=half)
        written = dataclasses.replace(written, simplified=exported.simplified)
    elif half:
        to_fp16(plain, model)
    return dataclasses.replace(written, largest_product=largest, operators=graph.count_operators(model))


def _to_int8(
    source: Path, target: Path, trained: Trained, settings: Export, calibration: VerificationRows, exported: Graph
) -> Graph:
    # With some texts of other kinds, so that unusual rows stay within the scales.
    texts = [*calibration.texts, "", *(trained.text.clean(sentence) for sentence in SENTENCES)]
    margin = 1.3 if calibration.where == BUILT_IN else 1.0  # new rows are less like the built-in sentences
    encoded, _ = encode(trained.tokenizer, texts, trained.max_length)
    arrays = [np.array([ids], dtype=np.int64) for ids in encoded]
    feeds = [{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in arrays]
    layers = quantize(
        source, target, feeds, smoothing=settings.smoothing, reduce_range=settings.reduce_range, margin=margin
    )
    source_of_rows = (
        BUILT_IN if calibration.where == BUILT_IN else f"{calibration.where} and {1 + len(SENTENCES)} built-in"
    )
    return dataclasses.replace(
        exported,
        linear_layers_int8=layers,
        smoothing=settings.smoothing,
        reduce_range=settings.reduce_range,
        calibration=CalibrationData(rows=len(feeds), source=source_of_rows, margin=margin),
    )


def _verify_and_evaluate(build: _Build, manifest: Manifest) -> Manifest:
    """Verifies, fits thresholds, evaluates, and fits a first stage; returns the completed manifest."""
    inputs = build.inputs
    manifest, reported, logits = _verify(build, manifest)
    decisions = manifest.decisions
    fitted = [inputs.rows] if decisions and (decisions.calibrated or decisions.target) else []
    used = [one for one in (inputs.calibration, *fitted) if one]
    save_bundle_fingerprints(inputs.trained, used, build.work)
    with_decisions, _ = load_final(build.work, manifest, build.scratch)
    for warning in empty_text_lines(with_decisions):
        build.log(warning)
    evaluation = held_out_report(with_decisions, logits, reported, inputs.suite, build.log)
    # Only after the report, which is about the full model: that was not fitted on the test rows.
    return _with_cascade(build, dataclasses.replace(manifest, evaluation=evaluation), with_decisions)


def _verify(build: _Build, manifest: Manifest) -> tuple[Manifest, VerificationRows, NDArray[np.float32]]:
    """The manifest with agreement, thresholds and decisions; the rows to report on, and the final model's logits."""
    inputs, models = build.inputs, build.models
    trained, settings, rows = inputs.trained, inputs.settings, inputs.rows
    logits = ExportLogits.of(trained, models.fp32, models.final, rows.texts)
    # The limits apply to decisions without thresholds: these are fitted on the final model's logits, not PyTorch's.
    agreement = measure_agreement(logits, rows, trained.labels)
    labels, decisions = trained.labels, manifest.decisions
    if decisions and (target := threshold_target(settings)):
        labels, decisions = fit_bundle_thresholds(logits.final, rows, labels, target, decisions)
    verification = Verification(
        agreement=agreement,
        limits=check_limits(agreement, settings),
        ran_on=models.ran_on,
        long_texts=_verify_long_texts(inputs, models),
        reference=None if rows.part == "built-in" else measure_reference(models.final, logits.final, rows, labels),
    )
    reported, reported_logits = rows, logits.final
    if inputs.test:
        reported = inputs.test
        test = ExportLogits.of(trained, models.fp32, models.final, reported.texts)
        reported_logits = test.final
        verification = dataclasses.replace(verification, test=measure_agreement(test, reported, trained.labels))
        decisions = measure_calibration(decisions, test.final, reported, labels)
        decisions = measure_thresholds_on_test_rows(decisions, test.final, reported, labels)
    decisions = add_threshold_curves(decisions, reported_logits, reported, labels)
    with_and_without = [reported_logits, uncalibrated(reported_logits, decisions, labels)]
    worse = check_baselines(
        trained, with_and_without, reported, labels=labels, allow_worse=inputs.allow_worse_than_baseline
    )
    for warning in worse:
        build.log(f"warning: {warning}")
    verification = dataclasses.replace(verification, worse_than_baseline=worse)
    manifest = dataclasses.replace(manifest, labels=labels, verification=verification, decisions=decisions)
    return manifest, reported, reported_logits


def _with_cascade(build: _Build, manifest: Manifest, classifier: Classifier) -> Manifest:
    """The manifest with a first stage, if one was requested; writes its weights and the fingerprints of its texts."""
    texts, wanted = build.inputs.cascade, build.inputs.settings.cascade
    if not texts or not (target := cascade_target(wanted, manifest.labels)):
        return manifest
    build.log(f"fitting a first stage on {texts.where}")
    cascade, weights = fit_cascade(classifier, texts.texts, trained_on(build.inputs.trained), target, where=texts.where)
    np.save(build.work / CASCADE_WEIGHTS, weights, allow_pickle=False)
    path = build.work / FINGERPRINT_FILES["fitted"]
    save_fingerprints(path, texts.texts, load_fingerprints(path) if path.is_file() else None)
    return dataclasses.replace(manifest, cascade=cascade)


def _verify_long_texts(inputs: BuildInputs, models: _Models) -> Agreement | None:
    """The agreement on texts of several windows; None where long texts are truncated."""
    trained = inputs.trained
    if trained.long_texts == TRUNCATE:
        return None
    rows = long_rows(trained, inputs.rows)
    logits = ExportLogits.of(trained, models.fp32, models.final, rows.texts)
    agreement = measure_agreement(logits, rows, trained.labels)
    check_limits(agreement, inputs.settings)
    return agreement


def _expected(trained: Trained, final: Classifier) -> Expected:
    """Calibrated probabilities for a few sentences, not normalised; with windows also for long texts."""
    labels, texts = trained.labels, list(SENTENCES)
    if trained.long_texts != TRUNCATE:
        texts += long_rows(trained, VerificationRows(texts, None, BUILT_IN, "built-in")).texts[:LONG_EXPECTED]
    cleaned = [trained.text.clean(text) for text in texts]

    def rows(logits: NDArray[np.float32]) -> list[ExpectedText]:
        values = probabilities(logits, labels).round(6).tolist()
        return [{"text": text, "probabilities": row} for text, row in zip(texts, values, strict=True)]

    pytorch, exported = rows(reference_logits(trained, cleaned)), rows(final.logits(cleaned))
    return {"labels": list(labels.names), "pytorch": pytorch, "exported": exported}
