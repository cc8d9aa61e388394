"""Loading and merging: every weight comes from a file, and from the right one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from toxonnx.errors import CheckpointError
from toxonnx.train.adapters import load_trained


def _adapter(
    base: Path, folder: Path, save: list[str], targets: list[str], task: TaskType | None = TaskType.SEQ_CLS
) -> Path:
    """An adapter as other scripts save it, with LoRA weights that change the logits."""
    torch.manual_seed(2)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    config = LoraConfig(task_type=task, r=4, lora_alpha=8, target_modules=targets, modules_to_save=save or None)
    adapted = get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(folder)
    return folder


def test_an_adapter_of_another_script_is_merged(bases: dict[str, Path], tmp_path: Path) -> None:
    folder = _adapter(bases["distilbert"], tmp_path / "adapter", ["pre_classifier", "classifier"], ["q_lin", "v_lin"])
    with pytest.raises(CheckpointError, match="head of 3 labels and no config"):
        load_trained(folder, base=str(bases["distilbert"]))
    with pytest.raises(CheckpointError, match="2 label names given"):
        load_trained(folder, base=str(bases["distilbert"]), labels=("a", "b"))
    trained = load_trained(folder, base=str(bases["distilbert"]), labels=("a", "b", "c"))
    assert trained.source.adapter.layers == 6
    assert trained.source.merge_largest_logit_difference < 1e-5
    weights = load_file(folder / "adapter_model.safetensors")
    head = trained.model.state_dict()["classifier.weight"]
    assert torch.equal(head, weights["base_model.model.classifier.weight"])


def test_named_labels_are_not_renamed(run: Path) -> None:
    with pytest.raises(CheckpointError, match="have names, in this order: complaint, praise"):
        load_trained(run, labels=("praise", "complaint"))
    assert load_trained(run, labels=("complaint", "praise")).labels.names == ("complaint", "praise")


def test_an_adapter_without_a_head_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    # Without a task type PEFT saves no head, so the trained head is lost.
    folder = _adapter(bases["distilbert"], tmp_path / "adapter", [], ["q_lin", "v_lin"], task=None)
    with pytest.raises(CheckpointError, match=r"contains classifier\.bias, .*which would be random"):
        load_trained(folder, base=str(bases["distilbert"]))


def test_adapters_that_match_nothing_are_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    folder = _adapter(bases["distilbert"], tmp_path / "adapter", ["pre_classifier", "classifier"], ["q_lin", "v_lin"])
    with pytest.raises(CheckpointError, match="does not fit the base"):
        load_trained(folder, base=str(bases["bert"]), labels=("a", "b", "c"))
    weights = load_file(folder / "adapter_model.safetensors")
    lost = {key: value for key, value in weights.items() if ".layer.1." not in key}
    save_file(lost, folder / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="is in no file"):
        load_trained(folder, base=str(bases["distilbert"]), labels=("a", "b", "c"))
    bare = {key: value for key, value in weights.items() if "lora" not in key}
    save_file(bare, folder / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"lora_A\.weight is in no file \(12 such weights"):
        load_trained(folder, base=str(bases["distilbert"]), labels=("a", "b", "c"))


def test_a_checkpoint_without_a_head_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks weights, which would be random: classifier\.bias"):
        load_trained(bases["bert"])
    with pytest.raises(CheckpointError, match="neither a run, an adapter nor a checkpoint"):
        load_trained(tmp_path)


def test_a_checkpoint_without_a_tokenizer(bases: dict[str, Path], tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(bases["bert"], num_labels=2)
    model.save_pretrained(tmp_path / "bare")
    with pytest.raises(CheckpointError, match=r"bare has no tokenizer\n.*--tokenizer"):
        load_trained(tmp_path / "bare")
    trained = load_trained(tmp_path / "bare", tokenizer=str(bases["bert"]))
    assert trained.tokenizer("a calm river")["input_ids"]


def test_a_misspelled_source_is_no_matter_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="there is no run, adapter or checkpoint nosuchrun\n") as caught:
        load_trained("nosuchrun")
    assert "--base" not in str(caught.value) and "reached" not in str(caught.value)
