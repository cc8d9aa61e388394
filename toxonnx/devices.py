"""Devices to score on: what each needs of the machine, and which part of that is missing."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from toxonnx.errors import MachineError
from toxonnx.extras import missing, require

__all__ = [
    "DEVICES",
    "GPU",
    "PROVIDERS",
    "Driver",
    "Profile",
    "describe",
    "driver",
    "loads",
    "obstacle",
    "provider_options",
]

#: what may be asked for; ``auto`` is the GPU where bundle and machine allow it, else the CPU
DEVICES = ("cpu", "cuda", "tensorrt", "auto")
#: the devices that are one
GPU = ("cuda", "tensorrt")
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
#: the shared library that a provider lives in
_LIBRARIES = {name: f"libonnxruntime_providers_{name}.so" for name in GPU}
_GPU_EXTRA = "pip install 'toxonnx[gpu]' (in a checkout: pip install '.[gpu]')"
#: smallest, usual and largest (rows, tokens) of a batch
Profile = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
#: bits of sdpa_kernel
_FLASH, _EFFICIENT = 1, 2
_preloading, _preloaded = threading.Lock(), set[str]()
_CUDA_SUCCESS, _NAME_LENGTH, _CAPABILITY_MAJOR, _CAPABILITY_MINOR = 0, 128, 75, 76


@dataclass(frozen=True)
class Driver:
    """The NVIDIA driver, as it answers.

    Attributes:
        cuda: newest CUDA version that it runs, as (major, minor); None where no driver answers.
        gpus: of each GPU, name, memory in GB and compute capability, in plain values.
        trouble: why there is none to use; "" where there is.
    """

    cuda: tuple[int, int] | None
    gpus: list[dict[str, Any]]
    trouble: str


def driver(load: Callable[[str], Any] = ctypes.CDLL) -> Driver:
    """Asks the driver's own library, which needs nothing else to be installed."""
    try:
        library = load("libcuda.so.1")
    except OSError:
        return Driver(None, [], "no NVIDIA driver: libcuda.so.1 does not load")
    number = ctypes.c_int()
    cuda = None
    if library.cuDriverGetVersion(ctypes.byref(number)) == _CUDA_SUCCESS:
        cuda = (number.value // 1000, number.value % 1000 // 10)
    code = library.cuInit(0)
    if code != _CUDA_SUCCESS:
        return Driver(cuda, [], f"the NVIDIA driver does not start: {_error(library, code)}")
    library.cuDeviceGetCount(ctypes.byref(number))
    gpus = [_gpu(library, index) for index in range(number.value)]
    return Driver(cuda, gpus, "" if gpus else "the NVIDIA driver sees no GPU (CUDA_VISIBLE_DEVICES?)")


def describe() -> dict[str, Any]:
    """Driver, GPUs, and what stands in the way of each device, in plain values. Nothing raises."""
    found = driver()
    runtime, built_in, obstacles = "", [], {}
    broken = None if missing("cpu") else obstacle("cpu")
    if broken is not None:
        runtime = broken.what
    elif not missing("cpu"):
        import onnxruntime as ort

        runtime = f"onnxruntime {ort.__version__}, built for {'CUDA ' + _cuda_of(ort) if _is_gpu(ort) else 'the CPU'}"
        built_in = [name for name in GPU if PROVIDERS[name] in ort.get_available_providers()]
        obstacles = {name: str(obstacle(name) or "").replace("\n", ". ") for name in built_in}
    return {
        "runtime": runtime,
        "driver": f"NVIDIA, CUDA up to {found.cuda[0]}.{found.cuda[1]}" if found.cuda else "",
        "gpus": found.gpus,
        "trouble": found.trouble,
        "built_in": built_in,
        "obstacles": obstacles,
    }


def _gpu(library: Any, index: int) -> dict[str, Any]:
    handle, number, size = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(_NAME_LENGTH)
    library.cuDeviceGet(ctypes.byref(handle), index)
    library.cuDeviceGetName(name, _NAME_LENGTH, handle)
    library.cuDeviceTotalMem_v2(ctypes.byref(size), handle)
    capability = []
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        library.cuDeviceGetAttribute(ctypes.byref(number), attribute, handle)
        capability.append(number.value)
    return {
        "name": name.value.decode(errors="replace"),
        "memory_gb": round(size.value / 1e9, 1),
        "compute_capability": ".".join(map(str, capability)),
    }


def _error(library: Any, code: int) -> str:
    text = ctypes.c_char_p()
    library.cuGetErrorString(code, ctypes.byref(text))
    return f"{text.value.decode() if text.value else 'no word'} (CUDA error {code})"


def obstacle(device: str) -> MachineError | None:
    """What keeps a device from being used here, as the error to raise; None where nothing does.

    Everything that its provider needs is loaded on the way, as the provider itself would: with another's message, as
    the runtime goes on with the CPU where a provider does not load.
    """
    if device in GPU and missing("cpu"):
        return MachineError("this needs onnxruntime-gpu, not installed here", _GPU_EXTRA)
    require("cpu")
    try:
        import onnxruntime as ort
    except ImportError as error:
        return MachineError(f"onnxruntime is installed and does not load: {error}")
    if device not in GPU:
        return None
    if not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        return MachineError(f"onnxruntime {ort.__version__} is too old to tell what runs on the GPU", _GPU_EXTRA)
    if PROVIDERS[device] not in ort.get_available_providers():
        if _installed("onnxruntime-gpu"):
            return MachineError(
                f"onnxruntime {ort.__version__} for the CPU hides onnxruntime-gpu: both install the same files",
                "pip uninstall -y onnxruntime onnxruntime-gpu, then " + _GPU_EXTRA,
            )
        return MachineError(
            f"onnxruntime {ort.__version__} has no {PROVIDERS[device]}: it is built for the CPU alone",
            "pip uninstall -y onnxruntime, then " + _GPU_EXTRA,
        )
    return _library_obstacle(ort, device) or _driver_obstacle(ort)


def _library_obstacle(ort: Any, device: str) -> MachineError | None:
    """Loads the provider's library; says which one it lacks."""
    # Once: what it prints names libraries too, and not the one that counts, and standard output is everybody's.
    with _preloading:
        if "done" not in _preloaded:
            with contextlib.redirect_stdout(io.StringIO()):
                ort.preload_dlls()
            _preloaded.add("done")
    folder = Path(ort.__file__).parent / "capi"
    for name in dict.fromkeys(("libonnxruntime_providers_shared.so", _LIBRARIES["cuda"], _LIBRARIES[device])):
        try:
            ctypes.CDLL(str(folder / name), os.RTLD_GLOBAL if "shared" in name else os.RTLD_LOCAL)
        except OSError as error:
            absent = re.match(r"([\w.+-]+\.so[\w.]*): cannot open", str(error))
            if absent and absent[1].startswith("libcuda.so"):
                return _no_driver(driver().trouble or str(error))
            what = f"{PROVIDERS[device]} of onnxruntime {ort.__version__}"
            if absent:
                return MachineError(f"{what} needs {absent[1]}, which is not here", _mend(absent[1], _cuda_of(ort)))
            return MachineError(f"{what} does not load: {error}")
    # Loaded by the provider when it is first wanted, and without it attention takes a slower kernel in silence.
    if not loads("libcudnn.so.9"):
        return MachineError(
            f"{PROVIDERS[device]} of onnxruntime {ort.__version__} needs libcudnn.so.9, which is not here",
            _mend("libcudnn.so.9", _cuda_of(ort)),
        )
    return None


def loads(library: str) -> bool:
    """Whether a shared library loads."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _mend(library: str, cuda: str) -> str:
    if library.startswith(("libnvinfer", "libnvonnxparser")):
        major = library.rpartition(".")[2]
        return (
            f"It is TensorRT {major}'s, for CUDA {cuda.split('.')[0]}; its folder has to be on LD_LIBRARY_PATH. "
            "--device cuda does without."
        )
    what = "cuDNN 9" if library.startswith("libcudnn") else f"CUDA {cuda}"
    return f"It is part of {what}: pip install 'onnxruntime-gpu[cuda,cudnn]', or use --device cpu."


def _no_driver(trouble: str) -> MachineError:
    return MachineError(trouble, "See what nvidia-smi says, or use --device cpu.")


def _driver_obstacle(ort: Any) -> MachineError | None:
    found, wanted = driver(), _cuda_of(ort)
    if found.trouble:
        return _no_driver(found.trouble)
    major = wanted.split(".")[0]
    if found.cuda and major.isdigit() and found.cuda[0] < int(major):
        return MachineError(
            f"the NVIDIA driver runs CUDA up to {found.cuda[0]}.{found.cuda[1]}; onnxruntime {ort.__version__} is "
            f"built for CUDA {wanted}",
            "Install a newer driver, or an onnxruntime-gpu that is built for this one.",
        )
    return None


def _is_gpu(ort: Any) -> bool:
    return PROVIDERS["cuda"] in ort.get_available_providers()


def _cuda_of(ort: Any) -> str:
    """The CUDA version that the runtime is built for."""
    return str(getattr(ort, "cuda_version", "") or "?")


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def provider_options(
    device: str,
    layout: str = "plain",
    *,
    graphs: bool = False,
    cache: Path | None = None,
    profiles: Sequence[Profile] = (),
    inputs: Sequence[str] = (),
) -> list[tuple[str, dict[str, str]]]:
    """Providers with their options, most wanted first.

    Args:
        device: one of DEVICES but ``auto``.
        layout: of the graph.
        graphs: capture CUDA graphs, for calls of fixed shapes at fixed addresses.
        cache: TensorRT: folder for engines and timings; building one takes minutes.
        profiles: TensorRT: the shapes, (rows, tokens), that an engine is built for: smallest, usual, largest.
        inputs: TensorRT: names of the model's inputs, all of that shape.
    """
    # Memory grows by what is asked for, not in powers of two. TF32 would cut fp32's mantissa to 10 bits, unasked.
    cuda = {
        "arena_extend_strategy": "kSameAsRequested", "use_tf32": "0", "enable_cuda_graph": str(int(graphs)),
        # The newest runtimes always sum in fp32 there; older ones would overflow in fp16 without a trace.
        "enable_skip_layer_norm_strict_mode": "1",
    }  # fmt: skip
    if layout == "packed":
        # Flash attention, or else the memory-efficient kernel. Left alone, the runtime takes flash for packed rows
        # over 512 tokens only. Other layouts are left alone: any choice shuts cuDNN's attention out.
        cuda["sdpa_kernel"] = str(_FLASH | _EFFICIENT)
    if device == "cpu":
        return [(PROVIDERS["cpu"], {})]
    if device == "cuda":
        return [(PROVIDERS["cuda"], cuda)]
    tensorrt: dict[str, str] = {}
    if cache:
        tensorrt |= {
            "trt_engine_cache_enable": "True", "trt_engine_cache_path": str(cache),
            "trt_timing_cache_enable": "True", "trt_timing_cache_path": str(cache),
        }  # fmt: skip
    for position, name in enumerate(("min", "opt", "max")):
        shapes = [f"{one}:{profile[position][0]}x{profile[position][1]}" for profile in profiles for one in inputs]
        if shapes:
            tensorrt[f"trt_profile_{name}_shapes"] = ",".join(shapes)
    return [(PROVIDERS["tensorrt"], tensorrt), (PROVIDERS["cuda"], cuda)]
