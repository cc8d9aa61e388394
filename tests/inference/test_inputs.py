"""What the Python API takes as texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from toxonnx import Classifier, InputError

TEXTS = ["a fine day", "what a silly film", "rain"]


def test_series_and_arrays_are_scored_as_lists() -> None:
    classifier = Classifier.load(threads=1)
    expected = classifier.score(TEXTS).logits.tolist()
    for texts in (
        tuple(TEXTS), iter(TEXTS), np.array(TEXTS), np.array(TEXTS, dtype=object), pd.Series(TEXTS, index=[7, 7, 3]),
        pd.Series(TEXTS, dtype="category"), pd.Index(TEXTS), pa.array(TEXTS), pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
        pa.array(TEXTS).dictionary_encode(),
    ):  # fmt: skip
        assert classifier.score(texts).logits.tolist() == expected, type(texts)
    assert classifier.logits(pd.Series(TEXTS)).tolist() == expected
    assert classifier.logits("rain").shape == (1, len(classifier.labels))
    ranked = classifier.predict("rain", top_k=np.int64(2))  # type: ignore[call-overload]
    assert ranked == classifier.predict("rain", top_k=None)[:2]
    assert [item for item, _ in classifier.stream(pa.array(TEXTS))] == TEXTS
    assert [item for item, _ in classifier.stream("rain")] == ["rain"]


def test_missing_values_are_an_error_with_their_position_or_empty_texts() -> None:
    classifier = Classifier.load(threads=1)
    (empty,) = classifier.score("")
    for texts in (
        ["rain", None], ["rain", float("nan")], ["rain", pd.NA], ["rain", np.float32("nan")],
        np.array(["rain", None]), pd.Series(["rain", None]), pd.Series(["rain", None], dtype="string"),
        pd.Series(["rain", None], dtype="string[pyarrow]"), pa.array(["rain", None]),
    ):  # fmt: skip
        for call in (classifier.predict, classifier.score, lambda texts: list(classifier.stream(texts))):
            with pytest.raises(InputError, match=r"position 1 \(counted from 0\) is missing.*\n.*missing=.empty"):
                call(texts)
        assert list(classifier.score(texts, missing="empty"))[1] == empty
        assert classifier.predict(texts, missing="empty")[1]["label"] == "|".join(empty.labels)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (pd.DataFrame({"text": TEXTS}), r"got a DataFrame\nPass the column that contains the texts.*table\['text'\]"),
        (pa.table({"text": TEXTS}), r"got a Table\nPass the column"),
        (pa.record_batch({"text": TEXTS}), r"got a RecordBatch\nPass the column"),
        ({"text": "rain"}, r"got a dict, whose items are its keys\nPass the text itself, for example row\['text'\]"),
        (b"rain", r"got bytes\nDecode it first"),
        (None, r"got NoneType\nPass a string"),
        (5, r"got int\nPass a string"),
        (np.array([TEXTS]), r"one-dimensional array of texts, got 2 dimensions"),
        ([{"text": "rain"}], r"position 0 .* is of type dict, expected a string"),
        (["rain", b"rain"], r"position 1 .* is of type bytes"),
        (np.array([1.5]), r"position 0 .* is of type float64"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_types_are_an_error_that_says_what_to_pass(texts: Any, message: str) -> None:
    classifier = Classifier.load(threads=1)
    for call in (classifier.predict, classifier.score, classifier.logits, lambda texts: list(classifier.stream(texts))):
        with pytest.raises(InputError, match=message) as caught:
            call(texts)
        assert "rain" not in str(caught.value)


def test_wrong_options_are_an_error() -> None:
    classifier = Classifier.load(threads=1)
    for top_k in (0, -1, 1.0, True, "all"):
        with pytest.raises(InputError, match="top_k must be a positive integer or None"):
            classifier.predict("rain", top_k=top_k)  # type: ignore[call-overload]
    with pytest.raises(InputError, match="missing must be 'error' or 'empty', got 'skip'"):
        classifier.score("rain", missing="skip")  # type: ignore[arg-type]
    for option, value in (("threads", 0), ("chunk_size", -1), ("review_below", 1.5), ("review_below", float("nan"))):
        with pytest.raises(InputError, match=option):
            Classifier.load(**{option: value})
