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
    assert OutputColumns.choose(USUAL, ["a", "b"], ["text"]).names == ["label", "score", "a", "b"]
    assert OutputColumns.choose(("label", "review"), ["a"], ["label"]).names == ["predicted_label", "predicted_review"]
    names = OutputColumns.choose(USUAL, ["label", "score"], ["text", "score"]).names
    assert len(set(names)) == 4 and not set(names) & {"text", "score"}
    with pytest.raises(InputError, match="may have been scored before"):
        OutputColumns.choose(USUAL, ["a"], ["label", "predicted_label"])


@given(kinds=st.permutations(COLUMNS), count=st.integers(1, len(COLUMNS)), rows=st.integers(0, 3))
def test_every_column_has_a_name_and_a_value_in_each_row(kinds: list[str], count: int, rows: int) -> None:
    flags = {name: np.arange(rows) % 2 == i % 2 for i, name in enumerate(("truncated", "no_tokens"))}
    scores = Scores.of(Labels(("calm", "rude")), np.arange(2 * rows, dtype=np.float32).reshape(rows, 2) ** 2, **flags)
    added = OutputColumns.choose(kinds[:count], scores.labels.names)
    values = dict(zip(added.names, added.values(scores), strict=True))
    assert all(len(column) == rows for column in values.values())
    expected = {
        "label": scores.label_names, "score": scores.top_scores.tolist(), "calm": scores.probabilities[:, 0].tolist(),
        "rude": scores.probabilities[:, 1].tolist(), "review": [False] * rows, "repaired": [False] * rows,
        **{name: flag.tolist() for name, flag in flags.items()},
    }  # fmt: skip
    assert values == {name: expected[name] for name in values}
