"""Which held-out texts an export is verified on, calibrated on, and which it has met."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toxonnx.convert.sample_texts import sample_texts
from toxonnx.convert.verify import Rows
from toxonnx.data.examples import load_saved_rows
from toxonnx.data.fingerprints import FINGERPRINT_FILES, save_fingerprints
from toxonnx.data.label_columns import join_texts, read_y_true
from toxonnx.io.table import Table
from toxonnx.train.adapters import Trained

__all__ = ["BUILT_IN", "calibration_rows", "save_bundle_fingerprints", "verification_rows"]

BUILT_IN = "built-in sentences"
#: rows of --data from which some are taken to calibrate int8 on, and how many at most
ENOUGH_TO_CALIBRATE, CALIBRATION_ROWS = 200, 400


def verification_rows(trained: Trained, table: Table | None, text: tuple[str, ...], label: tuple[str, ...]) -> Rows:
    """The rows to verify on: those given, else the run's validation split, else sentences that ship here."""
    if table is None:
        kept = trained.path / "validation.csv"
        if trained.run and kept.is_file():
            return Rows(*load_saved_rows(kept, trained.labels), "the run's validation split", "validation")
        return Rows([trained.text.clean(sample) for sample in sample_texts()], None, BUILT_IN, "built-in")
    texts = [trained.text.clean(one) for one in join_texts(table, trained.text, text)]
    names = trained.recipe.labels.names if trained.recipe else {}
    y_true = read_y_true(table, trained.labels, label, names) if label else None
    return Rows(texts, y_true, table.path.name, "data")


def calibration_rows(trained: Trained, rows: Rows) -> tuple[Rows, Rows]:
    """Texts to measure activations on, and the rows that are left to verify on.

    A run keeps a sample of its training rows for it. Without one, every fourth row to verify on is taken away for it,
    where there are enough.
    """
    kept = trained.path / "calibration.csv"
    if trained.run and kept.is_file():
        return Rows(load_saved_rows(kept, trained.labels)[0], None, "training rows", "training"), rows
    if len(rows.texts) < ENOUGH_TO_CALIBRATE or rows.part == "built-in":
        return Rows([trained.text.clean(sample) for sample in sample_texts()], None, BUILT_IN, "built-in"), rows
    taken = list(range(0, len(rows.texts), 4))[:CALIBRATION_ROWS]
    left = np.setdiff1d(np.arange(len(rows.texts)), taken)
    y_true = None if rows.y_true is None else rows.y_true[left]
    where = f"{len(taken)} rows of {rows.where}, left out of verification"
    texts = Rows([rows.texts[i] for i in taken], None, where, rows.part)
    return texts, Rows([rows.texts[i] for i in left], y_true, rows.where, rows.part)


def save_bundle_fingerprints(trained: Trained, fitted: Sequence[Rows], work: Path) -> None:
    """Beside the model, hashes of the texts that took part in making it; see :data:`toxonnx.data.fingerprints.FINGERPRINT_FILES`.

    Args:
        trained: its run, if it has one, keeps its training and validation texts.
        fitted: rows that scales, temperature or thresholds were fitted on.
        work: where the model is.
    """
    if (kept := trained.path / FINGERPRINT_FILES["training"]).is_file():
        shutil.copyfile(kept, work / FINGERPRINT_FILES["training"])
    if trained.run and (validation := trained.path / "validation.csv").is_file():
        save_fingerprints(work / FINGERPRINT_FILES["validation"], load_saved_rows(validation, trained.labels)[0])
    others = [text for rows in fitted if rows.part == "data" for text in rows.texts]
    if others:
        save_fingerprints(work / FINGERPRINT_FILES["fitted"], others)
