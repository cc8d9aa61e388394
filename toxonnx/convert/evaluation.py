"""Evaluation of a model on held-out rows, for the manifest and the model card."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.convert.verify import VerificationRows
from toxonnx.data.fingerprints import is_seen
from toxonnx.evaluate.intervals import cluster_ids
from toxonnx.evaluate.metrics import Sample
from toxonnx.evaluate.models import evaluated_bundle, run_suite
from toxonnx.evaluate.report import BootstrapOptions, ScoredRows
from toxonnx.evaluate.run import make_report
from toxonnx.evaluate.suites import SuiteRequest
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.scores import needs_review
from toxonnx.texts import fold

__all__ = ["held_out_report"]

BOOTSTRAP_SAMPLES = 1000


def held_out_report(
    classifier: Classifier,
    logits: NDArray[np.float32],
    rows: VerificationRows,
    suite: SuiteRequest | None,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """An evaluation report as plain values, without curves, with ``part``, the kind of rows it is about.

    Args:
        classifier: the model, with its thresholds and fingerprints.
        logits: its logits of ``rows``, float32 [rows, labels].
        rows: the rows to report on; there are no metrics without true labels.
        suite: a functional suite, if one was requested.
        log: called with lines of progress.
    """
    model = evaluated_bundle(classifier)
    suite_report = None
    if suite:
        log(f"scoring {len(suite.cases.texts):,} cases of {suite.suite.title}")
        suite_report = run_suite(suite, [model])
    scored = []
    if rows.y_true is not None:
        groups = cluster_ids([fold(text) for text in rows.texts])
        sample = Sample.of_logits(logits, rows.y_true, model.labels, groups)
        tokenized = classifier.preprocess.tokenizer(rows.texts)
        scored.append(
            ScoredRows(
                name=model.name,
                description=model.description,
                sample=sample,
                truncated=tokenized.truncated,
                empty=tokenized.no_tokens,
                review=needs_review(sample.probs, model.labels),
                seen={part: is_seen(rows.texts, hashes) for part, hashes in model.fingerprints.items()},
            )
        )
    options = BootstrapOptions(BOOTSTRAP_SAMPLES, seed=0)
    report = make_report(scored, rows.where, suite_report, options=options, log=log)
    # The thresholds are among the manifest's decisions.
    models = [dataclasses.replace(one, curves={}, threshold_metrics=None) for one in report.models]
    return {**dataclasses.replace(report, models=models).to_dict(), "part": rows.part}
