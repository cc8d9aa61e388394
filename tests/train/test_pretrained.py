"""Loading configurations and tokenizers, and contradictions between them and the weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from checkpoints import LENGTH, VOCABULARY, make_checkpoint, make_tokenizer
from helpers import pretrained

from toxonnx.errors import InputError
from toxonnx.train.adapters import load_trained
from toxonnx.train.pretrained import load_tokenizer


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("pretrained") / "checkpoint")


@pytest.fixture
def checkpoint(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "checkpoint")


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


def test_a_tokenizer_with_more_ids_than_the_embedding_has_rows(checkpoint: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<user>"])
    tokenizer.save_pretrained(checkpoint)
    message = rf"does not fit the weights: the id of '<user>' is {VOCABULARY}, but the embedding has {VOCABULARY} rows"
    with pytest.raises(InputError, match=message):
        load_trained(checkpoint)
    make_tokenizer().save_pretrained(checkpoint)
    file = checkpoint / "tokenizer.json"
    table = json.loads(file.read_text())
    table["post_processor"]["special_tokens"]["</s>"]["ids"] = [999]  # in no vocabulary
    file.write_text(json.dumps(table))
    with pytest.raises(InputError, match=r"does not fit the weights: the id of .* is 999, but"):
        load_trained(checkpoint)


def test_more_tokens_than_positions_are_reported(checkpoint: Path) -> None:
    make_tokenizer(model_max_length=512).save_pretrained(checkpoint)
    trained = load_trained(checkpoint)
    assert trained.max_length == LENGTH + 2
    assert [note.split(":")[0] for note in trained.notes] == [
        f"texts are truncated to {LENGTH + 2} tokens, although the tokenizer allows 512"
    ]
    assert load_trained(checkpoint, max_length=32).notes == ()


@pytest.mark.parametrize("kind", ["BertTokenizer", "TokenizersBackend"])
def test_a_tokenizer_that_transformers_5_saved(tmp_path: Path, kind: str) -> None:
    shutil.copy(pretrained() / "tokenizer.json", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "backend": "tokenizers", "is_local": True, "tokenizer_class": kind, "model_max_length": 96,
                "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
                "mask_token": "[MASK]", "extra_special_tokens": ["[unused0]"],
            }
        ),
        encoding="utf-8",
    )  # fmt: skip
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.is_fast and tokenizer.model_max_length == 96 and tokenizer.pad_token_id == 0
    assert tokenizer("A soup!")["input_ids"] == load_tokenizer(str(pretrained()))("A soup!")["input_ids"]
    assert "[unused0]" in tokenizer.all_special_tokens
