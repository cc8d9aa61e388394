"""``toxonnx export``: merge, export, quantize, verify, seal. Nothing stands under the bundle's name before the end."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import toxonnx
from toxonnx.bundle import MANIFEST, Bundle, Manifest, seal, sha256
from toxonnx.convert import graph
from toxonnx.convert.card import model_card
from toxonnx.convert.encoder_weights import extract_weights
from toxonnx.convert.evaluation import held_out_report
from toxonnx.convert.export_rows import BUILT_IN, calibration_rows, save_bundle_fingerprints, verification_rows
from toxonnx.convert.int8 import quantize
from toxonnx.convert.sample_texts import SENTENCES
from toxonnx.convert.thresholds import fit_temperature_and_thresholds, measure_decisions, target_of
from toxonnx.convert.verification_models import exact_classifier, final_classifier, headroom
from toxonnx.convert.verify import Logits, Rows, compare, gate, recipe_label_columns, reference_logits
from toxonnx.data.examples import load_saved_rows
from toxonnx.errors import InputError
from toxonnx.evaluate.suites import SuiteRequest
from toxonnx.formats import LAYOUTS, check_precision_and_layout
from toxonnx.inference.scores import probabilities
from toxonnx.io.base import ReadOptions
from toxonnx.io.table import read_table
from toxonnx.labels import Labels
from toxonnx.recipe import Export, Recipe
from toxonnx.texts import TextSpec
from toxonnx.train.adapters import Trained, load_trained

__all__ = ["export"]


def export(
    source: str | Path,
    out: Path,
    *,
    base: str | None = None,
    labels: tuple[str, ...] = (),
    activation: str | None = None,
    max_length: int | None = None,
    data: Path | None = None,
    text: tuple[str, ...] = (),
    label: tuple[str, ...] = (),
    reading: ReadOptions | None = None,
    recipe: Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    suite: SuiteRequest | None = None,
    force: bool = False,
    log: Callable[[str], None] = print,
) -> Bundle:
    """Makes a bundle.

    Args:
        source: a run, an adapter folder, or a checkpoint (folder or hub id).
        out: the bundle's folder; its last part is the bundle's name.
        base: the adapter's base, in place of the one it names.
        labels, activation, max_length: for checkpoints that do not say.
        data: rows to verify on, in place of the run's validation split.
        reading: how to read ``data``.
        text, label: the columns of ``data``. Without ``label``, agreement alone is verified.
        recipe: its limits and card are used in place of the run's; for a checkpoint from elsewhere, its text too.
        settings: of :class:`toxonnx.recipe.Export`, in place of the recipe's: ``precision``, ``calibrate`` ...
        suite: a functional suite to run and to put into the card.
        force: replace ``out``.
        log: takes each line of progress.

    Raises:
        GateError: a figure is over its limit; nothing was sealed.
        InputError: ``out`` exists, or the source or the rows are bad.
    """
    out = out.absolute()
    if out.exists() and not force:
        raise InputError(f"{out} exists already", "Add --force to replace it.")
    if out.exists() and not (out / MANIFEST).is_file():
        raise InputError(f"{out} is no bundle, so --force does not replace it", "Name another folder.")
    if label and data is None:
        raise InputError("--label-column names a column of --data, which was not given")
    trained = load_trained(source, base=base, labels=labels, activation=activation, max_length=max_length)
    if recipe and trained.recipe:
        recipe = dataclasses.replace(
            trained.recipe, description=recipe.description, export=recipe.export, card=recipe.card
        )
    elif recipe:
        wanted = max_length or recipe.max_length
        if wanted > trained.max_length:
            raise InputError(f"max_length {wanted} is over what the checkpoint takes, {trained.max_length} tokens")
        trained = dataclasses.replace(trained, text=recipe.text, max_length=wanted)
    if recipe:
        trained = dataclasses.replace(trained, recipe=recipe)
    if text:
        # Columns named by hand are how this model is fed from now on, where it has no columns of its own.
        spec = trained.text
        trained = dataclasses.replace(trained, text=spec if spec.columns else TextSpec(text, "", spec.normalise))
    limits = dataclasses.replace(trained.recipe.export if trained.recipe else Export(), **(settings or {}))
    precision = limits.precision
    check_precision_and_layout(precision, limits.layout)
    if LAYOUTS[limits.layout].native:
        extract_weights(trained.model)  # says at once if it cannot be done
    if target := target_of(limits):
        target.check(trained.labels)
    if suite:
        suite.check(trained.labels)
    rows = verification_rows(trained, read_table(data, reading) if data else None, text, label)
    calibration, rows = calibration_rows(trained, rows) if precision == "int8" else (None, rows)
    if calibration and calibration.where == BUILT_IN:
        log("WARNING: int8 is calibrated on built-in sentences; --data with your own texts (200 or more) does better")
    if data and trained.run and sha256(data) == trained.run["data"]["sha256"]:
        log(f"WARNING: {data.name} is what the run was trained on; metrics on it flatter")
    if "merge_largest_logit_difference" in trained.source:
        log(f"merged LoRA; logits moved by {trained.source['merge_largest_logit_difference']:.1e} at most")
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        bundle = _build(trained, work, out.name, limits, calibration, rows, suite, log)
        work.chmod(0o777 & ~_umask())
        before = work.with_suffix(".old")
        if out.exists():
            os.replace(out, before)
        os.replace(work, out)
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    log(f"sealed {out} ({sum(p.stat().st_size for p in out.iterdir()) / 1e6:.1f} MB)")
    return Bundle(out, bundle.manifest)


def _build(
    trained: Trained,
    work: Path,
    name: str,
    limits: Export,
    calibration: Rows | None,
    rows: Rows,
    suite: SuiteRequest | None,
    log: Callable[[str], None],
) -> Bundle:
    """Fills ``work`` with a sealed bundle."""
    precision = limits.precision
    about = graph.to_onnx(trained.model, work)
    if not about["simplified"]:
        log(
            "the graph is kept as Optimum wrote it, shape computations and all: simplified, it did not give the same logits"
        )
    config = {**trained.model.config.to_dict(), "_name_or_path": name}
    (work / "config.json").write_text(json.dumps(config, indent=2, default=str) + "\n", encoding="utf-8")
    trained.tokenizer.save_pretrained(str(work))
    for extra in ("vocab.txt", "vocab.json", "merges.txt", "added_tokens.json"):  # tokenizer.json holds all of it
        (work / extra).unlink(missing_ok=True)
    manifest = Manifest(
        name=name,
        labels=trained.labels,
        text=trained.text,
        max_length=trained.max_length,
        pad_id=int(trained.model.config.pad_token_id or 0),
        precision=precision,
        layout=limits.layout,
        model=trained.source,
        training=_training(trained),
        tools=_tools(),
    )
    with tempfile.TemporaryDirectory(dir=work.parent, prefix=f".{name}.", suffix=".fp32") as kept:
        encoder = extract_weights(trained.model) if LAYOUTS[limits.layout].native else None
        fp32 = exact_classifier(work, manifest, Path(kept), encoder)
        model, exact = work / "model.onnx", Path(kept) / "plain.onnx"
        shutil.copy(model, exact)
        if precision == "fp16":
            about["largest_product"] = headroom(exact, trained, rows.texts)
        if calibration:
            about |= _to_int8(exact, model, trained, limits, calibration)
        elif encoder:
            about |= graph.to_layout(encoder, model, limits.layout, half=precision == "fp16")
        elif precision == "fp16":
            graph.to_fp16(exact, model)
        manifest = dataclasses.replace(manifest, graph={**about, **graph.describe(model)})
        if precision == "fp32" and limits.layout == "plain":
            final, ran_on = fp32, "CPUExecutionProvider"
        else:
            final, ran_on = final_classifier(work, manifest, Path(kept))
        log(
            f"exported to ONNX {precision}, layout {limits.layout}; verifying on {len(rows.texts)} rows "
            f"({rows.where}), on {ran_on}"
        )
        logits = Logits.of(trained, fp32, final, rows.texts)
        labels, decisions = fit_temperature_and_thresholds(logits.final, rows, trained.labels, limits)
        # The export is held to its limits by plain decisions: thresholds were fitted on its own logits, not PyTorch's.
        plain = dataclasses.replace(labels, thresholds=trained.labels.thresholds)
        measured = compare(logits, rows, plain)
        measured |= {"limits": gate(measured, limits), "ran_on": ran_on}
        told, answers = rows, logits.final
        kept_back = trained.path / "test.csv"
        if trained.run and kept_back.is_file():
            told = Rows(*load_saved_rows(kept_back, trained.labels), "the run's test split", "test")
            logits = Logits.of(trained, fp32, final, told.texts)
            answers = logits.final
            measured["test"] = compare(logits, told, plain)
            decisions = measure_decisions(decisions, answers, told, trained.labels, labels)
        settled = dataclasses.replace(manifest, labels=labels)
        save_bundle_fingerprints(
            trained, [*([calibration] if calibration else []), *([rows] if labels != trained.labels else [])], work
        )
        decided, _ = final_classifier(work, settled, Path(kept))
        evaluation = held_out_report(decided, answers, told, suite, log)
    manifest = dataclasses.replace(settled, verification=measured, decisions=decisions, evaluation=evaluation)
    for line in [*_verified(measured, precision), *_decided(decisions)]:
        log(line)
    (work / "toxonnx.json").unlink(missing_ok=True)
    (work / "expected.json").write_text(_expected(trained, labels), encoding="utf-8")
    (work / "README.md").write_text(model_card(manifest, trained.recipe), encoding="utf-8")
    return seal(work, manifest)


def _to_int8(source: Path, target: Path, trained: Trained, limits: Export, calibration: Rows) -> dict[str, Any]:
    """Calibrates and quantizes; returns what the manifest says of it."""
    # Some texts of other kinds beside those given, so that an odd row finds room in the scales.
    texts = [*calibration.texts, "", *(trained.text.clean(sentence) for sentence in SENTENCES)]
    where = calibration.where
    margin = 1.3 if where == BUILT_IN else 1.0  # the rows to come are less like those
    encoded = trained.tokenizer(texts, truncation=True, max_length=trained.max_length)["input_ids"]
    arrays = [np.array([ids], dtype=np.int64) for ids in encoded]
    feeds = [{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in arrays]
    layers = quantize(
        source, target, feeds, smoothing=limits.smoothing, reduce_range=limits.reduce_range, margin=margin
    )
    return {
        "linear_layers_int8": layers, "smoothing": limits.smoothing, "reduce_range": limits.reduce_range,
        "calibration": {"rows": len(feeds), "from": f"{where} and {1 + len(SENTENCES)} built-in", "margin": margin},
    }  # fmt: skip


def _expected(trained: Trained, labels: Labels) -> str:
    """PyTorch's probabilities of a few sentences, as they stand before normalisation, at the bundle's temperature."""
    logits = reference_logits(trained, [trained.text.clean(sentence) for sentence in SENTENCES])
    rows = probabilities(logits, labels).round(6).tolist()
    table = {
        "labels": list(labels.names),
        "temperature": labels.temperature,
        "pytorch": [{"text": text, "probabilities": row} for text, row in zip(SENTENCES, rows, strict=True)],
    }
    return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


def _training(trained: Trained) -> dict[str, Any]:
    run = trained.run
    if not run:
        return {}
    kept = ("data", "split", "best_epoch", "epochs", "metrics", "baselines")
    return {
        "recipe": run["recipe"]["name"],
        "labels": recipe_label_columns(trained.recipe),
        **{key: run[key] for key in kept if key in run},
    }


def _tools() -> dict[str, str]:
    return {
        "toxonnx": toxonnx.__version__,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        **{name: importlib.metadata.version(name) for name in ("transformers", "optimum-onnx", "onnx")},
    }


def _verified(measured: dict[str, Any], precision: str) -> list[str]:
    lines = [
        f"ONNX fp32 against PyTorch: largest logit difference {measured['fp32_largest_logit_difference']:.1e}",
        f"{precision} against PyTorch: same label on {measured['label_agreement']:.2%}, "
        f"largest probability difference {measured['largest_probability_difference']:.4f}",
    ]
    if measured["labelled"]:
        before, after = (measured["metrics"][name]["macro_f1"] for name in ("pytorch", "final"))
        lines.append(f"macro F1: PyTorch {before:.4f}, {precision} {after:.4f}")
    else:
        lines.append("no labelled rows: agreement alone was verified, and the manifest says so")
    return lines


def _decided(decisions: dict[str, Any]) -> list[str]:
    lines = []
    if (temperature := decisions.get("temperature", 1.0)) != 1:
        before, after = (decisions[when]["ece"] for when in ("before", "after"))
        lines.append(
            f"probabilities: temperature {temperature:.3f}; calibration error {before:.4f} before, {after:.4f} after "
            f"({decisions['measured_on']})"
        )
    elif "left" in decisions:
        lines.append(f"probabilities are left as they are: {decisions['left']}")
    for part, where in (("fitted", decisions.get("rows_from")), ("test", "the run's test split")):
        if part in decisions:
            kept = decisions[part]
            each = ", ".join(
                f"{name} from {one['threshold']:.3f} ({_of('precision', one)}, {_of('recall', one)})"
                for name, one in kept["per_class"].items()
            )
            lines.append(
                f"thresholds for {decisions['target']}, on {where}: {each}; {kept['review']:.1%} left to people"
            )
    if decisions.get("missed"):
        lines.append(
            f"WARNING: on the test rows {', '.join(decisions['missed'])} misses it: a threshold rests on few rows "
            "where a label has few; ask for more than you need, or fit on more rows"
        )
    return lines


def _of(kind: str, one: dict[str, Any]) -> str:
    return f"{kind} {one[kind][0]:.3f}" if one[kind] else f"no {kind}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
