"""Devices: which one to use, what it needs from the machine, and what of that is missing."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toxonnx.errors import InputError, MachineError
from toxonnx.extras import install_command, missing, require
from toxonnx.formats import DEVICES, LAYOUTS, REQUESTABLE_DEVICES, why_wrong_device
from toxonnx.inference.options import RuntimeOptions

__all__ = [
    "OR_CPU",
    "DeviceChoice",
    "DeviceReport",
    "Driver",
    "Profile",
    "choose_devices",
    "describe_devices",
    "provider_options",
    "query_driver",
    "why_unavailable",
]

#: the shared library of a provider
_LIBRARIES = {name: f"libonnxruntime_providers_{name}.so" for name, device in DEVICES.items() if device.is_gpu}
#: the two packages install the same files, so that uninstalling one breaks the other
_UNINSTALL_BOTH = "pip uninstall -y onnxruntime onnxruntime-gpu"
#: the end of a hint, where a bundle runs on the CPU, too
OR_CPU = ", or use --device cpu."
#: smallest, typical and largest (rows, tokens) of a batch
Profile = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
#: bits of the sdpa_kernel option
_FLASH, _EFFICIENT = 1, 2
_CUDA_SUCCESS, _NAME_LENGTH, _CAPABILITY_MAJOR, _CAPABILITY_MINOR = 0, 128, 75, 76


@dataclass(frozen=True)
class DeviceChoice:
    """Devices to try for a bundle.

    Attributes:
        devices: in this order; at least one.
        fallback: why the requested device is not among them; empty if it is.
    """

    devices: tuple[str, ...]
    fallback: str = ""


def choose_devices(options: RuntimeOptions, *, bundle: str, precision: str, layout: str) -> DeviceChoice:
    """Which devices to try, by what was asked for and what the bundle is made for. Looks at nothing else.

    Args:
        options: ``device`` and ``allow_fallback``.
        bundle: its name, for messages.
        precision, layout: of the bundle.

    Raises:
        InputError: the device is unknown, or the bundle does not run on it and no fallback is allowed.
    """
    if options.device not in REQUESTABLE_DEVICES:
        raise InputError(f"device must be one of {', '.join(REQUESTABLE_DEVICES)}, got {options.device!r}")
    wanted = "cuda" if options.device == "auto" else options.device
    optional = options.allow_fallback or options.device == "auto"
    may_fall_back = optional and DEVICES[wanted].is_gpu and "cpu" in LAYOUTS[layout].devices
    mismatch = why_wrong_device(bundle, precision, layout, wanted)
    if mismatch is None:
        return DeviceChoice((wanted, "cpu") if may_fall_back else (wanted,))
    if not may_fall_back:
        raise InputError(*mismatch)
    return DeviceChoice(("cpu",), "\n".join(mismatch))


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU: its name, memory in GB and compute capability."""

    name: str
    memory_gb: float
    compute_capability: str


@dataclass(frozen=True)
class Driver:
    """What the NVIDIA driver reports.

    Attributes:
        cuda: newest CUDA version that it supports, as (major, minor); None without a driver.
        gpus: the GPUs it sees.
        problem: why no GPU can be used; empty where one can.
    """

    cuda: tuple[int, int] | None
    gpus: tuple[Gpu, ...]
    problem: str


