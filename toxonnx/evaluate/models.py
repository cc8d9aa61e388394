"""Models under evaluation: what each needs to know of a file, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.data.fingerprints import FINGERPRINT_FILES, is_seen, load_fingerprints
from toxonnx.data.label_columns import find_label_columns, joined, read_y_true
from toxonnx.errors import InputError
from toxonnx.evaluate.intervals import clusters
from toxonnx.evaluate.metrics import Sample
from toxonnx.evaluate.report import Scored
from toxonnx.evaluate.suites import Questions, suite_figures
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.scores import decide, needs_review
from toxonnx.io.table import Table
from toxonnx.labels import Labels
from toxonnx.texts import TextSpec, fold

__all__ = ["Model", "Rows", "of_bundle", "rows_for", "score", "suite_report"]

Answer = Callable[[Sequence[str]], tuple[NDArray[np.float64], NDArray[np.bool_]]]


@dataclass(frozen=True)
class Model:
    """A classifier of any kind.

    Attributes:
        name: to show.
        labels: its label set, with temperature and thresholds.
        text: how columns become a text.
        answer: texts, not yet normalised, to probabilities, float64 [texts, labels], and which were cut, bool [texts].
        about: plain values for the report.
        seen: where it met texts (see :data:`toxonnx.data.fingerprints.FINGERPRINT_FILES`) -> their hashes, as far as it tells.
        y_true: ``column`` or ``columns``, and ``names``, as its recipe's labels had them; empty where it does not tell.
    """

    name: str
    labels: Labels
    text: TextSpec
    answer: Answer
    about: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, NDArray[np.uint64]] = field(default_factory=dict)
    y_true: dict[str, Any] = field(default_factory=dict)


def of_bundle(classifier: Classifier) -> Model:
    """A loaded bundle, scored as ``toxonnx predict`` scores."""
    bundle = classifier.bundle
    manifest = bundle.manifest

    def answer(texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        predictions = [prediction for _, prediction in classifier.stream(texts)]
        probs = np.array([prediction.probabilities for prediction in predictions]).reshape(-1, len(manifest.labels))
        return probs, np.array([prediction.truncated for prediction in predictions], dtype=np.bool_)

    kept = {where: bundle.path / name for where, name in FINGERPRINT_FILES.items() if name in manifest.files}
    return Model(
        manifest.name,
        manifest.labels,
        manifest.text,
        answer,
        {
            "kind": "bundle",
            "precision": manifest.precision,
            "provider": classifier.settings.provider,
            "max_length": manifest.max_length,
            "temperature": manifest.labels.temperature,
            "thresholds": list(manifest.labels.thresholds),
        },
        {where: load_fingerprints(path) for where, path in kept.items()},
        manifest.training.get("labels", {}),
    )


@dataclass(frozen=True)
class Rows:
    """The rows of a file as one model reads them: texts by its template, not yet normalised, and what is true."""

    texts: list[str]
    y_true: NDArray[np.int64]


def rows_for(
    model: Model,
    table: Table,
    *,
    text: Sequence[str] = (),
    label: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
) -> Rows:
    """The rows of a file for a model; nothing is scored yet.

    Args:
        model: who will answer.
        table: all columns of the file.
        text, label: columns, where the model's own are not there or not meant.
        names: value in the label column -> label, where they differ and the model does not know it.

    Raises:
        InputError: columns are missing; RowError: a value that is no label of the model.
    """
    if names and model.labels.multi:
        raise InputError("--label-map is for one label column; this model's are columns of 0 and 1")
    texts = joined(table, model.text, text)
    columns = tuple(label) or find_label_columns(table, model.labels, _known(model.y_true))
    return Rows(texts, read_y_true(table, model.labels, columns, names or _names(model, columns)))


def score(model: Model, rows: Rows) -> Scored:
    """A model's answers to rows."""
    probs, truncated = model.answer(rows.texts)
    cleaned = [model.text.clean(one) for one in rows.texts]
    seen = {where: is_seen(cleaned, hashes) for where, hashes in model.seen.items()}
    sample = Sample.of(probs, rows.y_true, model.labels, clusters([fold(one) for one in cleaned]))
    empty = np.array([not one.strip() for one in cleaned], dtype=np.bool_)
    return Scored(model.name, model.about, sample, truncated, empty, needs_review(probs, model.labels), seen)


def _known(y_true: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(y_true.get("columns") or [y_true["column"]]) if y_true else ()


def _names(model: Model, columns: tuple[str, ...]) -> dict[str, str]:
    """Value -> label as in the file that the model was trained on, where the column is the same."""
    return dict(model.y_true.get("names", {})) if columns == _known(model.y_true) else {}


def suite_report(questions: Questions, models: Sequence[Model]) -> dict[str, Any]:
    """What models answer to a functional suite, as plain values; see :func:`toxonnx.evaluate.suites.suite_figures`.

    A case is answered positive where one of the labels of a reading holds.

    Raises:
        InputError: a model lacks the labels that a reading names.
    """
    suite, cases = questions.suite, questions.cases
    answers, notes = [], list(cases.notes)
    for model in models:
        questions.check(model.labels, model.name)
        cleaned = [model.text.clean(text) for text in cases.texts]
        met = sum(int(is_seen(cleaned, hashes).sum()) for hashes in model.seen.values())
        if met:
            notes.append(f"LEAKY: {model.name} met {met:,} of these cases in training, validation or fitting")
        held = decide(model.answer(cases.texts)[0], model.labels)
        for positive in questions.positives:
            predicted = held[:, [model.labels.names.index(label) for label in positive]].any(axis=1)
            name = model.name if len(questions.positives) == 1 else f"{model.name} ({', '.join(positive)})"
            metrics = suite_figures(suite, cases, np.asarray(predicted))
            answers.append({"name": name, "positive_labels": list(positive), **metrics})
    return {
        "name": suite.name, "title": suite.title, "source": suite.source, "positive": suite.positive,
        "negative": suite.negative, "cases": len(cases.texts), "notes": notes, "models": answers,
    }  # fmt: skip
