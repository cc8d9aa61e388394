"""What a model gets right on rows that its run held out, for the manifest and the card."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.bundle import Bundle
from toxonnx.convert.verify import Rows
from toxonnx.evaluate.metrics import Sample
from toxonnx.evaluate.models import SEEN, of_bundle, suite_report
from toxonnx.evaluate.report import Scored, model_report
from toxonnx.evaluate.suites import Questions
from toxonnx.scores import doubtful
from toxonnx.seen import hashes, known, load_hashes
from toxonnx.tokens import Tokenizer
from toxonnx.train.merge import Trained

__all__ = ["held_out_report"]

DRAWS = 1000


def held_out_report(
    trained: Trained,
    sealed: Bundle,
    logits: NDArray[np.float32],
    told: Rows,
    fitted: Rows,
    questions: Questions | None,
) -> dict[str, Any]:
    """In the shape of the eval verb's report, with intervals.

    Args:
        trained: where the hashes of the training texts are.
        sealed: the model, with its temperature and thresholds.
        logits: its logits of ``told``, float32 [rows, labels].
        told: the rows to tell of.
        fitted: the rows that temperature and thresholds were fitted on; they may be the same.
        questions: a functional suite, if one was asked for.
    """
    suite = suite_report(questions, [of_bundle(sealed)]) if questions else None
    report: dict[str, Any] = {
        "models": [],
        "comparisons": [],
        "suite": suite,
        "file": None,
        "intervals": {"draws": DRAWS, "seed": 0},
    }
    if told.truth is None:
        return report
    manifest = sealed.manifest
    sample = Sample.of_logits(logits, told.truth, manifest.labels)
    cut = Tokenizer(sealed.path / "tokenizer.json", manifest.max_length)(told.texts).truncated
    seen = {}
    if (kept := trained.path / SEEN["training"]).is_file():
        seen["training"] = known(told.texts, load_hashes(kept))
    if told is not fitted:
        seen["validation"] = known(told.texts, hashes(fitted.texts))
    about = {"kind": "bundle", "precision": manifest.precision, "max_length": manifest.max_length}
    scored = Scored(
        manifest.name, about, sample, told.texts, cut, doubtful(sample.probs, manifest.labels), seen or None
    )
    model = model_report(scored, draws=DRAWS)
    del model["curves"]
    report["file"] = {"name": told.where, "rows": len(told.texts), "distinct_texts": model["distinct_texts"]}
    return {**report, "models": [model]}
