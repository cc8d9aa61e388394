"""The columns that are added to a file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toxonnx.errors import InputError
from toxonnx.inference.scores import Scores
from toxonnx.io.output_columns import COLUMNS, OutputColumns
from toxonnx.labels import Labels

USUAL = ("label", "score", "probabilities")


def test_no_name_repeats_another() -> None:
    columns = OutputColumns(USUAL, ("a", "b"))
    assert columns.flat_names(["text"]) == ["label", "score", "a", "b"]
    assert columns.nested_names(["a"]) == ["label", "score", "probabilities"]
    with pytest.raises(InputError, match="already has the columns to be added: label, b") as caught:
        columns.flat_names(["b", "label"])
    assert "--prefix predicted_" in caught.value.hint
    with pytest.raises(InputError, match="already has the columns to be added: probabilities"):
        columns.nested_names(["probabilities"])
    assert OutputColumns(USUAL, ("a",), "new_").flat_names(["label"]) == ["new_label", "new_score", "new_a"]
    names = OutputColumns(USUAL, ("label", "score")).flat_names(["text"])
    assert names == ["label", "score", "probability_label", "probability_score"]


@given(kinds=st.permutations(COLUMNS), count=st.integers(1, len(COLUMNS)), rows=st.integers(0, 3))
def test_every_column_has_a_value_in_each_row(kinds: list[str], count: int, rows: int) -> None:
    flags = {name: np.arange(rows) % 2 == i % 2 for i, name in enumerate(("truncated", "no_tokens"))}
    scores = Scores.of(Labels(("calm", "rude")), np.arange(2 * rows, dtype=np.float32).reshape(rows, 2) ** 2, **flags)
    added = OutputColumns(tuple(kinds[:count]), scores.labels.names)
    expected = {
        "label": scores.label_names, "score": scores.top_scores.tolist(),
        "probabilities": scores.probabilities.tolist(), "review": [False] * rows, "repaired": [False] * rows,
        "stage": [2] * rows, "error": [None] * rows, **{name: flag.tolist() for name, flag in flags.items()},
    }  # fmt: skip
    values = dict(zip(added.kinds, added.values(scores), strict=True))
    assert {kind: value if kind in {"label", "error"} else value.tolist() for kind, value in values.items()} == {
        kind: expected[kind] for kind in added.kinds
    }
