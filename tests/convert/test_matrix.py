"""Kinds of checkpoints, tokenizers and adapters, each against PyTorch, on tiny models with random weights.

``pytest -m matrix`` runs those that are too many for every run of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from checkpoints import ARCHITECTURES, LENGTH, NAMES, make_checkpoint, make_model, make_tokenizer
from helpers import sentences
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from toxonnx import Classifier
from toxonnx.bundle import Bundle
from toxonnx.convert.export import ExportRequest, export
from toxonnx.convert.verify import reference_logits
from toxonnx.errors import CheckpointError
from toxonnx.train.adapters import load_trained

TEXTS = [text for text, _ in sentences(12, 3)] + ["soup " * 2 * LENGTH, "Gr\u00fc\u00dfe \N{SNOWMAN}"]
#: the others run with -m matrix
ALWAYS = {"mpnet", "gpt2 without padding", "lora", "dora", "saved embeddings", "ia3", "adalora", "oft", "ln_tuning"}


def _cases(names: Sequence[str]) -> list[Any]:
    return [pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.matrix]) for name in names]


def make_bundle(source: Path, output: Path, **options: Any) -> Bundle:
    settings = {"precision": "fp32", "min_agreement": 0.0}  # random weights have arbitrary decisions
    return export(ExportRequest(source=source, output=output, settings=settings, **options), log=lambda _: None)


def logits_alone(model: PreTrainedModel, folder: Path) -> np.ndarray:
    """Logits of each text in a batch of its own, without padding, by transformers only."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        encoded = (tokenizer(text, truncation=True, max_length=LENGTH, return_tensors="pt") for text in TEXTS)
        return np.concatenate([model(**{"input_ids": one["input_ids"]}).logits.numpy() for one in encoded])


