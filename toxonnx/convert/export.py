"""``toxonnx export``: merge, export, quantize, verify, seal. Nothing stands under the bundle's name before the end."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

import toxonnx
from toxonnx.bundle import MANIFEST, Bundle, Manifest, seal, sha256
from toxonnx.classifier import Classifier
from toxonnx.convert import graph
from toxonnx.convert.card import model_card
from toxonnx.convert.int8 import quantize
from toxonnx.convert.samples import SENTENCES, sample_texts
from toxonnx.convert.verify import Rows, compare, gate, reference_logits
from toxonnx.errors import InputError, RowError
from toxonnx.recipe import Export, Recipe
from toxonnx.rows import Table, read_table
from toxonnx.scores import probabilities
from toxonnx.texts import TextSpec
from toxonnx.train.data import load_saved
from toxonnx.train.merge import Trained, load_trained

__all__ = ["export", "verification_rows"]

BUILT_IN = "built-in sentences"
#: rows of --data from which some are taken to calibrate on, and how many at most
ENOUGH_TO_CALIBRATE, CALIBRATION_ROWS = 200, 400


def export(
    source: str | Path,
    out: Path,
    *,
    base: str | None = None,
    precision: str | None = None,
    labels: tuple[str, ...] = (),
    activation: str | None = None,
    max_length: int | None = None,
    data: Path | None = None,
    text: tuple[str, ...] = (),
    label: tuple[str, ...] = (),
    encoding: str | None = None,
    delimiter: str | None = None,
    recipe: Recipe | None = None,
    force: bool = False,
    say: Callable[[str], None] = print,
) -> Bundle:
    """Makes a bundle.

    Args:
        source: a run, an adapter folder, or a checkpoint (folder or hub id).
        out: the bundle's folder; its last part is the bundle's name.
        base: the adapter's base, in place of the one it names.
        precision: ``fp32``, ``int8`` or ``fp16``; the recipe's (``int8`` without one) when not given.
        labels, activation, max_length: for checkpoints that do not say.
        data: rows to verify on, in place of the run's validation split.
        encoding, delimiter: of ``data``; see :class:`toxonnx.rows.RowReader`.
        text, label: the columns of ``data``. Without ``label``, agreement alone is verified.
        recipe: its limits and card are used in place of the run's; for a checkpoint from elsewhere, its text too.
        force: replace ``out``.
        say: takes each line of progress.

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
        raise InputError("--label names a column of --data, which was not given")
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
    limits = trained.recipe.export if trained.recipe else Export()
    precision = precision or limits.precision
    rows = verification_rows(trained, read_table(data, encoding, None, delimiter) if data else None, text, label)
    calibration, rows = _calibration(trained, rows) if precision == "int8" else (None, rows)
    if calibration and calibration.where == BUILT_IN:
        say("WARNING: int8 is calibrated on built-in sentences; --data with your own texts (200 or more) does better")
    if data and trained.run and sha256(data) == trained.run["data"]["sha256"]:
        say(f"WARNING: {data.name} is what the run was trained on; figures on it flatter")
    if "merge_largest_logit_difference" in trained.source:
        say(f"merged LoRA; logits moved by {trained.source['merge_largest_logit_difference']:.1e} at most")
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        bundle = _build(trained, work, out.name, precision, limits, calibration, rows, say)
        work.chmod(0o777 & ~_umask())
        before = work.with_suffix(".old")
        if out.exists():
            os.replace(out, before)
        os.replace(work, out)
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say(f"sealed {out} ({sum(p.stat().st_size for p in out.iterdir()) / 1e6:.1f} MB)")
    return Bundle(out, bundle.manifest)


def verification_rows(trained: Trained, table: Table | None, text: tuple[str, ...], label: tuple[str, ...]) -> Rows:
    """The rows to verify on: those given, else the run's validation split, else sentences that ship here."""
    if table is None:
        kept = trained.path / "validation.csv"
        if trained.run and kept.is_file():
            return Rows(*load_saved(kept, trained.labels), "the run's validation split")
        return Rows([trained.text.clean(sample) for sample in sample_texts()], None, BUILT_IN)
    columns = trained.text.choose(list(table.columns), text)
    texts = [trained.text.render(row) for row in zip(*(table.column(name) for name in columns), strict=True)]
    if not texts:
        raise InputError(f"{table.path} has no rows to verify on")
    truth = _truth(trained, table, label) if label else None
    return Rows(texts, truth, table.path.name)


