"""The sections of a manifest on how labels are decided: calibration, thresholds, and the first stage of a cascade."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, TypedDict

from toxonnx.errors import InputError
from toxonnx.records import Count, NotNegative, Rule, Share
from toxonnx.wording import exact_percent

__all__ = [
    "CalibrationEffect",
    "Cascade",
    "CascadeCheck",
    "Decisions",
    "LabelCalibration",
    "LabelThresholdDict",
    "ProbabilityError",
    "ThresholdCurve",
    "ThresholdsDict",
]

Positive = Annotated[float, Rule("positive", lambda number: number > 0, {"exclusiveMinimum": 0})]
#: of logits; larger ones would overflow
Scale = Annotated[
    float,
    Rule("above 0 and at most 1,000", lambda number: 0 < number <= 1000, {"exclusiveMinimum": 0, "maximum": 1000}),
]
Bias = Annotated[
    float, Rule("between -1,000 and 1,000", lambda number: abs(number) <= 1000, {"minimum": -1000, "maximum": 1000})
]
_BUCKETS = [1 << bits for bits in range(8, 19)]
Buckets = Annotated[Count, Rule("a power of two up to 262,144", lambda n: n in _BUCKETS, {"enum": _BUCKETS})]


@dataclass(frozen=True)
class ProbabilityError:
    """Errors of probabilities.

    Attributes:
        ece: expected calibration error, 0 to 1.
        loss: cross-entropy, in nats.
    """

    ece: Share
    loss: NotNegative


@dataclass(frozen=True)
class CalibrationEffect:
    """Errors of the same rows.

    Attributes:
        before, after: without and with calibration.
    """

    before: ProbabilityError
    after: ProbabilityError


@dataclass(frozen=True, kw_only=True)
class LabelCalibration:
    """The calibration of a label with a sigmoid: its logit is ``scale * logit + shift`` of the trained model's.

    Attributes:
        scale, shift: 1 and 0 where the label was left as it is.
        rows: number of rows in which the label is known, on which both were fitted.
        positives: number of rows among them that have the label.
        cross_validated: its effect, by cross-validation on these rows; None where nothing was fitted.
        left_out: why the label was left as it is; empty where it was calibrated.
    """

    rows: Count
    positives: Count
    scale: Positive = 1.0
    shift: float = 0.0
    cross_validated: CalibrationEffect | None = None
    left_out: str = ""

    def __str__(self) -> str:
        return "as trained" if self.left_out else f"scale {self.scale:.3f}, shift {self.shift:+.3f}"


class LabelThresholdDict(TypedDict):
    """:class:`toxonnx.evaluate.thresholds.LabelThreshold` as plain values."""

    threshold: Share
    predicted: Count
    precision: tuple[Share, Share, Share] | None
    recall: tuple[Share, Share, Share] | None


class ThresholdsDict(TypedDict):
    """:class:`toxonnx.evaluate.thresholds.ThresholdMetrics` as plain values."""

    rows: Count
    review: Share
    per_class: dict[str, LabelThresholdDict]


@dataclass(frozen=True, kw_only=True)
class ThresholdCurve:
    """What each threshold 0.00, 0.01, ... 1.00 for the probability of a label does on labelled rows.

    Attributes:
        positives, negatives: rows that have the label, and that do not; others are not judged.
        true_positives, false_positives: for each threshold, how many of these reach it.
    """

    positives: Count
    negatives: Count
    true_positives: list[Count]
    false_positives: list[Count]


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """How calibration and thresholds were fitted.

    The calibration is part of the graph: of the weights and the bias of the last linear layer. Only in bundles whose
    ``labels.temperature`` is not 1, from earlier versions, toxonnx divides the logits by it.

    Attributes:
        rows, rows_from: the rows they were fitted on.
        temperature: of a softmax; 1 where none was fitted.
        calibration: label name -> its calibration, for sigmoid; empty where none was requested.
        not_calibrated: why no temperature was fitted; empty where one was, or where none was requested.
        cross_validated: the effect of the calibration on all labels, by cross-validation on the rows it was fitted on.
        measured_on: the rows of ``before`` and ``after``: test rows, or those of ``cross_validated``.
        before, after: without and with the calibration.
        target: description of what thresholds have to reach; empty if there are none.
        target_kind: ``precision``, ``recall`` or ``f1``.
        wanted: label -> share to reach; None for a label without a target.
        fitted, test: the effect of the thresholds on the rows that they were fitted on, and on the test rows, as
            :class:`toxonnx.evaluate.thresholds.ThresholdMetrics` in plain values.
        missed: labels that do not reach the target on the test rows.
        curves: label name -> the effect of all thresholds on the test rows, or without any on those of ``rows_from``.
    """

    rows: Count
    rows_from: str
    temperature: Positive = 1.0
    calibration: dict[str, LabelCalibration] = field(default_factory=dict)
    not_calibrated: str = ""
    cross_validated: CalibrationEffect | None = None
    measured_on: str = ""
    before: ProbabilityError | None = None
    after: ProbabilityError | None = None
    target: str = ""
    target_kind: str = ""
    wanted: dict[str, Share | None] = field(default_factory=dict)
    fitted: ThresholdsDict | None = None
    test: ThresholdsDict | None = None
    missed: list[str] = field(default_factory=list)
    curves: dict[str, ThresholdCurve] = field(default_factory=dict)

    @property
    def calibrated(self) -> bool:
        """Whether a temperature, or the calibration of a label, is used."""
        return self.temperature != 1 or any(not one.left_out for one in self.calibration.values())


@dataclass(frozen=True, kw_only=True)
class CascadeCheck:
    """A promise of a cascade, and the rows that prove it.

    Attributes:
        wanted: share of the rows on which cascade and full model decide alike, at least, with 95% confidence.
        rows: rows that it was tested on.
        disagreements: number of rows among them on which they do not.
    """

    wanted: Share
    rows: Count
    disagreements: Count

    def __post_init__(self) -> None:
        if self.disagreements > self.rows:
            raise InputError(f"{self.disagreements} disagreements in {self.rows} rows")

    def __str__(self) -> str:
        measured = f"{1 - self.disagreements / self.rows:.2%} of {self.rows:,} rows" if self.rows else "no rows"
        return f"at least {exact_percent(self.wanted)} (measured: {measured})"


@dataclass(frozen=True, kw_only=True)
class Cascade:
    """A first stage, which answers the rows that it is sure of; see :mod:`toxonnx.inference.cascade`.

    Attributes:
        buckets: number of rows of the file with its weights.
        scales, biases: from the sum of a row's weights to the logit of each label.
        sharpness: factor, per label, by which the full model's decisions are surer than its probabilities say.
        miss_weights: additional risk, per label, of a decision that lacks the label.
        max_risk: largest risk of a row that it answers.
        min_known: smallest share of a row's n-grams that it has to know.
        shortest, longest: number of tokens of the rows that it answers, special tokens included.
        agreement: the promise for all rows: every decision of the full model is the same.
        recall: label -> the promise for the rows that have the label by the full model; those without one are missing.
        early: share of the rows of ``agreement`` that it answers.
        probability_difference: mean difference, on these rows, from the full model's probabilities.
        rows_from: where the rows are from.
        fitted_rows: rows that it was fitted on.
    """

    buckets: Buckets
    scales: list[Scale]
    biases: list[Bias]
    sharpness: list[Scale]
    miss_weights: list[NotNegative]
    max_risk: NotNegative
    min_known: Share
    shortest: Count
    longest: Count
    agreement: CascadeCheck
    recall: dict[str, CascadeCheck]
    early: Share
    probability_difference: Share
    rows_from: str
    fitted_rows: Count
