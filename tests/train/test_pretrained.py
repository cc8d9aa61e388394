"""Loading tokenizers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers import pretrained

from toxonnx.train.pretrained import load_tokenizer


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
