"""Devices, and the errors where one is unavailable. No GPU is needed."""

from __future__ import annotations

import ctypes
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from helpers import SHIPPED

from toxonnx import Classifier, RuntimeOptions
from toxonnx.bundle import open_bundle
from toxonnx.errors import InputError, MachineError
from toxonnx.formats import DEVICES
from toxonnx.inference import devices
from toxonnx.inference.devices import Gpu, choose_devices, provider_options, query_driver, why_unavailable


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


def test_the_driver_reports_gpus_or_a_problem() -> None:
    found = query_driver(lambda _: FakeDriver())
    assert found.cuda == (13, 1) and not found.problem
    assert found.gpus == (Gpu(name="Made-up GPU", memory_gb=80.0, compute_capability="9.0"),)
    assert (
        "no CUDA-capable device is detected (CUDA error 100)" in query_driver(lambda _: FakeDriver(error=100)).problem
    )
    assert "sees no GPU" in query_driver(lambda _: FakeDriver(gpus=0)).problem

    def absent(_: str) -> Any:
        raise OSError("libcuda.so.1: cannot open shared object file: No such file or directory")

    assert query_driver(absent).problem == "no NVIDIA driver: libcuda.so.1 does not load"


@pytest.mark.parametrize(
    ("lacks", "of", "version", "what", "hint"),
    [
        ("libcublasLt.so.13", "cuda", 13010, "needs libcublasLt.so.13, which is not", "onnxruntime-gpu[cuda,cudnn]"),
        ("libcudnn.so.9", "cuda", 13010, "needs libcudnn.so.9, which is not installed", "part of cuDNN 9"),
        ("libnvinfer.so.10", "tensorrt", 13010, "needs libnvinfer.so.10, which is", "part of TensorRT 10 for CUDA 13"),
        ("libcuda.so.1", "cuda", 13010, "no NVIDIA driver", "nvidia-smi"),
        ("", "cuda", 12080, "supports CUDA up to 12.8; onnxruntime 1.99 is built for CUDA 13.0", "newer driver"),
    ],
)  # fmt: skip
def test_the_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch, lacks: str, of: str, version: int, what: str, hint: str
) -> None:
    """The messages of the loader are those of onnxruntime-gpu 1.31.1 on a machine without the pieces."""
    runtime = types.ModuleType("onnxruntime")
    runtime.__spec__ = ModuleSpec("onnxruntime", None)
    runtime.__dict__.update(
        __version__="1.99", __file__="/opt/onnxruntime/__init__.py", cuda_version="13.0", preload_dlls=lambda: None,
        get_available_providers=lambda: [device.provider for device in DEVICES.values()],
        InferenceSession=types.SimpleNamespace(get_provider_graph_assignment_info=None),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    needs = {"libcublasLt.so.13": "_cuda.so", "libcuda.so.1": "_cuda.so", "libnvinfer.so.10": "_tensorrt.so"}

    def load(name: str, *_: Any) -> Any:
        if lacks and (name == lacks or name.endswith(needs.get(lacks, "none"))):
            raise OSError(f"{lacks}: cannot open shared object file: No such file or directory")
        return FakeDriver(version)

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(devices.query_driver, "__defaults__", (load,))
    missing = why_unavailable(of)
    assert isinstance(missing, MachineError)
    assert what in missing.what and hint in missing.hint


def test_int8_on_a_gpu_is_an_error_unless_fallback_is_allowed() -> None:
    bundle = open_bundle(SHIPPED)
    for device in ("cuda", "tensorrt"):
        with pytest.raises(InputError, match="no CUDA kernels") as caught:
            Classifier(bundle, RuntimeOptions(device=device))
        assert "--precision fp16 --layout packed" in caught.value.hint
        assert (
            "no CUDA kernels"
            in Classifier(bundle, RuntimeOptions(device=device, allow_fallback=True)).settings.fallback
        )
    classifier = Classifier(bundle, RuntimeOptions(device="auto"))
    assert classifier.settings.device == "cpu" and "no CUDA kernels" in classifier.settings.fallback
    with pytest.raises(InputError, match="device must be one of cpu, cuda, tensorrt, auto, got 'gpu'"):
        Classifier(bundle, RuntimeOptions(device="gpu"))


def test_a_half_uninstalled_onnxruntime_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip takes away the files that onnxruntime and onnxruntime-gpu share, and leaves a folder."""
    left = types.ModuleType("onnxruntime")
    left.__spec__ = ModuleSpec("onnxruntime", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", left)
    broken = why_unavailable("cpu")
    assert broken is not None and "onnxruntime is broken" in broken.what
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in broken.hint
    assert devices.describe_devices().runtime == broken.what


def test_provider_options() -> None:
    assert provider_options("cpu") == [("CPUExecutionProvider", {})]
    ((name, cuda),) = provider_options("cuda", "packed", cuda_graphs=True)
    assert name == "CUDAExecutionProvider"
    assert cuda["enable_cuda_graph"] == "1" and cuda["use_tf32"] == "0" and cuda["sdpa_kernel"] == "3"
    assert "sdpa_kernel" not in provider_options("cuda", "fused")[0][1], "it would shut cuDNN's attention out"
    small = ((1, 16), (1, 32), (8, 128))
    full = ((1, 16), (256, 32), (512, 128))
    (name, built), (then, _) = provider_options(
        "tensorrt", cache=Path("/kept"), profiles=(small, full), inputs=("input_ids", "attention_mask")
    )
    assert (name, then) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert built["trt_engine_cache_path"] == built["trt_timing_cache_path"] == "/kept"
    assert built["trt_profile_max_shapes"] == (
        "input_ids:8x128,attention_mask:8x128,input_ids:512x128,attention_mask:512x128"
    )


@pytest.mark.parametrize(
    ("precision", "layout", "device", "allow_fallback", "expected"),
    [
        ("int8", "plain", "cpu", False, ("cpu",)),
        ("int8", "plain", "cuda", False, "no CUDA kernels"),
        ("int8", "plain", "cuda", True, ("cpu",)),
        ("int8", "plain", "auto", False, ("cpu",)),
        ("fp16", "plain", "cuda", False, ("cuda",)),
        ("fp16", "plain", "cuda", True, ("cuda", "cpu")),
        ("fp16", "fused", "auto", False, ("cuda", "cpu")),
        ("fp16", "plain", "tensorrt", True, ("tensorrt", "cpu")),
        ("fp16", "fused", "tensorrt", False, "TensorRT does not have"),
        ("fp16", "fused", "tensorrt", True, ("cpu",)),
        ("fp16", "packed", "cpu", True, "kernels for CUDA only"),
        ("fp16", "packed", "auto", False, ("cuda",)),
        ("fp16", "packed", "cuda", True, ("cuda",)),
        ("fp32", "plain", "gpu", False, "must be one of cpu, cuda, tensorrt, auto, got 'gpu'"),
    ],
)
def test_devices_are_chosen_by_bundle_and_options(
    precision: str, layout: str, device: str, allow_fallback: bool, expected: tuple[str, ...] | str
) -> None:
    options = RuntimeOptions(device=device, allow_fallback=allow_fallback)
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            choose_devices(options, bundle="b", precision=precision, layout=layout)
        return
    choice = choose_devices(options, bundle="b", precision=precision, layout=layout)
    assert choice.devices == expected
    requested = "cuda" if device == "auto" else device
    assert bool(choice.fallback) == (requested not in expected)
