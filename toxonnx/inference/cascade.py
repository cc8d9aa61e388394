"""A cascade: a first stage answers the rows that it is sure of; the others go on to the full model.

The first stage is a linear model of hashed n-grams of the token ids that the full model gets, fitted on the full
model's outputs. :mod:`toxonnx.convert.cascade` fits it and shows for what share of the rows the decisions stay the
same; an :class:`Audit` checks that on the rows of a file.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from toxonnx.arrays import load_array
from toxonnx.binomial import clopper_pearson
from toxonnx.bundle import CASCADE_WEIGHTS, DAMAGED, Bundle
from toxonnx.errors import BundleError, InputError
from toxonnx.inference.ngrams import NgramWeights
from toxonnx.inference.options import RuntimeOptions
from toxonnx.inference.scores import decide, needs_review, probabilities
from toxonnx.inference.tokenizer import TokenizedTexts
from toxonnx.labels import Labels
from toxonnx.manifest_decisions import Cascade

__all__ = ["Audit", "AuditResult", "CascadeRunner", "FirstAnswers", "FirstStage", "decision_margins"]

#: how much the risk of an early answer has to be above the promise, for an audit to look for it
_EXCESSES = (1.5, 2.0, 4.0, 10.0)


@dataclass(frozen=True, eq=False)
class FirstAnswers:
    """What a first stage says about some texts.

    Attributes:
        logits: float32 [texts, labels], on the full model's scale.
        risk: float64 [texts], how likely the full model decides otherwise, misses of rare labels weighted higher;
            infinite for texts that the first stage must not answer.
        early: bool [texts], whether the first stage answers the text.
    """

    logits: NDArray[np.float32]
    risk: NDArray[np.float64]
    early: NDArray[np.bool_]


class FirstStage:
    """The first stage of a cascade.

    Args:
        cascade: the manifest's section.
        weights: int8 [buckets, labels], see :class:`toxonnx.inference.ngrams.NgramWeights`.
        labels: the bundle's labels.
    """

    def __init__(self, cascade: Cascade, weights: NDArray[np.int8], labels: Labels) -> None:
        self.cascade, self._labels = cascade, labels
        self._weights = NgramWeights(weights)
        self._scales, self._biases = np.array(cascade.scales), np.array(cascade.biases)

    @classmethod
    def load(cls, bundle: Bundle) -> FirstStage | None:
        """The first stage of a bundle; None if it has none.

        Raises:
            BundleError: its weights are not those that the manifest describes.
        """
        manifest = bundle.manifest
        if manifest.cascade is None:
            return None
        path, shape = bundle.path / CASCADE_WEIGHTS, (manifest.cascade.buckets, len(manifest.labels))
        try:
            weights = load_array(path, "weights")
        except InputError as error:
            raise BundleError(error.what, DAMAGED) from None
        if weights.dtype != np.int8 or weights.shape != shape:
            raise BundleError(f"{path} does not contain weights of type int8 and shape {shape}", DAMAGED)
        return cls(manifest.cascade, weights, manifest.labels)

    def __call__(self, texts: TokenizedTexts, review_below: float = 0.0) -> FirstAnswers:
        """Answers texts, each by itself; those of several windows go on to the full model.

        Args:
            texts: as the full model gets them.
            review_below: texts that this would mark for review go on to the full model.
        """
        cascade, tokens = self.cascade, texts.first_windows
        lengths = tokens.lengths
        sums, known = self._weights.sums(tokens)
        # Divided by the root of the length, so that the logits of long texts are no larger.
        logits = (sums * self._scales / np.sqrt(lengths)[:, None] + self._biases).astype(np.float32)
        probs = probabilities(logits, self._labels)
        goes_on = (
            (known < cascade.min_known)
            | (lengths < cascade.shortest)
            | (lengths > cascade.longest)
            | (texts.windows > 1)
            | texts.truncated
            | texts.no_tokens
            | needs_review(probs, self._labels, review_below)
        )
        risk = np.where(goes_on, np.inf, _risk(probs, self._labels, cascade))
        return FirstAnswers(logits, risk, risk <= cascade.max_risk)


def decision_margins(probs: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    """How far probabilities are from a change of the decision, float64 [rows, labels].

    Sigmoid: the log-odds relative to those of the threshold, positive where the label applies. Softmax: the logarithm
    of the ratio of probability to threshold, largest for the label that applies.
    """
    tiny, thresholds = np.finfo(np.float64).tiny, np.asarray(labels.thresholds or 1.0)
    margins: NDArray[np.float64] = np.log(probs + tiny) - np.log(thresholds)
    if labels.multi:
        margins -= np.log(1 - probs + tiny) - np.log(1 - thresholds + tiny)
    return margins


def _risk(probs: NDArray[np.float64], labels: Labels, cascade: Cascade) -> NDArray[np.float64]:
    """The expected number of labels that the full model decides otherwise, float64 [rows].

    A label that would be missed counts ``1 + miss_weights``, as a single miss of a rare label costs much of its recall.
    """
    plain = dataclasses.replace(labels, temperature=1.0)
    applies = probabilities(decision_margins(probs, labels) * cascade.sharpness, plain)
    missed = applies * (1 + np.array(cascade.miss_weights))
    total: NDArray[np.float64] = np.where(decide(probs, labels), 1 - applies if labels.multi else 0.0, missed).sum(
        axis=1
    )
    return total


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """How often the full model decides otherwise than the first stage.

    Attributes:
        rows: distinct texts that were drawn, of all texts; those that the full model scores anyway agree.
        disagreements: texts among them on which the first stage decides otherwise.
        promised: the largest share of disagreements that the bundle promises.
        exceeded: whether they are more than promised, at 95% confidence at any time.
    """

    rows: int
    disagreements: int
    promised: float
    exceeded: bool

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95% interval of the share of disagreements (Clopper and Pearson)."""
        return clopper_pearson(self.disagreements, self.rows)


