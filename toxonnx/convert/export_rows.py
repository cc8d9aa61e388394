"""The rows that an export is verified and calibrated on, and fingerprints of the rows that it was made with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toxonnx.convert.sample_texts import sample_texts
from toxonnx.convert.verify import VerificationRows
from toxonnx.data.examples import load_saved_rows, load_saved_texts
from toxonnx.data.fingerprints import FINGERPRINT_FILES, load_fingerprints, save_fingerprints
from toxonnx.data.label_columns import LabelColumns, join_texts, read_y_true
from toxonnx.io.table import Table
from toxonnx.texts import replace_surrogates
from toxonnx.train.adapters import Trained
from toxonnx.train.tokenizers import encode

__all__ = [
    "BUILT_IN",
    "built_in_rows",
    "calibration_rows",
    "cascade_rows",
    "long_rows",
    "save_bundle_fingerprints",
    "test_rows",
    "trained_on",
    "verification_rows",
]

BUILT_IN = "built-in sentences"
#: rows of --data from which some are used to calibrate int8, and how many at most
MIN_ROWS_TO_CALIBRATE, MAX_CALIBRATION_ROWS = 200, 400
#: texts of several windows to verify on: as many as have about so many tokens
MIN_LONG_ROWS, MAX_LONG_ROWS, LONG_ROWS_TOKENS = 10, 100, 1 << 15


def built_in_rows(trained: Trained) -> VerificationRows:
    """The sentences that ship with toxonnx, without labels."""
    return VerificationRows(
        [trained.text.clean(text) for text in sample_texts(trained.max_length)], None, BUILT_IN, "built-in"
    )


def verification_rows(
    trained: Trained, table: Table | None, text_columns: tuple[str, ...], label_columns: tuple[str, ...]
) -> VerificationRows:
    """The rows to verify on: those given, else the run's validation rows, else the built-in sentences."""
    if table is None:
        validation = trained.path / "validation.csv"
        if trained.run and validation.is_file():
            rows = load_saved_rows(validation, trained.labels)
            return VerificationRows(*rows, "the run's validation split", "validation")
        return built_in_rows(trained)
    texts = [trained.text.clean(text) for text in join_texts(table, trained.text, text_columns)]
    y_true = None
    if label_columns:
        known = LabelColumns.of(trained.recipe.labels) if trained.recipe else LabelColumns()
        if label_columns != known.columns:
            known = LabelColumns(label_columns, known.label_map)
        y_true = read_y_true(table, trained.labels, known)
    return VerificationRows(texts, y_true, replace_surrogates(table.path.name), "data")


def test_rows(trained: Trained) -> VerificationRows | None:
    """The run's test rows, if it has any."""
    path = trained.path / "test.csv"
    if not trained.run or not path.is_file():
        return None
    return VerificationRows(*load_saved_rows(path, trained.labels), "the run's test split", "test")


def long_rows(trained: Trained, rows: VerificationRows) -> VerificationRows:
    """Texts of two to four windows, joined from the rows to verify on, without labels."""
    encoded, _ = encode(trained.tokenizer, rows.texts, trained.max_length)
    special = trained.tokenizer.num_special_tokens_to_add()
    source = itertools.cycle(zip(rows.texts, (max(1, len(ids) - special) for ids in encoded), strict=True))
    count = max(MIN_LONG_ROWS, min(MAX_LONG_ROWS, LONG_ROWS_TOKENS // (2 * trained.max_length)))
    joined = []
    for number in range(count):
        parts, tokens = [], 0
        while tokens <= (1 + number % 3) * trained.max_length:
            text, length = next(source)
            parts.append(text)
            tokens += length
        joined.append(" ".join(parts))
    return VerificationRows(joined, None, f"texts of several windows, joined from {rows.where}", rows.part)


def calibration_rows(trained: Trained, rows: VerificationRows) -> tuple[VerificationRows, VerificationRows]:
    """Texts on which to measure activations for int8, and the rows that remain to verify on.

    A run contains a sample of its training rows for this. Otherwise, every fourth row to verify on is used, if there
    are enough.
    """
    saved = trained.path / "calibration.csv"
    if trained.run and saved.is_file():
        texts = load_saved_texts(saved)
        return VerificationRows(texts, None, "training rows", "training"), rows
    if len(rows.texts) < MIN_ROWS_TO_CALIBRATE or rows.part == "built-in":
        return built_in_rows(trained), rows
    used = list(range(0, len(rows.texts), 4))[:MAX_CALIBRATION_ROWS]
    others = np.setdiff1d(np.arange(len(rows.texts)), used)
    y_true = None if rows.y_true is None else rows.y_true[others]
    where = f"{len(used)} rows of {rows.where}, left out of verification"
    return (
        VerificationRows([rows.texts[i] for i in used], None, where, rows.part),
        VerificationRows([rows.texts[i] for i in others], y_true, rows.where, rows.part),
    )


def cascade_rows(
    trained: Trained, table: Table | None, text_columns: tuple[str, ...], rows: VerificationRows
) -> VerificationRows:
    """Texts for the first stage of a cascade: those given, else the run's held-out rows, else those to verify on."""
    if table is not None:
        texts = [trained.text.clean(text) for text in join_texts(table, trained.text, text_columns)]
        return VerificationRows(texts, None, replace_surrogates(table.path.name), "data")
    test = trained.path / "test.csv"
    if rows.part == "validation" and test.is_file():
        texts = [*rows.texts, *load_saved_texts(test)]
        return VerificationRows(texts, None, "the run's held-out rows", "validation")
    return rows


def trained_on(trained: Trained) -> NDArray[np.uint64]:
    """Fingerprints of the texts that a run was trained on; none for a model from elsewhere."""
    path = trained.path / FINGERPRINT_FILES["training"]
    return load_fingerprints(path) if path.is_file() else np.zeros(0, dtype=np.uint64)


def save_bundle_fingerprints(trained: Trained, fitted: Sequence[VerificationRows], folder: Path) -> None:
    """Writes fingerprints of the texts used to make the model; see :mod:`toxonnx.data.fingerprints`.

    Args:
        trained: if it is from a run, those of its training and validation texts are included.
        fitted: rows on which scales, calibration or thresholds were fitted.
        folder: of the bundle.
    """
    if len(training := trained_on(trained)):
        save_fingerprints(folder / FINGERPRINT_FILES["training"], [], training)
    if trained.run and (validation := trained.path / "validation.csv").is_file():
        save_fingerprints(folder / FINGERPRINT_FILES["validation"], load_saved_texts(validation))
    others = [text for rows in fitted if rows.part == "data" for text in rows.texts]
    if others:
        save_fingerprints(folder / FINGERPRINT_FILES["fitted"], others)
