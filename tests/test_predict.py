"""The names of the columns that predict adds."""

from __future__ import annotations

import pytest

from toxonnx.errors import InputError
from toxonnx.predict import added_columns


def test_added_columns_never_repeat_an_existing_name() -> None:
    assert added_columns(["text"], ["a", "b"]) == ["label", "score", "a", "b"]
    assert added_columns(["text", "label"], ["a"]) == ["predicted_label", "predicted_score", "predicted_a"]
    names = added_columns(["text", "score"], ["label", "score"])
    assert len(set(names)) == 4 and not set(names) & {"text", "score"}
    with pytest.raises(InputError, match="may have been scored before"):
        added_columns(["label", "predicted_label"], ["a"])