class Audit:
    """Compares early answers with those of the full model, on a sample of the texts. Safe to share between threads.

    After each chunk it tests whether more decisions differ than promised. The test may be repeated any number of
    times: the likelihood ratios of larger shares to the promised one, averaged, are a martingale, which exceeds 20 with
    a probability of at most 5% (Ville, "Étude critique de la notion de collectif", 1939; Ramdas et al., "Game-theoretic
    statistics and safe anytime-valid inference", 2023).

    Args:
        share: of the texts to draw.
        promised: the largest share of disagreements that the bundle promises.
        labels: how logits become decisions.
    """

    def __init__(self, share: float, promised: float, labels: Labels) -> None:
        self._share, self._promised, self._labels = share, promised, labels
        self._rows = self._disagreements = 0
        self._exceeded = False
        self._lock = threading.Lock()

    def draws(self, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Which texts are in the sample, by their :func:`toxonnx.inference.cache.digest`: bool [texts]."""
        numbers = np.frombuffer(b"".join(keys), dtype="<u8")[::2]
        return numbers < self._share * 2.0**64

    def add(self, rows: int, first: NDArray[np.float32], full: NDArray[np.float32], audited: NDArray[np.int64]) -> None:
        """Counts texts.

        Args:
            rows: number of texts drawn.
            first, full: logits, float32 [texts, labels].
            audited: which of these were drawn and answered by the first stage.
        """
        one, other = (decide(probabilities(logits[audited], self._labels), self._labels) for logits in (first, full))
        with self._lock:
            self._rows += rows
            self._disagreements += int((one != other).any(axis=1).sum())
            self._exceeded |= _evidence(self._disagreements, self._rows, self._promised) >= 20

    @property
    def result(self) -> AuditResult:
        """The result so far."""
        with self._lock:
            return AuditResult(
                rows=self._rows,
                disagreements=self._disagreements,
                promised=self._promised,
                exceeded=self._exceeded,
            )


def _evidence(cases: int, count: int, share: float) -> float:
    """Mean likelihood ratio of larger shares to ``share``."""
    if share <= 0:
        return math.inf if cases else 1.0
    larger = [other for excess in _EXCESSES if (other := excess * share) < 1]
    logs = (
        cases * math.log(other / share) + (count - cases) * (math.log1p(-other) - math.log1p(-share))
        for other in larger
    )
    return sum(math.exp(min(log, 700)) for log in logs) / len(larger) if larger else 1.0


class CascadeRunner:
    """What a classifier needs of a cascade: the first stage, if it is to be used, and the audit, if there is one.

    Raises:
        BundleError: see :meth:`FirstStage.load`.

    Attributes:
        stage: None for a bundle without a first stage, or where it is turned off.
        audit: None without an audit.
    """

    def __init__(self, bundle: Bundle, options: RuntimeOptions) -> None:
        self.stage = FirstStage.load(bundle) if options.cascade else None
        self.audit: Audit | None = None
        self._labels, self._stops = bundle.manifest.labels, options.audit_stop
        if self.stage and options.audit:
            promised = 1 - self.stage.cascade.agreement.wanted
            self.audit = Audit(options.audit, promised, self._labels)

    def answer(self, texts: TokenizedTexts, review_below: float) -> FirstAnswers:
        """Answers of the first stage; none is early where it is not used."""
        if self.stage is None or (self._stops and self.audit and self.audit.result.exceeded):
            count = len(texts)
            return FirstAnswers(
                np.zeros((count, len(self._labels)), dtype=np.float32),
                np.full(count, np.inf),
                np.zeros(count, dtype=np.bool_),
            )
        return self.stage(texts, review_below)