@dataclass(frozen=True, kw_only=True)
class DeviceReport:
    """What there is to run on.

    Attributes:
        runtime: ONNX Runtime's version and what it was built for, or why it does not load.
        driver: the NVIDIA driver in words; empty without one.
        gpus: the GPUs it sees.
        problem: why no GPU can be used; empty where one can.
        unavailable: GPU device -> why it cannot be used; empty if it can.
    """

    runtime: str
    driver: str
    gpus: tuple[Gpu, ...]
    problem: str
    unavailable: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def query_driver(load: Callable[[str], Any] = ctypes.CDLL) -> Driver:
    """Asks the driver's own library, which needs nothing else to be installed."""
    try:
        library = load("libcuda.so.1")
    except OSError:
        return Driver(None, (), "no NVIDIA driver: libcuda.so.1 does not load")
    number = ctypes.c_int()
    cuda = None
    if library.cuDriverGetVersion(ctypes.byref(number)) == _CUDA_SUCCESS:
        cuda = (number.value // 1000, number.value % 1000 // 10)
    code = library.cuInit(0)
    if code != _CUDA_SUCCESS:
        return Driver(cuda, (), f"the NVIDIA driver does not start: {_error(library, code)}")
    library.cuDeviceGetCount(ctypes.byref(number))
    gpus = tuple(_gpu(library, index) for index in range(number.value))
    return Driver(cuda, gpus, "" if gpus else "the NVIDIA driver sees no GPU (CUDA_VISIBLE_DEVICES?)")


def describe_devices() -> DeviceReport:
    """Driver, GPUs, and why a device cannot be used. Never raises."""
    found = query_driver()
    broken = None if missing("cpu") else why_unavailable("cpu")
    runtime = broken.what if broken else "not installed"
    if not broken and not missing("cpu"):
        import onnxruntime as ort

        runtime = f"onnxruntime {ort.__version__}, built for {'CUDA ' + _cuda_of(ort) if _is_gpu(ort) else 'the CPU'}"
    unavailable = {name: broken or why_unavailable(name) for name, device in DEVICES.items() if device.is_gpu}
    return DeviceReport(
        runtime=runtime,
        driver=f"NVIDIA, CUDA up to {found.cuda[0]}.{found.cuda[1]}" if found.cuda else "",
        gpus=found.gpus,
        problem=found.problem,
        unavailable={name: str(why or "").replace("\n", ". ") for name, why in unavailable.items()},
    )


def _gpu(library: Any, index: int) -> Gpu:
    handle, number, size = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(_NAME_LENGTH)
    library.cuDeviceGet(ctypes.byref(handle), index)
    library.cuDeviceGetName(name, _NAME_LENGTH, handle)
    library.cuDeviceTotalMem_v2(ctypes.byref(size), handle)
    capability = []
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        library.cuDeviceGetAttribute(ctypes.byref(number), attribute, handle)
        capability.append(number.value)
    return Gpu(
        name=name.value.decode(errors="replace"),
        memory_gb=round(size.value / 1e9, 1),
        compute_capability=".".join(map(str, capability)),
    )


def _error(library: Any, code: int) -> str:
    text = ctypes.c_char_p()
    library.cuGetErrorString(code, ctypes.byref(text))
    return f"{text.value.decode() if text.value else 'no message'} (CUDA error {code})"


def why_unavailable(device: str) -> MachineError | None:
    """Why a device cannot be used on this machine, as the error to raise; None if it can.

    Loads every library that its provider needs, because ONNX Runtime itself silently continues on the CPU where a
    provider does not load.
    """
    is_gpu = DEVICES[device].is_gpu
    if is_gpu and (problem := query_driver().problem):
        return _no_driver(problem)
    if is_gpu and missing("cpu"):
        return MachineError("this needs onnxruntime-gpu, not installed here", install_command("gpu"))
    require("cpu")
    try:
        import onnxruntime as ort
    except ImportError as error:
        return MachineError(f"onnxruntime is installed but does not load: {error}")
    if not hasattr(ort, "InferenceSession"):
        return MachineError(
            "onnxruntime is broken: parts of it were uninstalled together with onnxruntime or onnxruntime-gpu",
            f"{_UNINSTALL_BOTH}, then {install_command('cpu')}, or for a GPU {install_command('gpu')}",
        )
    if not is_gpu:
        return None
    if not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        return MachineError(
            f"onnxruntime {ort.__version__} is too old to report what runs on the GPU", install_command("gpu")
        )
    if DEVICES[device].provider not in ort.get_available_providers():
        hidden = _installed("onnxruntime-gpu")
        return MachineError(
            f"onnxruntime {ort.__version__} has no {DEVICES[device].provider}: "
            + ("it is for the CPU, and hides onnxruntime-gpu" if hidden else "it is built for the CPU only"),
            f"{_UNINSTALL_BOTH}, then {install_command('gpu')}",
        )
    return _version_problem(ort) or _library_problem(ort, device)


def _library_problem(ort: Any, device: str) -> MachineError | None:
    """Loads the provider's library and its dependencies; names the first one that is missing."""
    folder = Path(ort.__file__).parent / "capi"
    major = _cuda_of(ort).split(".")[0]
    shared = "libonnxruntime_providers_shared.so"  # the other two use its symbols
    _load(shared, folder / shared, ctypes.RTLD_GLOBAL)
    with contextlib.suppress(OSError):
        _load(f"libnvrtc.so.{major}")  # cuDNN compiles some of its kernels, and asks for it by name
    wanted = {
        # The provider loads it on first use, and without it attention silently uses a slower kernel.
        "libcudnn.so.9": None,
        **{_LIBRARIES[name]: folder / _LIBRARIES[name] for name in dict.fromkeys(("cuda", device))},
    }
    for name, path in wanted.items():
        try:
            _load(name, path)
        except OSError as error:
            what = f"{DEVICES[device].provider} of onnxruntime {ort.__version__}"
            absent = _missing_in(error)
            if absent.startswith("libcuda.so"):
                return _no_driver(query_driver().problem or str(error))
            if absent:
                return MachineError(
                    f"{what} needs {absent}, which is not installed", _how_to_install(absent, _cuda_of(ort))
                )
            return MachineError(f"{what} does not load: {error}")
    return None


def _load(name: str, path: Path | None = None, mode: int = ctypes.DEFAULT_MODE) -> None:
    """Loads a library, and its dependencies from wherever Python packages have installed them.

    Pip installs CUDA's libraries where the system's loader does not look; one that is already loaded is found by name.

    Raises:
        OSError: it, or one that it needs, is not found.
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
    """The library that the loader's message calls missing; "" for another message."""
    absent = re.match(r"(lib[\w.+-]+\.so[\w.]*): cannot open", str(error))
    return absent[1] if absent else ""


def _in_packages(library: str) -> Path | None:
    """A library in one of NVIDIA's Python packages."""
    spec = find_spec("nvidia") if library else None
    roots = list(spec.submodule_search_locations or []) if spec else []
    return next((path for root in roots for path in Path(root).glob(f"*/lib/{library}")), None)


def _how_to_install(library: str, cuda: str) -> str:
    if library.startswith(("libnvinfer", "libnvonnxparser")):
        major = library.rpartition(".")[2]
        return (
            f"It is part of TensorRT {major} for CUDA {cuda.split('.')[0]}; its folder has to be on LD_LIBRARY_PATH. "
            "--device cuda does not need it."
        )
    what = "cuDNN 9" if library.startswith("libcudnn") else f"CUDA {cuda}"
    return f"It is part of {what}: pip install 'onnxruntime-gpu[cuda,cudnn]'{OR_CPU}"


def _no_driver(problem: str) -> MachineError:
    return MachineError(problem, f"A GPU needs NVIDIA's driver: check it with nvidia-smi{OR_CPU}")


def _version_problem(ort: Any) -> MachineError | None:
    found, wanted = query_driver(), _cuda_of(ort)
    major = wanted.split(".")[0]
    if found.cuda and major.isdigit() and found.cuda[0] < int(major):
        return MachineError(
            f"the NVIDIA driver supports CUDA up to {found.cuda[0]}.{found.cuda[1]}; onnxruntime {ort.__version__} is "
            f"built for CUDA {wanted}",
            "Install a newer driver, or an onnxruntime-gpu built for this one.",
        )
    return None


def _is_gpu(ort: Any) -> bool:
    return DEVICES["cuda"].provider in ort.get_available_providers()


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
    cuda_graphs: bool = False,
    cache: Path | None = None,
    profiles: Sequence[Profile] = (),
    inputs: Sequence[str] = (),
) -> list[tuple[str, dict[str, str]]]:
    """Execution providers with their options, in order of preference.

    Args:
        device: one of :data:`toxonnx.formats.DEVICES`.
        layout: of the graph.
        cuda_graphs: capture CUDA graphs, for calls with fixed shapes at fixed addresses.
        cache: TensorRT: folder for engines and timings; building an engine takes minutes.
        profiles: TensorRT: the shapes, (rows, tokens), that an engine is built for.
        inputs: TensorRT: names of the model's inputs, all of that shape.
    """
    # Memory grows by what is requested, not in powers of two. TF32 would reduce fp32's mantissa to 10 bits.
    cuda = {
        "arena_extend_strategy": "kSameAsRequested", "use_tf32": "0", "enable_cuda_graph": str(int(cuda_graphs)),
        # Recent runtimes always accumulate in fp32 here; older ones would silently overflow in fp16.
        "enable_skip_layer_norm_strict_mode": "1",
    }  # fmt: skip
    if LAYOUTS[layout].packed:
        # Flash attention, or else the memory-efficient kernel: by default the runtime uses flash for packed rows of
        # over 512 tokens only. Other layouts keep the default: any choice would exclude cuDNN's attention.
        cuda["sdpa_kernel"] = str(_FLASH | _EFFICIENT)
    if device == "cpu":
        return [(DEVICES["cpu"].provider, {})]
    if device == "cuda":
        return [(DEVICES["cuda"].provider, cuda)]
    tensorrt: dict[str, str] = {}
    if cache:
        tensorrt |= {
            "trt_engine_cache_enable": "True", "trt_engine_cache_path": str(cache),
            "trt_timing_cache_enable": "True", "trt_timing_cache_path": str(cache),
        }  # fmt: skip
    for position, name in enumerate(("min", "opt", "max")):
        shapes = [f"{key}:{profile[position][0]}x{profile[position][1]}" for profile in profiles for key in inputs]
        if shapes:
            tensorrt[f"trt_profile_{name}_shapes"] = ",".join(shapes)
    return [(DEVICES["tensorrt"].provider, tensorrt), (DEVICES["cuda"].provider, cuda)]
