"""Tokenizers of other versions of transformers, and tokenizers that do not fit the model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from checkpoints import LENGTH, VOCABULARY, make_tokenizer
from helpers import pretrained

from toxonnx.errors import InputError
from toxonnx.train.adapters import load_trained
from toxonnx.train.tokenizers import load_tokenizer


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