def _truth(trained: Trained, table: Table, columns: tuple[str, ...]) -> NDArray[np.int64]:
    """Truth from a column of classes, or from a column of 0 and 1 for each label in the model's order."""
    if trained.labels.multi:
        if len(columns) != len(trained.labels):
            raise InputError(f"{len(columns)} --label columns given, the model has {len(trained.labels)} labels")
        cells = [[value.strip() for value in table.column(name)] for name in columns]
        for name, values in zip(columns, cells, strict=True):
            wrong = next((i for i, value in enumerate(values) if value not in {"0", "1"}), None)
            if wrong is not None:
                what = f"column {name!r} holds {values[wrong]!r}, not 0 or 1"
                raise RowError(table.path, table.lines[wrong], what)
        return np.array(cells, dtype=np.int64).T
    if len(columns) != 1:
        raise InputError("several --label columns given, and the model gives one label a text")
    names = trained.recipe.labels.names if trained.recipe else {}
    number = {name: i for i, name in enumerate(trained.labels.names)}
    numbers: list[int] = []
    for line, value in zip(table.lines, table.column(columns[0]), strict=True):
        name = names.get(value.strip(), value.strip())
        if name not in number:
            raise RowError(
                table.path,
                line,
                f"label {value!r} is not one of the model's: {', '.join(number)}",
                "Name the labels in the model's order with --labels, or mend the file.",
            )
        numbers.append(number[name])
    return np.array(numbers, dtype=np.int64)


def _build(
    trained: Trained,
    work: Path,
    name: str,
    precision: str,
    limits: Export,
    calibration: Rows | None,
    rows: Rows,
    say: Callable[[str], None],
) -> Bundle:
    """Fills ``work`` with a sealed bundle."""
    about = graph.to_onnx(trained.model, work)
    if not about["tidied"]:
        say(
            "the graph is kept as Optimum wrote it, shape computations and all: tidied, it did not give the same logits"
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
        model=trained.source,
        training=_training(trained.run),
        tools=_tools(),
    )
    with tempfile.TemporaryDirectory(dir=work.parent, prefix=f".{name}.", suffix=".fp32") as kept:
        exact = Path(kept) / "exact"
        shutil.copytree(work, exact)
        fp32 = Classifier(seal(exact, dataclasses.replace(manifest, precision="fp32")))
        model = work / "model.onnx"
        if calibration:
            about |= _to_int8(exact / "model.onnx", model, trained, limits, calibration)
        elif precision == "fp16":
            graph.to_fp16(exact / "model.onnx", model)
        manifest = dataclasses.replace(manifest, graph={**about, **graph.describe(model)})
        final = fp32 if precision == "fp32" else Classifier(seal(work, manifest))
        say(f"exported to ONNX {precision}; verifying on {len(rows.texts)} rows ({rows.where})")
        measured = compare(reference_logits(trained, rows.texts), fp32, final, rows)
        measured["limits"] = gate(measured, limits)
        kept_back = trained.path / "test.csv"
        if trained.run and kept_back.is_file():
            test = Rows(*load_saved(kept_back, trained.labels), "the run's test split")
            measured["test"] = compare(reference_logits(trained, test.texts), fp32, final, test)
    manifest = dataclasses.replace(manifest, verification=measured)
    for line in _verified(measured, precision):
        say(line)
    (work / "toxonnx.json").unlink(missing_ok=True)
    (work / "expected.json").write_text(_expected(trained), encoding="utf-8")
    (work / "README.md").write_text(model_card(manifest, trained.recipe), encoding="utf-8")
    return seal(work, manifest)


def _calibration(trained: Trained, rows: Rows) -> tuple[Rows, Rows]:
    """Texts to measure activations on, and the rows that are left to verify on.

    A run keeps a sample of its training rows for it. Without one, every fourth row to verify on is taken away for it,
    where there are enough.
    """
    kept = trained.path / "calibration.csv"
    if trained.run and kept.is_file():
        return Rows(load_saved(kept, trained.labels)[0], None, "training rows"), rows
    if len(rows.texts) < ENOUGH_TO_CALIBRATE or rows.where == BUILT_IN:
        return Rows([trained.text.clean(sample) for sample in sample_texts()], None, BUILT_IN), rows
    taken = list(range(0, len(rows.texts), 4))[:CALIBRATION_ROWS]
    left = np.setdiff1d(np.arange(len(rows.texts)), taken)
    truth = None if rows.truth is None else rows.truth[left]
    texts = Rows([rows.texts[i] for i in taken], None, f"{len(taken)} rows of {rows.where}, left out of verification")
    return texts, Rows([rows.texts[i] for i in left], truth, rows.where)


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


def _expected(trained: Trained) -> str:
    """PyTorch's probabilities of a few sentences, as they stand before normalisation."""
    logits = reference_logits(trained, [trained.text.clean(sentence) for sentence in SENTENCES])
    rows = probabilities(logits, trained.labels).round(6).tolist()
    table = {
        "labels": list(trained.labels.names),
        "pytorch": [{"text": text, "probabilities": row} for text, row in zip(SENTENCES, rows, strict=True)],
    }
    return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


def _training(run: dict[str, Any]) -> dict[str, Any]:
    if not run:
        return {}
    kept = ("data", "split", "best_epoch", "epochs", "figures")
    return {"recipe": run["recipe"]["name"], **{key: run[key] for key in kept}}


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
        before, after = (measured["figures"][name]["macro_f1"] for name in ("pytorch", "final"))
        lines.append(f"macro F1: PyTorch {before:.4f}, {precision} {after:.4f}")
    else:
        lines.append("no labelled rows: agreement alone was verified, and the manifest says so")
    return lines


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
