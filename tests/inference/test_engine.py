"""Engines on a GPU that is not there: batches, fallbacks, CUDA graphs."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers import SHIPPED

from toxonnx import RuntimeOptions
from toxonnx.bundle import open_bundle
from toxonnx.errors import InputError, MachineError
from toxonnx.formats import DEVICES
from toxonnx.inference.batching import EqualLengthBatcher, Feed, PackedBatcher, PaddedBatcher
from toxonnx.inference.devices import OR_CPU
from toxonnx.inference.engine import Engine, _SharedLock
from toxonnx.inference.session import SessionOptions
from toxonnx.inference.tokenizer import Tokens


class FakeSession:
    """A fake of a session on a GPU; its logits are the first token and the length."""

    made: ClassVar[list[SessionOptions]] = []
    fails: ClassVar[set[str]] = set()

    def __init__(self, _: Path, labels: int, options: SessionOptions) -> None:
        self.made.append(options)
        if options.device in self.fails or (options.cuda_graphs and "cuda_graphs" in self.fails):
            raise MachineError("CUDA failure 2: out of memory", f"Check nvidia-smi{OR_CPU}")
        self.device, self.provider = options.device, DEVICES[options.device].provider

    def run(self, feed: Feed) -> np.ndarray:
        ids = feed["input_ids"]
        if ids.ndim == 2:
            return np.stack([ids[:, 0], feed["attention_mask"].sum(axis=1), ids[:, 0]], axis=1).astype(np.float32)
        lengths = np.diff(feed["cu_seqlens"])
        first = ids[feed["first_tokens"]]
        return np.stack([first, lengths, first], axis=1).astype(np.float32)


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Engine]:
    """Engines of a bundle of any layout, on a GPU that is not there."""
    monkeypatch.setattr("toxonnx.inference.engine.Session", FakeSession)
    monkeypatch.setattr("toxonnx.inference.engine.available_cores", lambda: 16)
    FakeSession.made.clear()
    FakeSession.fails.clear()
    shipped = open_bundle(SHIPPED)

    def engine(layout: str, **options: Any) -> Engine:
        manifest = dataclasses.replace(shipped.manifest, precision="fp16", layout=layout)
        return Engine(dataclasses.replace(shipped, manifest=manifest), RuntimeOptions(**{"device": "cuda", **options}))

    return engine


def test_a_packed_bundle_has_no_fallback(on_gpu: Callable[..., Engine]) -> None:
    FakeSession.fails.add("cuda")
    for options in ({"allow_fallback": True}, {"device": "auto"}, {}):
        with pytest.raises(MachineError) as caught:
            on_gpu("packed", **options)
        assert "there is no fallback; a bundle exported with --layout fused has one" in caught.value.hint
        assert caught.value.hint.startswith("Check nvidia-smi.\n") and "--device cpu" not in caught.value.hint


@pytest.mark.parametrize(
    ("layout", "batcher"), [("plain", PaddedBatcher), ("fused", PaddedBatcher), ("packed", PackedBatcher)]
)
def test_gpu_batches_match_the_layout(on_gpu: Callable[..., Engine], layout: str, batcher: type) -> None:
    engine = on_gpu(layout)
    assert isinstance(engine.batcher, batcher) and engine.batcher.max_tokens == 32768
    assert (engine.settings.threads, engine.settings.tokenizer_processes, engine.small_batch) == (
        2,
        15,
        8 if layout == "packed" else 1,
    )
    assert FakeSession.made[0].layout == layout and FakeSession.made[0].device == "cuda"
    lengths = np.array([3, 128, 7, 7, 60])
    tokens = Tokens(np.repeat(np.arange(100, 105), lengths).astype(np.int32), lengths)
    logits = np.zeros((5, 3), dtype=np.float32)
    for rows in engine.batches(lengths):
        logits[rows] = engine.run(tokens, rows)
    assert logits[:, :2].tolist() == [[100, 3], [101, 128], [102, 7], [103, 7], [104, 60]]


def test_a_failing_gpu_is_an_error_or_a_reported_fallback(on_gpu: Callable[..., Engine]) -> None:
    FakeSession.fails.add("cuda")
    with pytest.raises(MachineError, match="out of memory"):
        on_gpu("fused")
    for options in ({"allow_fallback": True}, {"device": "auto"}):
        engine = on_gpu("fused", **options)
        assert engine.settings.device == "cpu" and "out of memory" in engine.settings.fallback
        assert isinstance(engine.batcher, EqualLengthBatcher) and engine.settings.tokenizer_processes == 0
        with pytest.raises(MachineError, match="out of memory"):
            on_gpu("packed", **options)
    with pytest.raises(InputError, match="TensorRT does not have"):
        on_gpu("fused", device="tensorrt")
    on_gpu("plain", device="tensorrt", max_batch_tokens=4096)
    small, full = FakeSession.made[-1].profiles
    assert small == ((1, 16), (1, 32), (8, 128)) and full == ((1, 16), (128, 32), (256, 128))


def test_small_batches_use_the_ordinary_session_if_graph_capture_fails(on_gpu: Callable[..., Engine]) -> None:
    FakeSession.fails.add("cuda_graphs")
    engine = on_gpu("packed")
    lengths = np.array([2, 1])
    tokens = Tokens(np.array([5, 6, 7], dtype=np.int32), lengths)
    with pytest.warns(UserWarning, match="use the ordinary session from now on: CUDA failure 2"):
        assert engine.run_small_batch(tokens)[:, :2].tolist() == [[5, 2], [7, 1]]
    assert engine.run_small_batch(tokens)[:, :2].tolist() == [[5, 2], [7, 1]]
    assert sum(options.cuda_graphs for options in FakeSession.made) == 1, "it is not tried again"
    assert "out of memory" in engine.settings.cuda_graphs


def test_an_exclusive_holder_waits_for_shared_ones_and_they_for_it() -> None:
    lock, log = _SharedLock(), []
    inside, go = threading.Event(), threading.Event()

    def ordinary() -> None:
        with lock.shared():
            inside.set()
            go.wait(10)
            log.append("shared")

    def lonely() -> None:
        with lock.exclusive():
            log.append("exclusive")
            later.start()
            later.join(0.2)
            log.append("still exclusive")

    first, second = threading.Thread(target=ordinary), threading.Thread(target=lonely)
    later = threading.Thread(target=ordinary)
    first.start()
    inside.wait(10)
    second.start()
    second.join(0.2)
    go.set()
    for thread in (first, second, later):
        thread.join(10)
    assert log == ["shared", "exclusive", "still exclusive", "shared"]
