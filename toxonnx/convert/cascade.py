"""Fits the first stage of a cascade, and shows on other rows what share of the decisions it keeps.

It is fitted on the full model's probabilities, so it needs texts but no labels. Distinct texts are divided by a hash:
half of those that the model was not trained on are only tested on, a tenth serves to calibrate, the rest to fit.

**The promise.** With a probability of at least 95% over the rows tested on, all of these hold for rows drawn as they
were: the cascade keeps every decision of the full model on at least the wanted share of the rows; and for each label,
it keeps the label on at least the wanted share of the rows to which the full model gives it.

*One threshold, several promises.* Each promise is tested with the exact binomial test (Clopper and Pearson, 1934) at
5%. That all must pass costs nothing: where any promise is broken, accepting needs a false acceptance of that one
(intersection-union test; Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24, 1982).

*Many thresholds.* They are tested from the strictest on, in an order fixed before any test row was looked at, up to
the first that fails. Accepting one with a broken promise needs a false acceptance of the first such one in the order,
so that all tests together err with at most 5% (fixed-sequence testing; Bauer, "Multiple testing in clinical trials",
Statistics in Medicine 10, 1991; for thresholds of classifiers: Angelopoulos et al., "Learn then Test",
arXiv:2110.01052, 2021).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.sparse import csr_matrix

from toxonnx.binomial import most_failures, rows_needed
from toxonnx.data.fingerprints import hashes
from toxonnx.errors import GateError, InputError
from toxonnx.evaluate.thresholds import Target
from toxonnx.inference.cascade import FirstStage, decision_margins
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.ngrams import UNKNOWN, NgramWeights, ngram_buckets
from toxonnx.inference.scores import decide, probabilities
from toxonnx.inference.tokenizer import TokenizedTexts, Tokens
from toxonnx.labels import EVERY_LABEL, Labels
from toxonnx.manifest_decisions import Cascade, CascadeCheck

__all__ = ["Promise", "cascade_target", "choose_max_risk", "fit_cascade"]

#: largest size of the weights, in bytes, and largest number of buckets
MAX_BYTES, MAX_BUCKETS = 2_000_000, 1 << 18
#: fewest rows of each part
MIN_ROWS = 20
#: strength of the L2 penalty: of the sum over all rows
PENALTY = 0.05
ITERATIONS = 80
#: share of the calibration rows on either side of which rows count as unlike the others: too short, too long, or with
#: too few known n-grams
UNUSUAL = 0.01

Float = NDArray[np.float64]


def cascade_target(wanted: dict[str, float], labels: Labels) -> Target | None:
    """The target that a recipe sets for a cascade; None for no cascade. A label whose share is 0 gets no promise.

    Raises:
        InputError: a label does not exist, a share is out of range, or there is none for all rows.
    """
    if not wanted:
        return None
    target = Target("agreement", wanted)
    target.check(labels)
    if not wanted.get(EVERY_LABEL):
        raise InputError("a cascade needs a share for all rows, such as 0.995")
    if max(wanted.values()) >= 1:
        raise InputError("a cascade cannot promise to keep all decisions", "Ask for less than 1, such as 0.995.")
    return target


@dataclass(frozen=True, eq=False)
class Promise:
    """A promise to be tested.

    Attributes:
        wanted: share of the rows on which the decision must be the same.
        applies: bool [rows], which rows it is about.
        broken: bool [rows], where the first stage decides otherwise.
    """

    wanted: float
    applies: NDArray[np.bool_]
    broken: NDArray[np.bool_]

    def check(self, early: NDArray[np.bool_]) -> CascadeCheck:
        """The result where the first stage answers some of the rows."""
        return CascadeCheck(
            wanted=self.wanted,
            rows=int(self.applies.sum()),
            disagreements=int((self.applies & self.broken & early).sum()),
        )


def choose_max_risk(risk: Float, promises: Sequence[Promise], thresholds: Float) -> float | None:
    """The largest threshold of the risk for which all promises hold with 95% confidence; see the module.

    Args:
        risk: float64 [rows] of the test rows; the first stage answers rows up to a threshold.
        promises: to be kept together.
        thresholds: float64 [thresholds], chosen without the test rows.

    Returns:
        The threshold; None if the strictest one fails.
    """
    limit = np.inf
    for promise in promises:
        allowed = most_failures(int(promise.applies.sum()), 1 - promise.wanted)
        if allowed < 0:
            return None
        failures = np.sort(risk[promise.applies & promise.broken])
        if allowed < len(failures):
            limit = min(limit, failures[allowed])  # from this threshold on there are too many
    passing = thresholds[thresholds < limit]
    return float(passing.max()) if len(passing) else None


@dataclass(frozen=True, eq=False)
class _Rows:
    """Some texts, and what the full model says about them."""

    texts: TokenizedTexts
    probs: Float
    decisions: NDArray[np.bool_]

    @property
    def tokens(self) -> Tokens:
        """Those that the first stage reads."""
        return self.texts.first_windows

    def __len__(self) -> int:
        return len(self.probs)

    def take(self, mask: NDArray[np.bool_]) -> _Rows:
        return _Rows(self.texts.subset(np.flatnonzero(mask)), self.probs[mask], self.decisions[mask])


def fit_cascade(
    classifier: Classifier, all_texts: Sequence[str], trained_on: NDArray[np.uint64], target: Target, *, where: str
) -> tuple[Cascade, NDArray[np.int8]]:
    """Fits a first stage to a model.

    Args:
        classifier: the full model.
        all_texts: texts like those that it will score, normalised.
        trained_on: fingerprints of texts that the model was trained on; on these it is not tested.
        target: the wanted agreement.
        where: a description of where the texts are from.

    Returns:
        The manifest's section, and the weights, int8 [buckets, labels].

    Raises:
        GateError: the promise cannot be kept, or there are too few rows to show it.
    """
    labels = classifier.labels
    keys, first = np.unique(hashes(all_texts), return_index=True)
    parts = _divide(keys, np.isin(keys, trained_on))
    texts = [all_texts[i] for i in first]
    manifest = classifier.bundle.manifest
    probs = probabilities(classifier.logits(texts), labels)
    everything = _Rows(classifier.preprocess.tokenizer(texts), probs, decide(probs, labels))
    testing, tuning, fitting = map(everything.take, parts)
    if min(map(len, (testing, tuning, fitting))) < MIN_ROWS:
        raise GateError(f"no cascade: {len(texts)} distinct texts ({where}) are too few", _MORE_TEXTS)
    _check_rows(testing.decisions, target, labels)
    weights, scale = _fit_weights(fitting, labels)
    cascade = Cascade(
        buckets=len(weights),
        scales=[scale] * len(labels),
        biases=[0.0] * len(labels),
        sharpness=[1.0] * len(labels),
        miss_weights=_miss_weights(fitting.decisions, target, labels),
        max_risk=0.0,
        min_known=0.0,
        shortest=0,
        longest=manifest.max_length,
        agreement=CascadeCheck(wanted=target.values[EVERY_LABEL], rows=0, disagreements=0),
        recall={},
        early=0.0,
        probability_difference=0.0,
        rows_from=where,
        fitted_rows=len(fitting),
    )
    cascade = _calibrated(cascade, weights, tuning, labels)
    return _tested(cascade, weights, (tuning, testing), target, labels), weights


def _divide(keys: NDArray[np.uint64], seen: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Texts to test on, to calibrate on and to fit to, each bool [texts], by their fingerprints.

    Those that the model was trained on are only fitted to: it is surer of them than of new ones. Where they are the
    most, no others are needed for that.
    """
    tenth = keys % np.uint64(10)
    test, tune = (8, 10) if seen.mean() > 0.5 else (5, 6)
    return [~seen & (tenth < test), ~seen & (test <= tenth) & (tenth < tune), seen | (tenth >= tune)]


