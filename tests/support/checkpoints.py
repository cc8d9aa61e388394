"""Tiny classifiers with random weights, and tokenizers for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from helpers import sentences
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

VOCABULARY = 380
LENGTH = 64
NAMES = ("calm", "rude", "spam")
_SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": LENGTH + 2, "pad_token_id": 1,
}  # fmt: skip
_GPT2: dict[str, Any] = {"vocab_size": VOCABULARY, "n_positions": LENGTH, "n_embd": 32, "n_layer": 2, "n_head": 4}
#: name -> the configuration's class and arguments
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", _SMALL),
    "roberta": ("RobertaConfig", _SMALL),
    "xlm-roberta": ("XLMRobertaConfig", _SMALL),
    "camembert": ("CamembertConfig", _SMALL),
    "deberta-v3": (
        "DebertaV2Config",
        {
            **_SMALL, "relative_attention": True, "position_buckets": 16, "norm_rel_ebd": "layer_norm",
            "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False,
            "type_vocab_size": 0, "pooler_hidden_size": 32,
        },
    ),
    "electra": ("ElectraConfig", {**_SMALL, "embedding_size": 16}),
    "mpnet": ("MPNetConfig", _SMALL),
    "albert": ("AlbertConfig", {**_SMALL, "embedding_size": 16}),
    "mobilebert": (
        "MobileBertConfig", {**_SMALL, "embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32},
    ),
    "modernbert": (
        "ModernBertConfig",
        {
            **_SMALL, "global_attn_every_n_layers": 2, "local_attention": 16, "reference_compile": False,
            "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2,
        },
    ),
    "gpt2": ("GPT2Config", {**_GPT2, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}),
    "gpt2 without padding": ("GPT2Config", {**_GPT2, "bos_token_id": 0, "eos_token_id": 2}),
    "qwen2": ("Qwen2Config", {**_SMALL, "num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 2}),
}  # fmt: skip


def make_tokenizer(*, special_tokens: bool = True, **options: Any) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer; without special tokens an empty text has no tokens."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([text for text, _ in sentences(100)], trainer)
    if special_tokens:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        cls_token="<s>", sep_token="</s>", **{"model_max_length": LENGTH, **options},
    )  # fmt: skip


def make_model(kind: str = "bert", names: tuple[str, ...] = NAMES, **options: Any) -> PreTrainedModel:
    """A classifier of one of the architectures, whose logits differ from text to text."""
    config_class, arguments = ARCHITECTURES[kind]
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    torch.manual_seed(0)
    config = getattr(transformers, config_class)(**{**arguments, **labels, **options})
    model = AutoModelForSequenceClassification.from_config(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def make_checkpoint(folder: Path, kind: str = "bert", names: tuple[str, ...] = NAMES, **options: Any) -> Path:
    """Saves a model with its tokenizer."""
    make_model(kind, names, **options).save_pretrained(folder)
    make_tokenizer(special_tokens=kind.split()[0] not in {"gpt2", "qwen2"}).save_pretrained(folder)
    return folder
