"""The arguments of the Trainer."""

from __future__ import annotations

import pytest

from toxonnx.recipe import LabelSpec, Recipe, Training
from toxonnx.train.trainer import precision_flags


@pytest.mark.parametrize(
    ("requested", "bf16", "flags"),
    [
        ("auto", True, {"bf16": True}),
        ("auto", False, {"fp16": True}),
        ("fp16", True, {"fp16": True}),
        ("fp32", True, {}),
    ],
)
def test_the_precision_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, requested: str, bf16: bool, flags: dict[str, bool]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: bf16 and not including_emulation)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Made-up GPU")
    settings = Recipe("r", LabelSpec(column="label"), training=Training(precision=requested))
    found, words = precision_flags(settings)
    assert found == flags and words.endswith("on Made-up GPU")
