"""The sections of a manifest on how closely the exported model agrees with the trained one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

from toxonnx.errors import InputError
from toxonnx.records import Count, NotNegative, Share

__all__ = ["Agreement", "LabelMetricsDict", "Limits", "MetricsDict", "Reference", "Verification"]


class LabelMetricsDict(TypedDict):
    """:class:`toxonnx.evaluate.metrics.LabelMetrics` as plain values."""

    precision: Share
    recall: Share
    f1: Share
    support: Count
    predicted: Count
    roc_auc: Share | None
    average_precision: Share | None
    known: NotRequired[Count | None]
    ece: NotRequired[Share | None]


class MetricsDict(TypedDict):
    """:class:`toxonnx.evaluate.metrics.Metrics` as plain values."""

    accuracy: Share
    macro_f1: Share
    weighted_f1: Share
    loss: NotNegative
    ece: Share
    per_class: dict[str, LabelMetricsDict]
    confusion: list[list[Count]]
    roc_auc: Share | None
    average_precision: Share | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How closely ONNX agrees with PyTorch on some rows.

    Attributes:
        rows: their number.
        rows_from: a description of where they are from.
        labelled: whether they have true labels.
        fp32_largest_logit_difference, fp32_label_agreement: of ONNX in fp32.
        label_agreement: share of rows with the same label, or the same labels, for the final model.
        per_label: label -> share of rows with the same decision about it, for the final model; empty for
            single-label models.
        largest_probability_difference: for the final model.
        macro_f1_loss: macro F1 of PyTorch minus that of the final model; None without labels.
        metrics: ``pytorch``, ``onnx_fp32`` and ``final`` -> metrics as plain values, of the same labels; empty without
            labels.
    """

    rows: Count
    rows_from: str
    labelled: bool
    fp32_largest_logit_difference: NotNegative
    fp32_label_agreement: Share
    label_agreement: Share
    largest_probability_difference: Share
    macro_f1_loss: float | None = None
    metrics: dict[str, MetricsDict] = field(default_factory=dict)
    per_label: dict[str, Share] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.labelled and set(self.metrics) != {"pytorch", "onnx_fp32", "final"}:
            raise InputError(
                f"metrics must be of pytorch, onnx_fp32 and final, got {', '.join(self.metrics) or 'none'}"
            )
        if len({frozenset(one["per_class"]) for one in self.metrics.values()}) > 1:
            raise InputError("metrics must have the same labels in each per_class")

    @property
    def summary(self) -> str:
        """The agreement of the final model in words."""
        share = f"{self.label_agreement:.2%} of the rows"
        if not self.per_label:
            return f"same label for {share}"
        least = min(self.per_label, key=lambda name: self.per_label[name])
        return f"same labels for {share} (for each label at least {self.per_label[least]:.2%}, {least})"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of an export; see :class:`toxonnx.recipe.Export`.

    Attributes:
        fp32_largest_logit_difference: largest difference of a logit between PyTorch and ONNX, both in fp32.
        label_agreement: smallest share of rows on which the final model predicts the same label as PyTorch.
        macro_f1_loss: largest loss of macro F1.
    """

    fp32_largest_logit_difference: NotNegative
    label_agreement: Share
    macro_f1_loss: float


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What the bundle says about the rows of the verification, to compare with what it says about others later.

    Attributes:
        rows, rows_from: their number, and a description of where they are from.
        mean_tokens: tokens of a row that the model reads, special tokens included, on average.
        label_shares: label -> share of the rows to which it applies, by the bundle's thresholds.
    """

    rows: Count
    rows_from: str
    mean_tokens: NotNegative
    label_shares: dict[str, Share]


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The verification of the export.

    Attributes:
        agreement: on the rows for which the limits hold.
        reference: on the same rows; None in bundles of earlier versions, and where these are built-in sentences.
        test: on the run's test rows; None without any.
        long_texts: on texts of several windows, joined from those of ``agreement``; None where long texts are
            truncated.
        limits: for ``agreement``.
        ran_on: execution provider, and the GPU.
        worse_than_baseline: in what the model is worse than a baseline; empty if it is better than all.
    """

    agreement: Agreement
    limits: Limits
    ran_on: str
    reference: Reference | None = None
    test: Agreement | None = None
    long_texts: Agreement | None = None
    worse_than_baseline: list[str] = field(default_factory=list)
