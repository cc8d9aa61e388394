"""The records of an evaluation report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import BundleError, InputError
from toxonnx.evaluate.intervals import Ends, McNemar
from toxonnx.evaluate.metrics import Bin, Interval, Metrics, Sample
from toxonnx.evaluate.suites import SuiteReport
from toxonnx.evaluate.thresholds import ThresholdMetrics
from toxonnx.records import from_plain

__all__ = [
    "BootstrapOptions",
    "EvaluationReport",
    "FileSummary",
    "ModelComparison",
    "ModelDescription",
    "ModelReport",
    "ScoredRows",
]

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class BootstrapOptions:
    """How intervals are computed: number of resamples (0 for no intervals) and their random seed."""

    samples: int = 1000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """The description of a model in a report.

    Attributes:
        kind: ``bundle`` or ``PyTorch``.
        precision: number format of its weights.
        provider: execution provider of ONNX Runtime, or device of PyTorch.
        max_length: tokens of the longest text that is read to its end; longer ones are truncated.
        temperature: divisor of its logits.
        thresholds: one threshold per label; empty if the most probable label is predicted.
    """

    kind: str
    precision: str
    provider: str
    max_length: int
    temperature: float = 1.0
    thresholds: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ScoredRows:
    """The labelled rows of a file, scored by one model.

    Attributes:
        name: the model's name.
        description: the model's description.
        sample: probabilities, predictions and true labels.
        truncated, empty, review: bool [rows]: text truncated to the maximum length; text without a token that the model
            knows; marked for review by the model's thresholds.
        seen: ``training``, ``validation`` or ``fitted`` -> bool [rows], whether the text was seen there; only for parts
            whose fingerprints the model has.
    """

    name: str
    description: ModelDescription
    sample: Sample
    truncated: Bools
    empty: Bools
    review: Bools
    seen: dict[str, Bools]

    @property
    def leaky(self) -> Bools:
        """Rows whose text was used to train, validate or fit the model, bool [rows]."""
        leaky = np.zeros(len(self.sample), dtype=np.bool_)
        for rows in self.seen.values():
            leaky |= rows
        return leaky


@dataclass(frozen=True, kw_only=True)
class MeasuredRows:
    """Metrics on a set of rows, with intervals.

    Attributes:
        rows: number of rows.
        metrics: metrics on these rows.
        intervals: name of a metric -> its 95% interval; see :func:`toxonnx.evaluate.intervals.flatten` for the names.
        chance_ece: see :meth:`toxonnx.evaluate.metrics.Sample.chance_ece`.
    """

    rows: int
    metrics: Metrics
    intervals: dict[str, Ends | None]
    chance_ece: Ends | None


@dataclass(frozen=True, kw_only=True)
class Review:
    """Rows marked for review: their number and share, and the accuracy of the other rows (None if all or none are
    marked)."""

    rows: int
    share: float
    accuracy_of_the_rest: float | None = None


@dataclass(frozen=True)
class Curve:
    """A precision-recall curve, with few enough points to be drawn."""

    precision: list[float]
    recall: list[float]


@dataclass(frozen=True)
class GroupLabel:
    """One label in a group of rows: support, recall and false positive rate."""

    rows: int
    recall: Interval | None
    false_positive_rate: Interval | None


@dataclass(frozen=True, kw_only=True)
class GroupMetrics:
    """Metrics on the rows with a given value in a column."""

    value: str
    rows: int
    accuracy: Interval | None
    macro_f1: float | None
    per_class: dict[str, GroupLabel]


@dataclass(frozen=True, kw_only=True)
class ModelReport:
    """Everything about one model on labelled rows.

    Attributes:
        name, kind, precision, provider, max_length, temperature, thresholds: see :class:`ModelDescription`.
        rows: number of rows of the file.
        distinct_texts: number of distinct texts among them.
        truncated: number of texts truncated to the maximum length.
        empty: number of texts without a token that the model knows; they are scored as an empty text.
        training_is_known: whether the model has fingerprints of its training texts.
        leaks: ``training``, ``validation`` or ``fitted`` -> number of rows whose text was seen there.
        leaky_rows: number of rows whose text was seen anywhere.
        unseen: metrics on the rows that are not known to have been seen; None if all have been seen.
        all_rows: metrics on all rows; None if no row is known to have been seen.
        review, threshold_metrics, reliability, curves, groups: on the unseen rows, or on all rows if there are none.
            ``threshold_metrics`` is None for a model without thresholds.
    """

    name: str
    kind: str
    precision: str
    provider: str
    max_length: int
    temperature: float
    thresholds: list[float]
    rows: int
    distinct_texts: int
    truncated: int
    empty: int
    training_is_known: bool
    leaks: dict[str, int]
    leaky_rows: int
    review: Review
    unseen: MeasuredRows | None = None
    all_rows: MeasuredRows | None = None
    threshold_metrics: ThresholdMetrics | None = None
    reliability: list[Bin] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    groups: dict[str, list[GroupMetrics]] = field(default_factory=dict)

    @property
    def measured(self) -> MeasuredRows:
        """Metrics on the unseen rows, or on all rows if there are none."""
        measured = self.unseen or self.all_rows
        assert measured is not None
        return measured


@dataclass(frozen=True)
class Difference:
    """A metric of the first model minus that of the other, with the 95% interval of the paired bootstrap."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """Two models on the same rows.

    Attributes:
        first, other: the models' names.
        rows: number of rows compared.
        leaky: whether a model has seen these rows.
        leaky_rows_left_out: number of rows left out because a model has seen them.
        same_label: share of the rows on which the models agree.
        differences: ``accuracy``, ``macro_f1`` and ``loss``.
        mcnemar: over one row of each distinct text, so that repeated texts do not make it more certain.
    """

    first: str
    other: str
    rows: int
    leaky: bool
    leaky_rows_left_out: int
    same_label: float
    differences: dict[str, Difference]
    mcnemar: McNemar


@dataclass(frozen=True)
class FileSummary:
    """The file with the labelled rows: name, rows, distinct texts."""

    name: str
    rows: int
    distinct_texts: int


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """An evaluation.

    Attributes:
        toxonnx: version of toxonnx.
        bootstrap: how intervals were computed.
        file: the labelled file; None if there was none.
        models: one report per model.
        comparisons: comparisons of the first model with each other model.
        suite: results of a functional suite; None if there was none.
    """

    toxonnx: str
    bootstrap: BootstrapOptions
    file: FileSummary | None
    models: list[ModelReport]
    comparisons: list[ModelComparison]
    suite: SuiteReport | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> EvaluationReport:
        """The reverse of :meth:`to_dict`.

        Raises:
            InputError: a value does not fit; names its key.
        """
        return from_plain(cls, table)

    @classmethod
    def of_manifest(cls, evaluation: Mapping[str, Any]) -> EvaluationReport | None:
        """The report in a manifest's section; None if that is empty.

        Raises:
            BundleError: a value does not fit; names its key.
        """
        table = {key: value for key, value in evaluation.items() if key != "part"}
        try:
            return from_plain(cls, table, "evaluation") if table else None
        except InputError as error:
            raise BundleError(f"toxonnx.json: {error.what}", "Export the bundle again.") from None
