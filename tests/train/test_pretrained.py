"""Configurations that contradict themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import VOCABULARY

from toxonnx.errors import InputError
from toxonnx.train.adapters import load_trained


def _configure(checkpoint: Path, **changed: Any) -> None:
    file = checkpoint / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_labels": 2}, "num_labels is 2, but id2label has 3 labels"),
        ({"label2id": {"rude": 0, "calm": 1, "spam": 2}}, "label calm is number 0 in id2label, but 1 in label2id"),
        ({"problem_type": "regression"}, "problem_type is regression, so the model predicts numbers, not labels"),
        ({"pad_token_id": -1}, f"pad_token_id is -1, but the embedding has {VOCABULARY} rows"),
        ({"pad_token_id": VOCABULARY}, "does not load as a sequence classifier: Padding_idx must be within"),
    ],
)
def test_contradictions_in_the_configuration(checkpoint: Path, changed: dict[str, Any], message: str) -> None:
    _configure(checkpoint, **changed)
    with pytest.raises(InputError, match=message):
        load_trained(checkpoint)


def test_an_activation_that_contradicts_the_configuration(checkpoint: Path) -> None:
    assert load_trained(checkpoint, activation="sigmoid").labels.activation == "sigmoid"
    _configure(checkpoint, problem_type="single_label_classification")
    assert load_trained(checkpoint, activation="softmax").labels.activation == "softmax"
    with pytest.raises(InputError, match=r"the activation is softmax by problem_type in config\.json, not sigmoid"):
        load_trained(checkpoint, activation="sigmoid")
