"""Devices, and what is said where one cannot be had. No GPU is needed: what is missing is what is tested."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import sys
import threading
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import ROOT, toxonnx

from toxonnx import Classifier, devices
from toxonnx.bundle import Bundle, open_bundle
from toxonnx.cli import group
from toxonnx.errors import GateError, InputError, MachineError
from toxonnx.inference.batching import EqualLengthBatcher, Feed, PackedBatcher, PaddedBatcher
from toxonnx.inference.devices import driver, provider_options, why_unavailable
from toxonnx.inference.engine import Engine, _SharedLock
from toxonnx.inference.session import Session
from toxonnx.inference.tokenizer import Tokens

SHIPPED = ROOT / "export" / "bundles" / "minilm-hate-int8"
COMMENTS = ROOT / "examples" / "comments.csv"


class FakeDriver:
    """libcuda with one GPU, or an error when it starts."""

    def __init__(self, version: int = 13010, error: int = 0, gpus: int = 1) -> None:
        self.version, self.error, self.gpus = version, error, gpus

    def cuDriverGetVersion(self, number: Any) -> int:  # noqa: N802
        number._obj.value = self.version
        return 0

    def cuInit(self, _: int) -> int:  # noqa: N802
        return self.error

    def cuGetErrorString(self, _: int, text: Any) -> int:  # noqa: N802
        text._obj.value = b"no CUDA-capable device is detected"
        return 0

    def cuDeviceGetCount(self, number: Any) -> int:  # noqa: N802
        number._obj.value = self.gpus
        return 0

    def cuDeviceGet(self, handle: Any, index: int) -> int:  # noqa: N802
        handle._obj.value = index
        return 0

    def cuDeviceGetName(self, name: Any, _: int, __: Any) -> int:  # noqa: N802
        name.value = b"Made-up GPU"
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, _: Any) -> int:  # noqa: N802
        size._obj.value = 80_000_000_000
        return 0

    def cuDeviceGetAttribute(self, number: Any, attribute: int, _: Any) -> int:  # noqa: N802
        number._obj.value = {75: 9, 76: 0}[attribute]
        return 0


def test_the_driver_tells_what_there_is() -> None:
    found = driver(lambda _: FakeDriver())
    assert found.cuda == (13, 1) and not found.trouble
    assert found.gpus == [{"name": "Made-up GPU", "memory_gb": 80.0, "compute_capability": "9.0"}]
    assert "no CUDA-capable device is detected (CUDA error 100)" in driver(lambda _: FakeDriver(error=100)).trouble
    assert "sees no GPU" in driver(lambda _: FakeDriver(gpus=0)).trouble

    def absent(_: str) -> Any:
        raise OSError("libcuda.so.1: cannot open shared object file: No such file or directory")

    assert driver(absent).trouble == "no NVIDIA driver: libcuda.so.1 does not load"


@pytest.mark.parametrize(
    ("lacks", "of", "version", "what", "mend"),
    [
        ("libcublasLt.so.13", "cuda", 13010, "needs libcublasLt.so.13, which is", "onnxruntime-gpu[cuda,cudnn]"),
        ("libcudnn.so.9", "cuda", 13010, "needs libcudnn.so.9, which is not here", "part of cuDNN 9"),
        ("libnvinfer.so.10", "tensorrt", 13010, "needs libnvinfer.so.10, which is", "TensorRT 10's, for CUDA 13"),
        ("libcuda.so.1", "cuda", 13010, "no NVIDIA driver", "nvidia-smi"),
        ("", "cuda", 12080, "runs CUDA up to 12.8; onnxruntime 1.99 is built for CUDA 13.0", "newer driver"),
    ],
)  # fmt: skip
def test_the_missing_piece_is_named(
    monkeypatch: pytest.MonkeyPatch, lacks: str, of: str, version: int, what: str, mend: str
) -> None:
    """The messages of the loader are those of onnxruntime-gpu 1.31.1 on a machine without the pieces."""
    runtime = types.ModuleType("onnxruntime")
    runtime.__spec__ = ModuleSpec("onnxruntime", None)
    runtime.__dict__.update(
        __version__="1.99", __file__="/opt/onnxruntime/__init__.py", cuda_version="13.0", preload_dlls=lambda: None,
        get_available_providers=lambda: list(devices.PROVIDERS.values()),
        InferenceSession=types.SimpleNamespace(get_provider_graph_assignment_info=None),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    needs = {"libcublasLt.so.13": "_cuda.so", "libcuda.so.1": "_cuda.so", "libnvinfer.so.10": "_tensorrt.so"}

    def load(name: str, *_: Any) -> Any:
        if lacks and (name == lacks or name.endswith(needs.get(lacks, "none"))):
            raise OSError(f"{lacks}: cannot open shared object file: No such file or directory")
        return FakeDriver(version)

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(devices.driver, "__defaults__", (load,))
    missing = why_unavailable(of)
    assert isinstance(missing, MachineError)
    assert what in missing.what and mend in missing.hint


def test_a_session_that_fell_back_in_silence_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime itself goes on with the CPU, and says so to nobody."""
    monkeypatch.setattr("toxonnx.inference.session.why_unavailable", lambda _: None)
    with pytest.warns(UserWarning, match="not in available provider names"), pytest.raises(MachineError) as caught:
        Session(SHIPPED / "model.onnx", 3, device="cuda")
    assert "CUDAExecutionProvider" in str(caught.value)


