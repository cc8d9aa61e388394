"""What a model gets right on rows that were held out, for the manifest and the card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.convert.verify import Rows
from toxonnx.data.fingerprints import is_seen
from toxonnx.evaluate.intervals import clusters
from toxonnx.evaluate.metrics import Sample
from toxonnx.evaluate.models import of_bundle, suite_report
from toxonnx.evaluate.report import Scored
from toxonnx.evaluate.run import report_of
from toxonnx.evaluate.suites import Questions
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.scores import needs_review
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.texts import fold

__all__ = ["held_out_report"]

BOOTSTRAP_SAMPLES = 1000


def held_out_report(
    classifier: Classifier,
    logits: NDArray[np.float32],
    told: Rows,
    questions: Questions | None,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """The eval verb's report, without curves, and ``part``, what rows it is of.

    Args:
        classifier: the model, with its temperature and thresholds and the hashes of what it met.
        logits: its logits of ``told``, float32 [rows, labels].
        told: the rows to tell of; without y_true, no metrics come of them.
        questions: a functional suite, if one was asked for.
        log: takes words on progress.
    """
    model = of_bundle(classifier)
    suite = None
    if questions:
        log(f"asking {len(questions.cases.texts):,} cases of {questions.suite.title}")
        suite = suite_report(questions, [model])
    scored = []
    if told.y_true is not None:
        groups = clusters([fold(text) for text in told.texts])
        sample = Sample.of_logits(logits, told.y_true, model.labels, groups)
        bundle = classifier.bundle
        cut = Tokenizer(bundle.path / "tokenizer.json", bundle.manifest.max_length)(told.texts).truncated
        empty = np.array([not text.strip() for text in told.texts], dtype=np.bool_)
        seen = {where: is_seen(told.texts, hashes) for where, hashes in model.seen.items()}
        review = needs_review(sample.probs, model.labels)
        scored.append(Scored(model.name, model.about, sample, cut, empty, review, seen))
    report = report_of(scored, told.where, suite, bootstrap_samples=BOOTSTRAP_SAMPLES, seed=0, log=log)
    for one in report["models"]:
        del one["curves"]
        one.pop("promises", None)  # they stand among the decisions
    return {**report, "part": told.part}
