"""Weights from files of others: nothing is executed, and what is wrong with a file is named."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from checkpoints import NAMES, make_model
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from toxonnx.errors import CheckpointError, InputError
from toxonnx.train.adapters import load_trained
from toxonnx.train.weight_files import read_weights

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 440449768\n"


def _change(checkpoint: Path, **changed: torch.Tensor) -> None:
    file = checkpoint / "model.safetensors"
    save_file({**load_file(file), **changed}, file)


class _Hostile:
    """Creates a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_hostile_pickle_is_not_executed(checkpoint: Path, tmp_path: Path, form: str) -> None:
    (checkpoint / "model.safetensors").unlink()
    adapter = tmp_path / "adapter"
    lora = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"])
    peft.get_peft_model(make_model(), lora).save_pretrained(adapter)
    (adapter / "adapter_model.safetensors").unlink()
    content = {**make_model().state_dict(), "classifier.bias": _Hostile(tmp_path / "owned")}
    for file in (checkpoint / "pytorch_model.bin", adapter / "adapter_model.bin"):
        if form == "pickle":
            file.write_bytes(pickle.dumps(content))
        else:
            torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
        reason = "contains more than tensors" if form == "pickle" else r"calls posix\.mkdir"
        with pytest.raises(
            CheckpointError, match=rf"{file.name} is not read: it {reason}, and nothing in a checkpoint is"
        ):
            load_trained(file.parent, base=str(checkpoint), labels=NAMES)
    assert not (tmp_path / "owned").exists()
    pickle.loads(pickle.dumps(content))
    assert (tmp_path / "owned").exists()  # it would have been


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_git_lfs_pointers(checkpoint: Path, name: str) -> None:
    (checkpoint / name).write_bytes(POINTER)
    with pytest.raises(CheckpointError, match=rf"{name} is a Git LFS pointer.*\nRun git lfs pull in .*checkpoint"):
        load_trained(checkpoint)


def test_a_weight_that_is_nan_is_named(checkpoint: Path) -> None:
    bias = torch.zeros(32)
    bias[:3] = torch.tensor([float("nan"), float("inf"), 1])
    _change(checkpoint, **{"bert.pooler.dense.bias": bias})
    with pytest.raises(
        CheckpointError, match=r"the weight bert\.pooler\.dense\.bias has 2 NaN or infinite values of 32"
    ):
        load_trained(checkpoint)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (
            "classifier.weight",
            (4, 32),
            r"classifier\.weight is \[4, 32\] in the file, but \[3, 32\] by the 3 labels of",
        ),
        ("bert.embeddings.word_embeddings.weight", (90, 32), r"is \[90, 32\] in the file, but \[380, 32\] by config"),
    ],
)
def test_weights_of_another_shape_than_in_the_configuration(
    checkpoint: Path, name: str, shape: tuple[int, ...], message: str
) -> None:
    _change(checkpoint, **{name: torch.zeros(shape)})
    with pytest.raises(CheckpointError, match=message):
        load_trained(checkpoint)


def test_incomplete_shards(checkpoint: Path) -> None:
    make_model().save_pretrained(checkpoint, max_shard_size="50KB")
    index = checkpoint / "model.safetensors.index.json"
    (checkpoint / "model.safetensors").unlink(missing_ok=True)
    shard = min(checkpoint.glob("model-*.safetensors"))
    shard.rename(checkpoint / "elsewhere")
    with pytest.raises(CheckpointError, match=f"lacks {shard.name}, which model.safetensors.index.json lists"):
        load_trained(checkpoint)
    index.write_text(json.dumps({"weight_map": {"classifier.bias": "../../secret.safetensors"}}))
    with pytest.raises(InputError, match=r"weight_map\.\"classifier\.bias\" must be the name of a file in the folder"):
        load_trained(checkpoint)
    index.unlink()
    with pytest.raises(
        CheckpointError, match=r"has no weights\nTheir file is named model\.safetensors or pytorch_model"
    ):
        load_trained(checkpoint)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_are_errors_of_their_own(
    template: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    name = data.draw(st.sampled_from(["model.safetensors", "pytorch_model.bin"]))
    tensors = {"a.weight": torch.ones(3, 2), "a.bias": torch.zeros(3)}
    (save_file if name.endswith("safetensors") else torch.save)(tensors, folder / name)
    content = bytearray((folder / name).read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(1, 4)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(content)
    try:
        read = read_weights(folder, (name,)).tensors
    except CheckpointError as error:
        assert name in error.what
    else:
        assert all(isinstance(value, torch.Tensor) for value in read.values())