def test_int8_is_refused_on_a_gpu_unless_a_fallback_is_allowed() -> None:
    bundle = open_bundle(SHIPPED)
    for device in ("cuda", "tensorrt"):
        with pytest.raises(InputError, match="no CUDA kernels") as caught:
            Classifier(bundle, device=device)
        assert "--precision fp16 --layout packed" in caught.value.hint
        assert "no CUDA kernels" in Classifier(bundle, device=device, allow_fallback=True).plan["fallback"]
    classifier = Classifier(bundle, device="auto")
    assert classifier.plan["device"] == "cpu" and "no CUDA kernels" in classifier.plan["fallback"]
    with pytest.raises(InputError, match="device 'gpu' is none of cpu, cuda, tensorrt, auto"):
        Classifier(bundle, device="gpu")


def test_the_command_line_says_what_it_runs_on(bundles: dict[str, Path], tmp_path: Path) -> None:
    lacking = why_unavailable("cuda")
    if lacking is None:  # the other half of this test, for those who have a GPU
        assert toxonnx("doctor", "--device", "cuda", "--bundle", bundles["fp16"]).returncode == 0
        return
    out = tmp_path / "out.csv"
    done = toxonnx("predict", COMMENTS, "-o", out, "--bundle", bundles["fp16"], "--device", "cuda")
    assert done.returncode == 3 and lacking.what in done.stderr and not out.exists()
    done = toxonnx("predict", COMMENTS, "-o", out, "--bundle", bundles["fp16"], "--device", "cuda", "--allow-fallback")
    assert done.returncode == 0 and f"WARNING: fp16 runs on the CPU: {lacking.what}" in done.stderr
    assert out.exists()
    done = toxonnx("bench", "--device", "cuda", "--bundle", bundles["fp16"], "--rows", "20")
    assert done.returncode == 3 and lacking.what in done.stderr
    done = toxonnx("doctor", "--device", "cuda", "--bundle", bundles["fp16"], "--json")
    assert done.returncode == 3 and lacking.what in done.stderr
    report = json.loads(done.stdout)
    assert report["plan"] is None and report["gpu"]["trouble"]
    report = json.loads(toxonnx("doctor", "--bundle", bundles["fp16"], "--json").stdout)
    assert report["trial"]["sentences"] == 20 and report["trial"]["largest_probability_difference"] < 5e-3


