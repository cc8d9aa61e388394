"""What clients are told about a bundle: what it reads, its labels, how it was measured, and what its card says."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from toxonnx.bundle import Bundle
from toxonnx.inference.classifier import Classifier

__all__ = ["describe", "describe_in_detail"]

#: titles of the paragraphs of a card that say what the model cannot do
_LIMITS = re.compile(r"\b(limit|limits|limitation|limitations|bias|biases|risk|risks|caveat|caveats)\b", re.IGNORECASE)


def describe(classifier: Classifier) -> dict[str, Any]:
    """What a client needs to send texts and to read the scores.

    ``max_length`` is the number of tokens that the model reads at once, ``max_tokens`` that of the longest text that
    is read to its end. It is the same unless long texts are read in windows.
    """
    bundle, manifest = classifier.bundle, classifier.bundle.manifest
    return {
        "name": manifest.name,
        "sha256": bundle.seal,
        "description": manifest.description,
        "language": manifest.language,
        "labels": [
            {"name": name, "meaning": manifest.label_descriptions.get(name, ""), "threshold": threshold}
            for name, threshold in zip(
                manifest.labels.names, manifest.labels.thresholds or [None] * len(manifest.labels), strict=True
            )
        ],
        "activation": manifest.labels.activation,
        "text": {"columns": list(manifest.text.columns), "template": manifest.text.template},
        "max_length": manifest.max_length,
        "max_tokens": classifier.preprocess.tokenizer.max_tokens,
        "mappings": manifest.mappings,
    }


def describe_in_detail(classifier: Classifier) -> dict[str, Any]:
    """The same, with measurements on labelled rows and the limits that the card states."""
    bundle = classifier.bundle
    return {**describe(classifier), "measured": _measured(bundle), "limits": _limits(bundle)}


def _measured(bundle: Bundle) -> Mapping[str, Any] | None:
    """Precision and recall of each label as it is decided, if by the thresholds of the bundle, and the effect of other
    thresholds; None without any."""
    verification, decisions = bundle.manifest.verification, bundle.manifest.decisions
    agreement = verification and (verification.test or verification.agreement)
    if agreement and agreement.labelled:
        rows, rows_from = agreement.rows, agreement.rows_from
    elif decisions:
        rows, rows_from = decisions.rows, decisions.rows_from
    else:
        return None
    labels: dict[str, Any] = {}
    thresholds = decisions and (decisions.test or decisions.fitted)
    if bundle.own_thresholds and thresholds:
        for name, one in thresholds["per_class"].items():
            precision, recall = one["precision"], one["recall"]
            labels[name] = {
                "precision": precision and precision[0],
                "recall": recall and recall[0],
                "predicted": one["predicted"],
            }
    elif bundle.own_thresholds and agreement and "final" in agreement.metrics:
        for name, metrics in agreement.metrics["final"]["per_class"].items():
            labels[name] = {
                "precision": metrics["precision"] if metrics["predicted"] else None,
                "recall": metrics["recall"] if metrics["support"] else None,
                "predicted": metrics["predicted"],
            }
    curves = decisions.curves if decisions else {}
    return {
        "rows": rows,
        "rows_from": rows_from,
        "labels": labels,
        "curves": {name: dataclasses.asdict(curve) for name, curve in curves.items()},
    }


def _limits(bundle: Bundle) -> list[Mapping[str, str]]:
    """The paragraphs of the card about limits, as they are written there."""
    if bundle.card is None:
        return []
    parts = re.split(r"^## +(.+)\n", bundle.card.read_text(encoding="utf-8", errors="replace"), flags=re.MULTILINE)
    return [
        {"title": title.strip(), "text": text.strip()}
        for title, text in zip(parts[1::2], parts[2::2], strict=True)
        if _LIMITS.search(title)
    ]