_MORE_TEXTS = "Give more texts like those to be scored (export takes them as --cascade-data); they need no labels."


def _check_rows(decisions: NDArray[np.bool_], target: Target, labels: Labels) -> None:
    """Checks that there are enough rows of each label for a promise to be shown."""
    counts = {EVERY_LABEL: len(decisions), **dict(zip(labels.names, decisions.sum(axis=0).tolist(), strict=True))}
    lacking = []
    for name, count in counts.items():
        wanted = target.of(name)
        assert wanted is not None
        if count < (needed := rows_needed(1 - wanted)):
            of_label = "" if name == EVERY_LABEL else f" with {name}"
            provable = f", {count} can show {0.05 ** (1 / count):.3f} at most" if count else ""
            lacking.append(f"{wanted:g} needs {needed:,} rows{of_label} to test on{provable}")
    if lacking:
        hint = f"{_MORE_TEXTS} Or ask for less for a label (0.995,LABEL=0.98), or for nothing (LABEL=0)."
        raise GateError(f"no cascade: {'; '.join(lacking)}", hint)


def _miss_weights(decisions: NDArray[np.bool_], target: Target, labels: Labels) -> list[float]:
    """What a missed label costs of its recall, compared with what a changed decision costs of the agreement."""
    allowed = np.array([1 - (target.of(name) or 0.0) for name in labels.names])
    shares = (decisions.sum(axis=0) + 1) / (len(decisions) + 1)
    weights: list[float] = ((1 - target.values[EVERY_LABEL]) / allowed / shares).tolist()
    return weights


