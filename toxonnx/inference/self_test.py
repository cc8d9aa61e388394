"""Does a bundle still score as it did when it was exported? Its own sentences, scored on this machine."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np

from toxonnx.errors import BundleError, GateError
from toxonnx.formats import PRECISIONS
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.scores import decide, probabilities
from toxonnx.long_texts import TRUNCATE
from toxonnx.records import Share, from_plain, read_json

__all__ = ["SelfTest", "run_self_test"]


class ExpectedText(TypedDict):
    """A sentence and a model's probabilities of the labels."""

    text: str
    probabilities: list[Share]


class Expected(TypedDict):
    """The content of ``expected.json``: label names; the same sentences with the probabilities of PyTorch and of the
    exported model, which earlier versions did not write; from these the temperature of the labels."""

    labels: list[str]
    temperature: NotRequired[float]
    pytorch: list[ExpectedText]
    exported: NotRequired[list[ExpectedText]]


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """How far a bundle's scores on this machine are from those of the export.

    Attributes:
        sentences: number of sentences scored.
        compared_with: ``the exported model``, or ``PyTorch`` where the bundle has only its probabilities.
        same_decision: for how many of them the same labels apply, by the bundle's thresholds.
        largest_probability_difference: over all sentences and labels.
        tolerance: the largest difference that passes.
        passed: whether it is within the tolerance.
    """

    sentences: int
    compared_with: str
    same_decision: int
    largest_probability_difference: float
    tolerance: float
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.sentences} sentences scored here; largest difference of a probability from {self.compared_with} "
            f"{self.largest_probability_difference:.4f} (tolerance {self.tolerance:.4f}), same decision for "
            f"{self.same_decision} of {self.sentences}"
        )

    def check(self) -> None:
        """Does nothing if the test passed.

        Raises:
            GateError: it failed.
        """
        if not self.passed:
            raise GateError(
                f"probabilities on this machine differ from those of {self.compared_with} by "
                f"{self.largest_probability_difference:.4f}, the tolerance is {self.tolerance:.4f}",
                "Do not use these scores. Try --device cpu, or export with another --layout or with --precision fp32.",
            )


def run_self_test(classifier: Classifier) -> SelfTest | None:
    """Scores the sentences for which a bundle contains probabilities.

    Those of the exported model may differ by the precision's tolerance; PyTorch's, where there are no others, also by
    twice as much as the export measured on its many rows. Where the classifier reads long texts otherwise than the
    bundle was exported, those are left out.

    Returns:
        The result; None if the bundle contains no such sentences.

    Raises:
        InputError: the file with the sentences has another form, or none of them.
        GateError: the model produced NaN or infinite logits.
        MachineError: ONNX Runtime failed.
    """
    file = classifier.bundle.path / "expected.json"
    if file.name not in classifier.bundle.manifest.files:
        return None
    table = from_plain(Expected, read_json(file), file.name)
    exported = table.get("exported")
    expected = table["pytorch"] if exported is None else exported
    labels, manifest = len(classifier.labels), classifier.bundle.manifest
    if not expected:
        raise BundleError(f"{file} has no sentences", "Export the bundle again.")
    if any(len(row["probabilities"]) != labels for row in expected):
        raise BundleError(f"{file}: every text needs the probabilities of {labels} labels")
    texts = [manifest.text.clean(row["text"]) for row in expected]
    if classifier.long_texts != (manifest.long_texts or TRUNCATE):
        tokenized = classifier.preprocess.tokenizer(texts)
        is_short = (tokenized.windows == 1) & ~tokenized.truncated
        texts, expected = list(itertools.compress(texts, is_short)), list(itertools.compress(expected, is_short))
    reference = np.array([row["probabilities"] for row in expected]).reshape(len(expected), labels)
    # In batches, as for files, and by the full model.
    logits = classifier.logits(texts)
    actual = probabilities(logits, manifest.labels).reshape(reference.shape)
    verified = manifest.verification
    measured = verified.agreement.largest_probability_difference if verified else 0.0
    precision = PRECISIONS[manifest.precision]
    tolerance = max(precision.tolerance, 2 * measured) if exported is None else precision.export_tolerance
    decisions = (decide(probs, manifest.labels) for probs in (reference, actual))
    largest = float(np.abs(reference - actual).max(initial=0.0))
    return SelfTest(
        sentences=len(expected),
        compared_with="PyTorch" if exported is None else "the exported model",
        same_decision=int(np.equal(*decisions).all(axis=1).sum()),
        largest_probability_difference=largest,
        tolerance=tolerance,
        passed=largest <= tolerance,
    )
