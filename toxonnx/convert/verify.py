"""What an export has to show before it is sealed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.convert.torch_scorer import TorchScorer
from toxonnx.errors import GateError
from toxonnx.evaluate.metrics import evaluate
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.scores import decide, probabilities
from toxonnx.labels import Labels
from toxonnx.recipe import Export, Recipe
from toxonnx.train.adapters import Trained

__all__ = ["Logits", "Rows", "compare", "gate", "reference_logits"]


@dataclass(frozen=True)
class Rows:
    """Texts to verify on: normalised, with y_true (see :func:`toxonnx.evaluate.metrics.evaluate`) or without.

    ``where`` says in words where they are from; ``part`` is ``training``, ``validation`` or ``test`` for those of a
    run, ``data`` for a file that was given, ``built-in`` for sentences that ship.
    """

    texts: list[str]
    y_true: NDArray[np.int64] | None
    where: str
    part: str


def reference_logits(trained: Trained, texts: Sequence[str]) -> NDArray[np.float32]:
    """PyTorch's logits, float32 [texts, labels], of normalised texts."""
    return TorchScorer(trained).logits(texts)


def recipe_label_columns(recipe: Recipe | None) -> dict[str, Any]:
    """What a recipe says of the columns that hold the y_true, for those who evaluate the model later."""
    if recipe is None:
        return {}
    spec = recipe.labels
    return {"column": spec.column, "columns": list(spec.columns), "names": dict(spec.names)}


@dataclass(frozen=True)
class Logits:
    """Logits of the same rows, float32 [rows, labels]: by PyTorch, by ONNX in fp32, and by the model to seal."""

    pytorch: NDArray[np.float32]
    exact: NDArray[np.float32]
    final: NDArray[np.float32]

    @classmethod
    def of(cls, trained: Trained, exact: Classifier, final: Classifier, texts: Sequence[str]) -> Logits:
        """Asks all three."""
        fp32 = exact.logits(texts)
        return cls(reference_logits(trained, texts), fp32, fp32 if final is exact else final.logits(texts))


def compare(logits: Logits, rows: Rows, labels: Labels) -> dict[str, Any]:
    """What separates ONNX in fp32, and the final model, from PyTorch.

    Args:
        logits: of the rows.
        rows: what they are of.
        labels: the label set; its temperature, which is the same for all three, makes them probabilities.

    Returns:
        The metrics, for the manifest; those that need y_true only where there is some.
    """
    reference, fp32, final = logits.pytorch, logits.exact, logits.final
    measured: dict[str, Any] = {
        "rows": len(rows.texts),
        "rows_from": rows.where,
        "labelled": rows.y_true is not None,
        "fp32_largest_logit_difference": float(np.abs(fp32 - reference).max()),
        "fp32_label_agreement": _agreement(reference, fp32, labels),
        "label_agreement": _agreement(reference, final, labels),
        "largest_probability_difference": float(
            np.abs(probabilities(reference, labels) - probabilities(final, labels)).max()
        ),
    }
    if rows.y_true is not None:
        metrics = {
            name: evaluate(values, rows.y_true, labels)
            for name, values in (("pytorch", reference), ("onnx_fp32", fp32), ("final", final))
        }
        measured["macro_f1_loss"] = metrics["pytorch"].macro_f1 - metrics["final"].macro_f1
        measured["metrics"] = {name: one.to_dict() for name, one in metrics.items()}
    return measured


def gate(measured: dict[str, Any], limits: Export) -> dict[str, float]:
    """Holds what :func:`compare` measured to a recipe's limits and returns these, for the manifest.

    Raises:
        GateError: a figure is over its limit; names it, its value and the limit.
    """
    failed = []
    # Each comparison is written so that a NaN fails it.
    difference, agreement = measured["fp32_largest_logit_difference"], measured["label_agreement"]
    if not difference <= limits.max_logit_difference:
        failed.append(
            f"ONNX fp32 differs from PyTorch by {difference:.2e} in a logit (limit {limits.max_logit_difference:.0e})"
        )
    if not agreement >= limits.min_agreement:
        failed.append(
            f"the final model chooses PyTorch's label on {agreement:.2%} of {measured['rows']} rows "
            f"(limit {limits.min_agreement:.2%})"
        )
    if measured["labelled"] and not measured["macro_f1_loss"] <= limits.max_f1_loss:
        before, after = (measured["metrics"][name]["macro_f1"] for name in ("pytorch", "final"))
        changed = round((1 - agreement) * measured["rows"])
        failed.append(
            f"macro F1 falls from {before:.4f} to {after:.4f} (limit {limits.max_f1_loss:.4f} lost), as {changed} of "
            f"{measured['rows']} rows change their label"
        )
    if failed:
        raise GateError(
            "not sealed: " + "; ".join(failed), "Export with another --precision, or with other limits in a --recipe."
        )
    return {
        "fp32_largest_logit_difference": limits.max_logit_difference,
        "label_agreement": limits.min_agreement,
        "macro_f1_loss": limits.max_f1_loss,
    }


def _agreement(one: NDArray[np.float32], other: NDArray[np.float32], labels: Labels) -> float:
    a, b = (decide(probabilities(logits, labels), labels) for logits in (one, other))
    return float((a == b).all(axis=1).mean())
