"""The models under evaluation, and how each reads a labelled file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from toxonnx.data.fingerprints import FINGERPRINT_FILES, is_seen, load_fingerprints
from toxonnx.data.label_columns import LabelColumns, find_label_columns, join_texts, read_y_true
from toxonnx.evaluate.intervals import cluster_ids
from toxonnx.evaluate.metrics import Sample
from toxonnx.evaluate.report import ModelDescription, ScoredRows
from toxonnx.evaluate.suites import SuiteReport, SuiteRequest, measure_answers
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.scores import Scorer
from toxonnx.io.table import Table
from toxonnx.labels import Labels
from toxonnx.texts import TextSpec, fold

__all__ = ["EvaluatedModel", "LabelledTexts", "evaluated_bundle", "read_labelled_texts", "run_suite", "score_rows"]


@dataclass(frozen=True, kw_only=True)
class EvaluatedModel:
    """A classifier to evaluate.

    Attributes:
        name: display name, unique in an evaluation.
        scorer: scores texts that are not normalised yet.
        text: how columns become a text, and its normalisation.
        description: for the report.
        fingerprints: ``training``, ``validation`` or ``fitted`` -> fingerprints of the texts seen there, uint64; only
            the parts that are known.
        label_columns: the label columns of the file it was trained on; None if unknown.
    """

    name: str
    scorer: Scorer
    text: TextSpec
    description: ModelDescription
    fingerprints: dict[str, NDArray[np.uint64]] = field(default_factory=dict)
    label_columns: LabelColumns | None = None

    @property
    def labels(self) -> Labels:
        """The labels, with temperature and thresholds."""
        return self.scorer.labels


def evaluated_bundle(classifier: Classifier) -> EvaluatedModel:
    """A loaded bundle."""
    bundle = classifier.bundle
    manifest = bundle.manifest
    files = {part: bundle.path / name for part, name in FINGERPRINT_FILES.items() if name in manifest.files}
    return EvaluatedModel(
        name=manifest.name,
        scorer=classifier,
        text=manifest.text,
        description=ModelDescription(
            kind="bundle",
            precision=manifest.precision,
            provider=classifier.settings.provider,
            max_length=classifier.preprocess.tokenizer.max_tokens,
            temperature=manifest.labels.temperature,
            thresholds=list(manifest.labels.thresholds),
        ),
        fingerprints={part: load_fingerprints(path) for part, path in files.items()},
        label_columns=LabelColumns.from_plain(manifest.training.labels) if manifest.training else None,
    )


@dataclass(frozen=True)
class LabelledTexts:
    """The rows of a file as one model reads them.

    Attributes:
        texts: by the model's template, not normalised yet.
        y_true: see :class:`toxonnx.evaluate.metrics.Sample`.
    """

    texts: list[str]
    y_true: NDArray[np.int64]


def read_labelled_texts(
    model: EvaluatedModel,
    table: Table,
    *,
    text_columns: Sequence[str] = (),
    label_columns: Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
) -> LabelledTexts:
    """The rows of a file for a model; nothing is scored yet.

    Args:
        model: the model.
        table: all columns of the file.
        text_columns, label_columns: columns to use in place of those that the model was trained on.
        label_map: value in the label column -> label, if they differ and the model has no mapping; of a multi-label
            model, label column -> label.

    Raises:
        InputError: a column is missing.
        RowError: a value is not a label of the model.
    """
    texts = join_texts(table, model.text, text_columns)
    trained_on = model.label_columns or LabelColumns()
    if label_map and model.labels.multi and not label_columns:
        label_columns = tuple(label_map)
    columns = tuple(label_columns) or find_label_columns(table, model.labels, trained_on.columns)
    # The mapping of the training data applies if the column is the same.
    known = trained_on if columns == trained_on.columns else LabelColumns(columns)
    if label_map:
        # A threshold makes 0 and 1 of numbers; a column with other classes has none.
        numbers = model.labels.multi or set(label_map) == {"0", "1"}
        known = LabelColumns(columns, label_map, known.threshold if numbers else None)
    return LabelledTexts(texts, read_y_true(table, model.labels, known))


def score_rows(model: EvaluatedModel, rows: LabelledTexts) -> ScoredRows:
    """Scores the rows of a file with a model."""
    scores = model.scorer.score(rows.texts)
    cleaned = [model.text.clean(text) for text in rows.texts]
    groups = cluster_ids([fold(text) for text in cleaned])
    return ScoredRows(
        name=model.name,
        description=model.description,
        sample=Sample(scores.probabilities, rows.y_true, model.labels, groups),
        truncated=scores.truncated,
        empty=scores.no_tokens,
        review=scores.needs_review,
        seen={part: is_seen(cleaned, hashes) for part, hashes in model.fingerprints.items()},
    )


def run_suite(request: SuiteRequest, models: Sequence[EvaluatedModel]) -> SuiteReport:
    """Runs a functional suite on models.

    Raises:
        InputError: a model lacks one of the positive labels.
    """
    suite, cases = request.suite, request.cases
    answers, notes = [], list(cases.notes)
    for model in models:
        request.check(model.labels, model.name)
        cleaned = [model.text.clean(text) for text in cases.texts]
        seen = sum(map(any, zip(*(is_seen(cleaned, hashes) for hashes in model.fingerprints.values()), strict=True)))
        if seen:
            notes.append(f"LEAKY: {model.name} has seen {seen:,} of these cases in training, validation or fitting")
        decisions = model.scorer.score(cases.texts).decisions
        for labels in request.positive_labels:
            predicted = decisions[:, [model.labels.names.index(label) for label in labels]].any(axis=1)
            name = model.name if len(request.positive_labels) == 1 else f"{model.name} ({', '.join(labels)})"
            answers.append(measure_answers(suite, cases, np.asarray(predicted), name, labels))
    return SuiteReport(
        name=suite.name,
        title=suite.title,
        source=suite.source,
        positive=suite.positive,
        negative=suite.negative,
        cases=len(cases.texts),
        notes=notes,
        models=answers,
    )
