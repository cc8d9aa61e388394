"""Does a bundle still score as PyTorch did? Its own sentences, scored on this machine."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np

from toxonnx.errors import BundleError, GateError
from toxonnx.formats import PRECISIONS
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.scores import probabilities
from toxonnx.long_texts import TRUNCATE
from toxonnx.records import Share, from_plain, read_json

__all__ = ["SelfTest", "run_self_test"]


class ExpectedText(TypedDict):
    """A sentence and PyTorch's probabilities of the labels."""

    text: str
    probabilities: list[Share]


class Expected(TypedDict):
    """The content of ``expected.json``: label names, sentences; from earlier versions the temperature of the labels."""

    labels: list[str]
    temperature: NotRequired[float]
    pytorch: list[ExpectedText]


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """How far a bundle's scores on this machine are from PyTorch's.

    Attributes:
        sentences: number of sentences scored.
        same_label: how many of them have PyTorch's most probable label.
        largest_probability_difference: over all sentences and labels.
        tolerance: the largest difference that passes.
        passed: whether it is within the tolerance.
    """

    sentences: int
    same_label: int
    largest_probability_difference: float
    tolerance: float
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.sentences} sentences scored here; largest difference of a probability from PyTorch "
            f"{self.largest_probability_difference:.4f} (tolerance {self.tolerance:.4f}), same label for "
            f"{self.same_label} of {self.sentences}"
        )

    def check(self) -> None:
        """Does nothing if the test passed.

        Raises:
            GateError: it failed.
        """
        if not self.passed:
            raise GateError(
                f"probabilities on this machine differ from PyTorch's by {self.largest_probability_difference:.4f}, "
                f"the tolerance is {self.tolerance:.4f}",
                "Do not use these scores. Try --device cpu, or export with another --layout or with --precision fp32.",
            )


def run_self_test(classifier: Classifier) -> SelfTest | None:
    """Scores the sentences for which a bundle contains PyTorch's probabilities.

    They may differ by the precision's tolerance, or by twice as much as the export measured on its many rows. Where the
    classifier reads long texts otherwise than the bundle was exported, those are left out.

    Returns:
        The result; None if the bundle contains no such sentences.

    Raises:
        InputError: the file with the sentences has another form.
        GateError: the model produced NaN or infinite logits.
        MachineError: ONNX Runtime failed.
    """
    file = classifier.bundle.path / "expected.json"
    if file.name not in classifier.bundle.manifest.files:
        return None
    expected = from_plain(Expected, read_json(file), file.name)["pytorch"]
    labels, manifest = len(classifier.labels), classifier.bundle.manifest
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
    tolerance = max(PRECISIONS[manifest.precision].tolerance, 2 * measured)
    largest = float(np.abs(reference - actual).max(initial=0.0))
    return SelfTest(
        sentences=len(expected),
        same_label=int((reference.argmax(axis=1) == actual.argmax(axis=1)).sum()),
        largest_probability_difference=largest,
        tolerance=tolerance,
        passed=largest <= tolerance,
    )
