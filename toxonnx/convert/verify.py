"""Verification: how closely an export agrees with PyTorch, and whether it keeps the limits of its recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import GateError
from toxonnx.evaluate.metrics import evaluate
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.scores import decide, probabilities
from toxonnx.labels import Labels
from toxonnx.manifest_verification import Agreement, Limits, MetricsDict, Reference
from toxonnx.recipe import Export
from toxonnx.train.adapters import Trained
from toxonnx.train.torch_scorer import TorchScorer

__all__ = [
    "ExportLogits",
    "VerificationRows",
    "check_limits",
    "measure_agreement",
    "measure_reference",
    "reference_logits",
]


@dataclass(frozen=True)
class VerificationRows:
    """Texts to verify an export on.

    Attributes:
        texts: normalised.
        y_true: true labels, see :func:`toxonnx.evaluate.metrics.evaluate`; None if unknown.
        where: a description of where they are from.
        part: ``training``, ``validation`` or ``test`` for rows of a run, ``data`` for those of a given file,
            ``built-in`` for the sentences that ship with toxonnx.
    """

    texts: list[str]
    y_true: NDArray[np.int64] | None
    where: str
    part: str


def reference_logits(trained: Trained, texts: Sequence[str]) -> NDArray[np.float32]:
    """PyTorch's logits, float32 [texts, labels], of normalised texts."""
    return TorchScorer(trained).logits(texts)


@dataclass(frozen=True)
class ExportLogits:
    """Logits of the same rows, float32 [rows, labels].

    Attributes:
        pytorch: of the merged model in PyTorch.
        onnx_fp32: of the ONNX graph in fp32.
        final: of the exported model.
    """

    pytorch: NDArray[np.float32]
    onnx_fp32: NDArray[np.float32]
    final: NDArray[np.float32]

    @classmethod
    def of(cls, trained: Trained, onnx_fp32: Classifier, final: Classifier, texts: Sequence[str]) -> ExportLogits:
        """Runs all three models."""
        fp32 = onnx_fp32.logits(texts)
        return cls(reference_logits(trained, texts), fp32, fp32 if final is onnx_fp32 else final.logits(texts))


def measure_agreement(logits: ExportLogits, rows: VerificationRows, labels: Labels) -> Agreement:
    """Compares ONNX in fp32, and the final model, with PyTorch.

    Args:
        logits: of the rows.
        rows: the rows.
        labels: the label set.
    """
    reference, fp32, final = logits.pytorch, logits.onnx_fp32, logits.final
    metrics = {}
    if rows.y_true is not None:
        metrics = {
            name: evaluate(values, rows.y_true, labels)
            for name, values in (("pytorch", reference), ("onnx_fp32", fp32), ("final", final))
        }
    difference = np.abs(probabilities(reference, labels) - probabilities(final, labels))
    return Agreement(
        rows=len(rows.texts),
        rows_from=rows.where,
        labelled=rows.y_true is not None,
        fp32_largest_logit_difference=float(np.abs(fp32 - reference).max()),
        fp32_label_agreement=_label_agreement(reference, fp32, labels),
        label_agreement=_label_agreement(reference, final, labels),
        largest_probability_difference=float(difference.max()),
        macro_f1_loss=metrics["pytorch"].macro_f1 - metrics["final"].macro_f1 if metrics else None,
        metrics={name: cast("MetricsDict", values.to_dict()) for name, values in metrics.items()},
        per_label=_agreement_per_label(reference, final, labels) if labels.multi else {},
    )


def measure_reference(
    final: Classifier, logits: NDArray[np.float32], rows: VerificationRows, labels: Labels
) -> Reference:
    """What the exported model says about some rows.

    Args:
        final: the exported model, for its tokenizer.
        logits: float32 [rows, labels], its logits.
        rows: the rows.
        labels: the label set, with the bundle's thresholds.
    """
    shares = decide(probabilities(logits, labels), labels).mean(axis=0)
    return Reference(
        rows=len(rows.texts),
        rows_from=rows.where,
        mean_tokens=float(final.preprocess.tokenizer(rows.texts).lengths.mean()),
        label_shares=dict(zip(labels.names, shares.tolist(), strict=True)),
    )


def check_limits(agreement: Agreement, settings: Export) -> Limits:
    """Checks an export against a recipe's limits.

    Returns:
        The limits, for the manifest.

    Raises:
        GateError: a limit is exceeded; names it and the measured value.
    """
    failed = []
    # Each comparison is written so that NaN fails it.
    if not agreement.fp32_largest_logit_difference <= settings.max_logit_difference:
        failed.append(
            f"ONNX fp32 differs from PyTorch by {agreement.fp32_largest_logit_difference:.2e} in a logit (limit "
            f"{settings.max_logit_difference:.0e})"
        )
    if not agreement.label_agreement >= settings.min_agreement:
        failed.append(
            f"the exported model predicts the same label as PyTorch for {agreement.label_agreement:.2%} of "
            f"{agreement.rows} rows (limit {settings.min_agreement:.2%})"
        )
    loss = agreement.macro_f1_loss
    if loss is not None and not loss <= settings.max_f1_loss:
        before, after = (agreement.metrics[name]["macro_f1"] for name in ("pytorch", "final"))
        changed = round((1 - agreement.label_agreement) * agreement.rows)
        failed.append(
            f"macro F1 falls from {before:.4f} to {after:.4f} (limit: a loss of {settings.max_f1_loss:.4f}); the label "
            f"of {changed} of {agreement.rows} rows changes"
        )
    if failed:
        raise GateError(
            f"not sealed: {'; '.join(failed)}",
            "Export with another --precision, or with other limits in a --recipe.",
        )
    return Limits(
        fp32_largest_logit_difference=settings.max_logit_difference,
        label_agreement=settings.min_agreement,
        macro_f1_loss=settings.max_f1_loss,
    )


def _label_agreement(one: NDArray[np.float32], other: NDArray[np.float32], labels: Labels) -> float:
    return float(_same_decisions(one, other, labels).all(axis=1).mean())


def _agreement_per_label(one: NDArray[np.float32], other: NDArray[np.float32], labels: Labels) -> dict[str, float]:
    return dict(zip(labels.names, _same_decisions(one, other, labels).mean(axis=0).tolist(), strict=True))


def _same_decisions(one: NDArray[np.float32], other: NDArray[np.float32], labels: Labels) -> NDArray[np.bool_]:
    a, b = (decide(probabilities(logits, labels), labels) for logits in (one, other))
    same: NDArray[np.bool_] = a == b
    return same