def _fit_weights(rows: _Rows, labels: Labels) -> tuple[NDArray[np.int8], float]:
    """Linear weights of n-grams, int8 [buckets, labels], and the factor from their sums to logits.

    Minimises the cross-entropy to the full model's probabilities with L-BFGS.
    """
    buckets = min(MAX_BUCKETS, 1 << (MAX_BYTES // len(labels)).bit_length() - 1)
    found = ngram_buckets(rows.tokens, buckets)
    features = csr_matrix(
        (
            np.repeat(1 / np.sqrt(rows.tokens.lengths), rows.tokens.lengths * found.shape[1]).astype(np.float32),
            (np.repeat(np.arange(len(rows)), rows.tokens.lengths * found.shape[1]), found.ravel()),
        ),
        shape=(len(rows), buckets + 1),
    )[:, :buckets].tocsr()
    known = np.unique(found[found < buckets])
    features = features[:, known]
    transposed, shape = features.T.tocsr(), (len(known) + 1, len(labels))

    def loss(flat: Float) -> tuple[float, Float]:
        parameters = flat.reshape(shape)
        logits = np.asarray(features @ parameters[:-1].astype(np.float32), dtype=np.float64) + parameters[-1]
        value, difference = _cross_entropy(logits, rows.probs, labels)
        gradient = np.concatenate([transposed @ difference.astype(np.float32), difference.sum(axis=0)[None]])
        gradient[:-1] += PENALTY * parameters[:-1]
        return value + PENALTY / 2 * float((parameters[:-1] ** 2).sum()), gradient.astype(np.float64).ravel()

    fitted = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS})
    parameters = fitted.x.reshape(shape)[:-1]
    scale = max(float(np.abs(parameters).max()), 1e-6) / 127
    weights = np.full((buckets, len(labels)), UNKNOWN, dtype=np.int8)
    weights[known] = np.rint(parameters / scale)
    return weights, scale


def _cross_entropy(logits: Float, wanted: Float, labels: Labels) -> tuple[float, Float]:
    """Sum over all rows of the cross-entropy, and its derivative by the logits, float64 [rows, labels]."""
    probs = probabilities(logits, dataclasses.replace(labels, temperature=1.0))
    tiny = np.finfo(np.float64).tiny
    value = -(wanted * np.log(probs + tiny)).sum()
    if labels.multi:
        value -= ((1 - wanted) * np.log(1 - probs + tiny)).sum()
    return float(value), probs - wanted