def assert_same(logits: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(logits - expected).max() < 1e-5
    assert np.ptp(expected, axis=0).min() > 1e-3  # equal logits for all texts would prove nothing


@pytest.mark.parametrize("kind", _cases(list(ARCHITECTURES)))
def test_architectures(tmp_path: Path, kind: str) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", kind)
    make_bundle(checkpoint, tmp_path / "bundle")
    expected = logits_alone(AutoModelForSequenceClassification.from_pretrained(checkpoint), checkpoint)
    assert_same(Classifier.load(tmp_path / "bundle").logits(TEXTS), expected)


def _sharded(model: PreTrainedModel, folder: Path) -> None:
    model.save_pretrained(folder, max_shard_size="50KB")
    assert len(list(folder.glob("*.safetensors"))) > 2


def _half(model: PreTrainedModel, folder: Path) -> None:
    model.half().save_pretrained(folder)
    model.float()


def _pickled(model: PreTrainedModel, folder: Path) -> None:
    model.config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def _wrapped(model: PreTrainedModel, folder: Path) -> None:
    model.config.save_pretrained(folder)
    names = {f"module._orig_mod.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save(names, folder / "pytorch_model.bin")


@pytest.mark.parametrize("save", [_sharded, _half, _pickled, _wrapped])
def test_weight_files(tmp_path: Path, save: Callable[[PreTrainedModel, Path], None]) -> None:
    model = make_model()
    tmp_path.joinpath("checkpoint").mkdir()
    save(model, tmp_path / "checkpoint")
    make_tokenizer().save_pretrained(tmp_path / "checkpoint")
    trained = load_trained(tmp_path / "checkpoint")
    assert_same(reference_logits(trained, TEXTS), logits_alone(model, tmp_path / "checkpoint"))
    assert len(trained.source.revision) == len("sha256:") + 64
    removed = [note.split(" from ")[0] for note in trained.notes]
    assert removed == (["removed _orig_mod.", "removed module."] if save is _wrapped else [])


def test_a_tokenizer_that_pads_and_truncates_on_the_left(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    tokenizer = make_tokenizer(padding_side="left", truncation_side="left")
    tokenizer.save_pretrained(checkpoint)
    make_bundle(checkpoint, tmp_path / "bundle")
    tokenizer.truncation_side = "right"
    tokenizer.save_pretrained(checkpoint)
    expected = logits_alone(AutoModelForSequenceClassification.from_pretrained(checkpoint), checkpoint)
    assert_same(Classifier.load(tmp_path / "bundle").logits(TEXTS), expected)
    assert AutoTokenizer.from_pretrained(tmp_path / "bundle").padding_side == "right"


_TARGETS: dict[str, Any] = {"task_type": "SEQ_CLS", "target_modules": ["query", "value"]}
ADAPTERS: dict[str, peft.PeftConfig] = {
    "lora": peft.LoraConfig(r=4, **_TARGETS),
    "dora": peft.LoraConfig(r=4, use_dora=True, **_TARGETS),
    "rslora": peft.LoraConfig(r=4, use_rslora=True, **_TARGETS),
    "pissa": peft.LoraConfig(r=4, init_lora_weights="pissa", **_TARGETS),
    "rank patterns": peft.LoraConfig(r=4, rank_pattern={"query": 2}, alpha_pattern={"value": 16}, **_TARGETS),
    "all biases": peft.LoraConfig(r=4, bias="all", **_TARGETS),
    "lora's biases": peft.LoraConfig(r=4, bias="lora_only", **_TARGETS),
    "saved embeddings": peft.LoraConfig(r=4, modules_to_save=["classifier", "word_embeddings"], **_TARGETS),
    "adapted embeddings": peft.LoraConfig(r=4, task_type="SEQ_CLS", target_modules=["query", "word_embeddings"]),
    # multiplies activations: of the layer's input where it is a feed-forward module
    "ia3": peft.IA3Config(
        task_type="SEQ_CLS", target_modules=["value", "output.dense"], feedforward_modules=["output.dense"]
    ),
    "loha": peft.LoHaConfig(r=4, **_TARGETS),
    "lokr": peft.LoKrConfig(r=4, **_TARGETS),
    "adalora": peft.AdaLoraConfig(init_r=4, target_r=2, total_step=10, **_TARGETS),
    "vera": peft.VeraConfig(r=4, **_TARGETS),
    "oft": peft.OFTConfig(r=4, oft_block_size=0, **_TARGETS),
    "boft": peft.BOFTConfig(boft_block_size=4, **_TARGETS),
    "ln_tuning": peft.LNTuningConfig(task_type="SEQ_CLS", target_modules=["LayerNorm"]),
}


def _adapt(config: peft.PeftConfig, base: Path, folder: Path) -> PreTrainedModel:
    """Saves an adapter with weights that change the logits; returns the model with it."""
    torch.manual_seed(1)
    adapted = peft.get_peft_model(AutoModelForSequenceClassification.from_pretrained(base), config).eval()
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.1)
    adapted.save_pretrained(folder)
    return adapted


@pytest.mark.parametrize("kind", _cases(list(ADAPTERS)))
def test_adapters(tmp_path: Path, kind: str) -> None:
    base = make_checkpoint(tmp_path / "base")
    adapted = _adapt(ADAPTERS[kind], base, tmp_path / "adapter")
    trained = load_trained(tmp_path / "adapter", base=str(base), labels=NAMES)
    assert_same(reference_logits(trained, TEXTS), logits_alone(adapted, base))
    assert trained.source.method == ADAPTERS[kind].peft_type.value.lower()
    assert trained.source.adapter is not None
    layers = {"adapted embeddings": 3, "ia3": 6, "ln_tuning": 5}.get(kind, 4)
    assert trained.source.adapter.layers == layers
    assert trained.source.adapter.head == ["classifier"]


def test_an_adapter_with_added_tokens(tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base")
    larger = make_model()
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["soup"])
    larger.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    larger.save_pretrained(tmp_path / "larger")
    adapted = _adapt(ADAPTERS["saved embeddings"], tmp_path / "larger", tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    trained = load_trained(tmp_path / "adapter", base=str(base), labels=NAMES)
    assert_same(reference_logits(trained, TEXTS), logits_alone(adapted, tmp_path / "adapter"))


@pytest.mark.parametrize(
    "config",
    [
        peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2),
        peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2),
    ],
)
def test_adapters_of_the_input_are_refused(tmp_path: Path, config: peft.PeftConfig) -> None:
    base = make_checkpoint(tmp_path / "base")
    peft.get_peft_model(AutoModelForSequenceClassification.from_pretrained(base), config).save_pretrained(
        tmp_path / "adapter"
    )
    kind = config.peft_type.value
    with pytest.raises(CheckpointError, match=f"of kind {kind}, which cannot be merged .* vectors to each text"):
        load_trained(tmp_path / "adapter", base=str(base), labels=NAMES)


def test_an_adapter_of_a_model_of_another_width_is_refused(tmp_path: Path) -> None:
    base = make_checkpoint(tmp_path / "base")
    _adapt(ADAPTERS["lora"], base, tmp_path / "adapter")
    other = make_checkpoint(tmp_path / "other", hidden_size=16)
    with pytest.raises(CheckpointError, match=r"does not fit the base model .* size mismatch for .*lora_A"):
        load_trained(tmp_path / "adapter", base=str(other), labels=NAMES)
