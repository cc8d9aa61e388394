"""``toxonnx predict`` without a model: the real command, with a scorer that needs no time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from types import SimpleNamespace
from typing import Any

from helpers import SHIPPED
from length_scorer import LABELS, LengthScorer

from toxonnx.bundle import open_bundle
from toxonnx.cli import predict_plan, predict_run
from toxonnx.inference.scores import Scores

__all__ = ["StubClassifier", "install"]


class StubClassifier(LengthScorer):
    """Takes the place of :class:`toxonnx.inference.classifier.Classifier`."""

    settings = SimpleNamespace(device="cpu", fallback="")
    labels, can_mark_for_review, audit = LABELS, False, None
    #: seconds before each batch
    delay = 0.0

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def score_batches(
        self, items: Iterable[Any], text: Callable[[Any], str]
    ) -> Generator[tuple[list[Any], Scores], None, None]:
        for batch in super().score_batches(items, text):
            time.sleep(self.delay)
            yield batch


def install(replace: Callable[[Any, str, Any], object] = setattr) -> None:
    """Has ``toxonnx predict`` use it, with the manifest of the bundle that ships."""
    opened = open_bundle(SHIPPED)
    replace(predict_plan, "open_bundle", lambda _: opened)
    replace(predict_run, "Classifier", StubClassifier)