def _calibrated(cascade: Cascade, weights: NDArray[np.int8], rows: _Rows, labels: Labels) -> Cascade:
    """The section with scales and biases, and with the limits beyond which rows are unusual."""
    plain = dataclasses.replace(labels, temperature=1.0, thresholds=())
    sums, known = NgramWeights(weights).sums(rows.tokens)
    logits = sums * np.array(cascade.scales) / np.sqrt(rows.tokens.lengths)[:, None]
    count = len(labels)

    def loss(parameters: Float) -> tuple[float, Float]:
        scale, bias = parameters[:-count], parameters[-count:]
        value, difference = _cross_entropy(logits * scale + bias, rows.probs, plain)
        by_scale = (difference * logits).sum(axis=0)
        by_scale = by_scale if labels.multi else by_scale.sum(keepdims=True)
        return value, np.concatenate([by_scale, difference.sum(axis=0)])

    # One scale per label for sigmoid; a common one for softmax, as a temperature.
    start = np.concatenate([np.ones(count if labels.multi else 1), np.zeros(count)])
    bounds = [(0.05, 20.0)] * (len(start) - count) + [(-50.0, 50.0)] * count
    fitted = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    lengths = rows.tokens.lengths
    cascade = dataclasses.replace(
        cascade,
        scales=(labels.temperature * np.array(cascade.scales) * fitted[:-count]).tolist(),
        biases=(labels.temperature * fitted[-count:]).tolist(),
        min_known=float(np.quantile(known, UNUSUAL)),
        shortest=int(np.quantile(lengths, UNUSUAL, method="lower")),
        longest=int(np.quantile(lengths, 1 - UNUSUAL, method="higher")),
    )
    probs = probabilities(FirstStage(cascade, weights, labels)(rows.texts).logits, labels)
    return dataclasses.replace(cascade, sharpness=_fit_sharpness(decision_margins(probs, labels), rows, labels))


def _fit_sharpness(margins: Float, rows: _Rows, labels: Labels) -> list[float]:
    """The factors on the margins whose sigmoid or softmax best predicts the full model's decisions."""
    columns = range(len(labels)) if labels.multi else [slice(None)]
    plain, wanted = dataclasses.replace(labels, temperature=1.0), rows.decisions.astype(np.float64)

    def loss(log_factor: float, column: Any) -> float:
        value, _ = _cross_entropy(margins[:, column] * np.exp(log_factor), wanted[:, column], plain)
        return value

    fitted = [minimize_scalar(loss, bounds=(-3, 3), args=(column,), method="bounded").x for column in columns]
    factors: list[float] = np.broadcast_to(np.exp(fitted), len(labels)).tolist()
    return factors


def _tested(
    cascade: Cascade, weights: NDArray[np.int8], parts: tuple[_Rows, _Rows], target: Target, labels: Labels
) -> Cascade:
    """The section with its threshold and the results of the tests.

    Args:
        cascade: calibrated.
        weights: of the n-grams.
        parts: rows from which the thresholds to test are taken, and rows to test on.
        target: the wanted agreement.
        labels: the label set.
    """
    tuning, testing = parts
    stage = FirstStage(cascade, weights, labels)
    risk = stage(tuning.texts).risk
    answers = stage(testing.texts)
    probs = probabilities(answers.logits, labels)
    decisions, full = decide(probs, labels), testing.decisions
    everywhere = np.ones(len(testing), dtype=np.bool_)
    agreement = Promise(target.values[EVERY_LABEL], everywhere, (decisions != full).any(axis=1))
    recall = {
        name: Promise(wanted, full[:, i], ~decisions[:, i])
        for i, name in enumerate(labels.names)
        if (wanted := target.of(name))
    }
    max_risk = choose_max_risk(answers.risk, [agreement, *recall.values()], np.unique(risk[np.isfinite(risk)]))
    early = answers.risk <= (-1.0 if max_risk is None else max_risk)
    if max_risk is None or not early.any():
        raise GateError(
            f"no cascade: a first stage cannot answer any row and keep the promise {target} (tested on {len(early)} "
            "rows)",
            "Ask for less, or give more texts (export takes them as --cascade-data).",
        )
    return dataclasses.replace(
        cascade,
        max_risk=max_risk,
        agreement=agreement.check(early),
        recall={name: promise.check(early) for name, promise in recall.items()},
        early=float(early.mean()),
        probability_difference=float(np.abs(probs - testing.probs)[early].mean()),
    )