def test_no_label_is_made_of_what_is_no_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def says(value: float) -> None:
        def run(_: Session, feed: Feed) -> np.ndarray:
            return np.full((len(feed["input_ids"]), 3), value, dtype=np.float32)

        monkeypatch.setattr(Session, "run", run)

    for value in (0.0, np.nan):  # the same for every text; and no number
        says(value)
        done = CliRunner().invoke(group, ["doctor", "--json"])
        assert isinstance(done.exception, GateError)
        report = json.loads(done.stdout)
        assert report["error"] and (report["trial"] is None if value else not report["trial"]["sound"])
    done = CliRunner().invoke(group, ["predict", str(COMMENTS), "-o", str(tmp_path / "out.csv")])
    assert isinstance(done.exception, GateError) and "gives no numbers for some texts" in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_half_an_uninstalled_runtime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip takes away the files that onnxruntime and onnxruntime-gpu share, and leaves a folder."""
    left = types.ModuleType("onnxruntime")
    left.__spec__ = ModuleSpec("onnxruntime", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", left)
    broken = why_unavailable("cpu")
    assert broken is not None and "onnxruntime is broken" in broken.what
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in broken.hint
    assert devices.describe()["runtime"] == broken.what


def test_a_packed_bundle_says_that_it_has_nothing_to_fall_back_to(on_gpu: Callable[..., Engine]) -> None:
    FakeSession.fails.add("cuda")
    for options in ({"allow_fallback": True}, {"device": "auto"}, {}):
        with pytest.raises(MachineError) as caught:
            on_gpu("packed", **options)
        assert "has no CPU to fall back to: --layout fused has" in caught.value.hint


def test_provider_options() -> None:
    assert provider_options("cpu") == [("CPUExecutionProvider", {})]
    ((name, cuda),) = provider_options("cuda", "packed", graphs=True)
    assert name == "CUDAExecutionProvider"
    assert cuda["enable_cuda_graph"] == "1" and cuda["use_tf32"] == "0" and cuda["sdpa_kernel"] == "3"
    assert "sdpa_kernel" not in provider_options("cuda", "fused")[0][1], "it would shut cuDNN's attention out"
    few = ((1, 16), (1, 32), (8, 128))
    many = ((1, 16), (256, 32), (512, 128))
    (name, built), (then, _) = provider_options(
        "tensorrt", cache=Path("/kept"), profiles=(few, many), inputs=("input_ids", "attention_mask")
    )
    assert (name, then) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert built["trt_engine_cache_path"] == built["trt_timing_cache_path"] == "/kept"
    assert built["trt_profile_max_shapes"] == (
        "input_ids:8x128,attention_mask:8x128,input_ids:512x128,attention_mask:512x128"
    )


class FakeSession:
    """Stands in for a session on a GPU. Remembers how it was made; logits are the first token and the length."""

    made: ClassVar[list[dict[str, Any]]] = []
    fails: ClassVar[set[str]] = set()

    def __init__(self, _: Path, labels: int, **options: Any) -> None:
        self.made.append(options)
        if options["device"] in self.fails or (options["graphs"] and "graphs" in self.fails):
            raise MachineError("CUDA failure 2: out of memory")
        self.device, self.provider = options["device"], devices.PROVIDERS[options["device"]]

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
        return Engine(Bundle(shipped.path, manifest), **{"device": "cuda", **options})

    return engine


@pytest.mark.parametrize(
    ("layout", "batcher"), [("plain", PaddedBatcher), ("fused", PaddedBatcher), ("packed", PackedBatcher)]
)
def test_batches_on_a_gpu_are_what_its_graph_takes(on_gpu: Callable[..., Engine], layout: str, batcher: type) -> None:
    engine = on_gpu(layout)
    assert isinstance(engine.batcher, batcher) and engine.batcher.max_tokens == 32768
    assert (engine.threads, engine.tokenizer_processes, engine.few) == (2, 15, 8 if layout == "packed" else 1)
    assert FakeSession.made[0]["layout"] == layout and FakeSession.made[0]["device"] == "cuda"
    lengths = np.array([3, 128, 7, 7, 60])
    tokens = Tokens(np.repeat(np.arange(100, 105), lengths).astype(np.int32), lengths, lengths < 0)
    logits = np.zeros((5, 3), dtype=np.float32)
    for rows in engine.batches(lengths):
        logits[rows] = engine.run(tokens, rows)
    assert logits[:, :2].tolist() == [[100, 3], [101, 128], [102, 7], [103, 7], [104, 60]]


def test_a_gpu_that_fails_is_an_error_or_the_cpu_with_the_reason(on_gpu: Callable[..., Engine]) -> None:
    FakeSession.fails.add("cuda")
    with pytest.raises(MachineError, match="out of memory"):
        on_gpu("fused")
    for options in ({"allow_fallback": True}, {"device": "auto"}):
        engine = on_gpu("fused", **options)
        assert engine.device == "cpu" and "out of memory" in engine.plan["fallback"]
        assert isinstance(engine.batcher, EqualLengthBatcher) and engine.tokenizer_processes == 0
        with pytest.raises(MachineError, match="out of memory"):
            on_gpu("packed", **options)
    with pytest.raises(InputError, match="TensorRT does not know"):
        on_gpu("fused", device="tensorrt")
    on_gpu("plain", device="tensorrt", max_batch_tokens=4096)
    few, many = FakeSession.made[-1]["profiles"]
    assert few == ((1, 16), (1, 32), (8, 128)) and many == ((1, 16), (128, 32), (256, 128))


def test_few_texts_go_the_ordinary_way_where_no_graph_can_be_had(on_gpu: Callable[..., Engine]) -> None:
    FakeSession.fails.add("graphs")
    engine = on_gpu("packed")
    tokens = Tokens(np.array([5, 6, 7], dtype=np.int32), np.array([2, 1]), np.array([False, False]))
    with pytest.warns(UserWarning, match="the ordinary way from now on: CUDA failure 2"):
        assert engine.run_small_batch(tokens)[:, :2].tolist() == [[5, 2], [7, 1]]
    assert engine.run_small_batch(tokens)[:, :2].tolist() == [[5, 2], [7, 1]]
    assert sum(options["graphs"] for options in FakeSession.made) == 1, "it is not tried again"
    assert "out of memory" in engine.plan["graphs"]


def test_nothing_heavy_is_left_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    left = ["Shape", "MatMul"]

    def runtime(*_: Any, **__: Any) -> Any:
        nodes = [types.SimpleNamespace(op_type=name) for name in left]
        part = types.SimpleNamespace(ep_name="CPUExecutionProvider", get_nodes=lambda: nodes)
        return types.SimpleNamespace(
            get_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
            get_provider_graph_assignment_info=lambda: [part],
        )

    monkeypatch.setattr("toxonnx.inference.session.why_unavailable", lambda _: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", runtime)
    with pytest.raises(MachineError, match="leaves MatMul to the CPU"):
        Session(SHIPPED / "model.onnx", 3, device="cuda")
    with pytest.raises(MachineError, match="leaves MatMul, Shape to the CPU"):
        Session(SHIPPED / "model.onnx", 3, device="cuda", layout="packed")


def test_who_works_alone_waits_for_the_others_and_they_for_it() -> None:
    turns, log = _SharedLock(), []
    inside, go = threading.Event(), threading.Event()

    def ordinary() -> None:
        with turns.shared():
            inside.set()
            go.wait(10)
            log.append("shared")

    def lonely() -> None:
        with turns.alone():
            log.append("alone")
            later.start()
            later.join(0.2)
            log.append("still alone")

    first, second = threading.Thread(target=ordinary), threading.Thread(target=lonely)
    later = threading.Thread(target=ordinary)
    first.start()
    inside.wait(10)
    second.start()
    second.join(0.2)
    go.set()
    for thread in (first, second, later):
        thread.join(10)
    assert log == ["shared", "alone", "still alone", "shared"]
