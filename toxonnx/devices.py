"""Devices to score on: what each needs of the machine, and which part of that is missing."""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
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
#: the two install the same files, so that taking one away breaks the other
_BOTH_AWAY = "pip uninstall -y onnxruntime onnxruntime-gpu"
#: smallest, usual and largest (rows, tokens) of a batch
Profile = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
#: bits of sdpa_kernel
_FLASH, _EFFICIENT = 1, 2
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
    broken = None if missing("cpu") else obstacle("cpu")
    runtime = broken.what if broken else "not installed"
    if not broken and not missing("cpu"):
        import onnxruntime as ort

        runtime = f"onnxruntime {ort.__version__}, built for {'CUDA ' + _cuda_of(ort) if _is_gpu(ort) else 'the CPU'}"
    obstacles = {name: broken or obstacle(name) for name in GPU}
    return {
        "runtime": runtime,
        "driver": f"NVIDIA, CUDA up to {found.cuda[0]}.{found.cuda[1]}" if found.cuda else "",
        "gpus": found.gpus,
        "trouble": found.trouble,
        "obstacles": {name: str(why or "").replace("\n", ". ") for name, why in obstacles.items()},
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
    if device in GPU and (trouble := driver().trouble):
        return _no_driver(trouble)
    if device in GPU and missing("cpu"):
        return MachineError("this needs onnxruntime-gpu, not installed here", _GPU_EXTRA)
    require("cpu")
    try:
        import onnxruntime as ort
    except ImportError as error:
        return MachineError(f"onnxruntime is installed and does not load: {error}")
    if not hasattr(ort, "InferenceSession"):
        return MachineError(
            "onnxruntime is broken: parts of it were uninstalled, as with one of onnxruntime and onnxruntime-gpu",
            f"{_BOTH_AWAY}, then pip install 'toxonnx[cpu]', or for a GPU {_GPU_EXTRA}",
        )
    if device not in GPU:
        return None
    if not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        return MachineError(f"onnxruntime {ort.__version__} is too old to tell what runs on the GPU", _GPU_EXTRA)
    if PROVIDERS[device] not in ort.get_available_providers():
        hidden = _installed("onnxruntime-gpu")
        return MachineError(
            f"onnxruntime {ort.__version__} has no {PROVIDERS[device]}: "
            + ("it is for the CPU, and hides onnxruntime-gpu" if hidden else "it is built for the CPU alone"),
            f"{_BOTH_AWAY}, then {_GPU_EXTRA}",
        )
    return _version_obstacle(ort) or _library_obstacle(ort, device)


def _library_obstacle(ort: Any, device: str) -> MachineError | None:
    """Loads the provider's library and what it needs; says which one is missing."""
    folder = Path(ort.__file__).parent / "capi"
    major = _cuda_of(ort).split(".")[0]
    shared = "libonnxruntime_providers_shared.so"  # the other two take their symbols from it
    _load(shared, folder / shared, ctypes.RTLD_GLOBAL)
    with contextlib.suppress(OSError):
        _load(f"libnvrtc.so.{major}")  # cuDNN compiles some of its kernels, and asks for it by name
    wanted = {
        # Loaded by the provider when it is first wanted, and without it attention takes a slower kernel in silence.
        "libcudnn.so.9": None,
        **{_LIBRARIES[name]: folder / _LIBRARIES[name] for name in dict.fromkeys(("cuda", device))},
    }
    for name, path in wanted.items():
        try:
            _load(name, path)
        except OSError as error:
            what = f"{PROVIDERS[device]} of onnxruntime {ort.__version__}"
            absent = _missing_in(error)
            if absent.startswith("libcuda.so"):
                return _no_driver(driver().trouble or str(error))
            if absent:
                return MachineError(f"{what} needs {absent}, which is not here", _mend(absent, _cuda_of(ort)))
            return MachineError(f"{what} does not load: {error}")
    return None


def _load(name: str, path: Path | None = None, mode: int = ctypes.DEFAULT_MODE) -> None:
    """Loads a library, with what it needs from wherever Python packages have brought it.

    Pip puts CUDA's libraries where the system's loader does not look; one that is loaded is found by its name.

    Raises:
        OSError: it, or one that it needs, is nowhere.
    """
    tried: set[str] = set()
    while True:
        try:
            ctypes.CDLL(str(path or name), mode)
        except OSError as error:
            absent = _missing_in(error)
            found = _in_packages(absent)
            if found is None or absent in tried:
                raise
            tried.add(absent)
            _load(absent, found)
            if absent == name:
                return
        else:
            return


def _missing_in(error: OSError) -> str:
    """The library that a loader's message says is not there; "" where it says something else."""
    absent = re.match(r"(lib[\w.+-]+\.so[\w.]*): cannot open", str(error))
    return absent[1] if absent else ""


def _in_packages(library: str) -> Path | None:
    """A library in one of NVIDIA's packages for Python."""
    spec = find_spec("nvidia") if library else None
    roots = list(spec.submodule_search_locations or []) if spec else []
    return next((path for root in roots for path in Path(root).glob(f"*/lib/{library}")), None)


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
    return MachineError(trouble, "A GPU needs NVIDIA's driver (nvidia-smi shows it); without one, --device cpu.")


def _version_obstacle(ort: Any) -> MachineError | None:
    found, wanted = driver(), _cuda_of(ort)
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
