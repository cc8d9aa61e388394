"""Whether texts differ from those that a bundle was verified on: shares of labels, and length."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from toxonnx.bundle import Bundle
from toxonnx.serve.scored import Scored

__all__ = ["DriftLog", "Expectation"]

log = logging.getLogger("toxonnx.serve")

#: texts after which a line is logged
TEXTS_PER_LINE = 10_000


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What the rows of the verification let expect.

    Attributes:
        label_shares: label -> share of the texts to which it applies; empty if unknown.
        mean_tokens: tokens of a text on average; None if unknown, as in bundles of earlier versions.
    """

    label_shares: Mapping[str, float]
    mean_tokens: float | None = None

    @classmethod
    def of(cls, bundle: Bundle) -> Expectation:
        """That of a bundle; of labels only if it decides by its own thresholds."""
        verification = bundle.manifest.verification
        if verification is None:
            return cls(label_shares={})
        if reference := verification.reference:
            shares = reference.label_shares if bundle.own_thresholds else {}
            return cls(label_shares=shares, mean_tokens=reference.mean_tokens)
        metrics, rows = verification.agreement.metrics.get("final"), verification.agreement.rows
        if metrics is None or not bundle.own_thresholds:
            return cls(label_shares={})
        # Predictions are counted among the rows in which the label is known.
        known = {label: one.get("known") or rows for label, one in metrics["per_class"].items()}
        return cls(label_shares={label: metrics["per_class"][label]["predicted"] / known[label] for label in known})


class DriftLog:
    """Logs a line for every :data:`TEXTS_PER_LINE` texts of a bundle, next to what was expected of them.

    Args:
        name: of the bundle.
        expected: what the line compares with; without shares of labels, nothing is logged.
    """

    def __init__(self, name: str, expected: Expectation) -> None:
        self._name, self._expected = name, expected
        self._texts = self._tokens = 0
        self._decisions: Counter[str] = Counter()

    def add(self, scored: Scored) -> None:
        """Counts texts."""
        self._texts += len(scored.lengths)
        self._tokens += int(scored.lengths.sum())
        decisions = scored.scores.decisions.sum(axis=0).tolist()
        self._decisions.update(dict(zip(scored.scores.labels.names, decisions, strict=True)))
        if self._texts >= TEXTS_PER_LINE and self._expected.label_shares:
            log.info("drift", extra={"fields": self._fields()})
            self._texts = self._tokens = 0
            self._decisions.clear()

    def _fields(self) -> dict[str, object]:
        expected = self._expected
        fields: dict[str, object] = {
            "bundle": self._name, "texts": self._texts, "mean_tokens": round(self._tokens / self._texts, 1),
            "shares": {label: round(count / self._texts, 4) for label, count in self._decisions.items()},
            "validation_shares": {label: round(share, 4) for label, share in expected.label_shares.items()},
        }  # fmt: skip
        if expected.mean_tokens is not None:
            fields["validation_mean_tokens"] = round(expected.mean_tokens, 1)
        return fields
