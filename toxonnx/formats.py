"""Precisions, graph layouts and devices: what each one is, and which of them go together."""

from __future__ import annotations

from dataclasses import dataclass

from toxonnx.errors import InputError

__all__ = [
    "DEVICES",
    "EMULATED",
    "LAYOUTS",
    "PRECISIONS",
    "REQUESTABLE_DEVICES",
    "Device",
    "Layout",
    "Precision",
    "check_precision_and_layout",
    "why_wrong_device",
]


@dataclass(frozen=True, kw_only=True)
class Device:
    """A kind of processor that ONNX Runtime runs on.

    Attributes:
        name: its name in options.
        provider: ONNX Runtime's execution provider.
        is_gpu: whether it is a GPU.
        max_batch_tokens: default number of tokens in a batch: small for the caches of a core, large enough to occupy a
            GPU, and limited for TensorRT, which reserves memory for the largest shape.
    """

    name: str
    provider: str
    is_gpu: bool
    max_batch_tokens: int


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Number format of a bundle's weights and products.

    Attributes:
        name: its name in options.
        devices: where it runs.
        tolerance: difference of a probability from PyTorch's that a self-test always accepts.
        export_tolerance: the same from the exported model's own: kernels of other processors round fp32 otherwise,
            which can change how values are rounded to int8.
        dtype: what transformers.js calls it.
        hub_file: name of the ONNX file on the Hugging Face Hub, as transformers.js looks for it by the dtype.
    """

    name: str
    devices: tuple[str, ...]
    tolerance: float
    export_tolerance: float
    dtype: str
    hub_file: str


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a graph takes a batch.

    Attributes:
        name: its name in options.
        inputs: names of the graph's required inputs.
        precisions: number formats that it is exported in.
        devices: where it runs.
        packed: rows are concatenated, without padding.
        native: made of ONNX Runtime's fused operators, for GPUs; else of standard operators.
        exported: whether it can be asked for; False for the stand-in that checks a packed graph without a GPU.
    """

    name: str
    inputs: tuple[str, ...]
    precisions: tuple[str, ...]
    devices: tuple[str, ...]
    packed: bool = False
    native: bool = True
    exported: bool = True


DEVICES = {
    device.name: device
    for device in (
        Device(name="cpu", provider="CPUExecutionProvider", is_gpu=False, max_batch_tokens=512),
        Device(name="cuda", provider="CUDAExecutionProvider", is_gpu=True, max_batch_tokens=1 << 15),
        Device(name="tensorrt", provider="TensorrtExecutionProvider", is_gpu=True, max_batch_tokens=1 << 13),
    )
}
#: what may be asked for; ``auto`` is CUDA where bundle and machine allow it, else the CPU
REQUESTABLE_DEVICES = (*DEVICES, "auto")

PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision(
            name="fp32", devices=("cpu", "cuda", "tensorrt"), tolerance=0.005, export_tolerance=0.005, dtype="fp32",
            hub_file="model.onnx",
        ),
        Precision(
            name="int8", devices=("cpu",), tolerance=0.05, export_tolerance=0.005, dtype="q8",
            hub_file="model_quantized.onnx",
        ),
        Precision(
            name="fp16", devices=("cpu", "cuda", "tensorrt"), tolerance=0.005, export_tolerance=0.01, dtype="fp16",
            hub_file="model_fp16.onnx",
        ),
    )
}  # fmt: skip

#: the packed layout in standard operators, which run anywhere: verifies a packed graph where there is no GPU
EMULATED = "packed-emulated"
_PADDED_INPUTS = ("input_ids", "attention_mask")
_PACKED_INPUTS = ("input_ids", "position_ids", "first_tokens", "cu_seqlens", "token_offset")
LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            name="plain", inputs=_PADDED_INPUTS, precisions=("fp32", "int8", "fp16"),
            devices=("cpu", "cuda", "tensorrt"), native=False,
        ),
        Layout(name="fused", inputs=_PADDED_INPUTS, precisions=("fp32", "fp16"), devices=("cpu", "cuda")),
        Layout(name="packed", inputs=_PACKED_INPUTS, precisions=("fp32", "fp16"), devices=("cuda",), packed=True),
        Layout(
            name=EMULATED, inputs=_PACKED_INPUTS, precisions=("fp32", "fp16"), devices=("cpu",), packed=True,
            exported=False,
        ),
    )
}  # fmt: skip


def check_precision_and_layout(precision: str, layout: str) -> None:
    """Checks that a bundle can be exported so.

    Raises:
        InputError: one of them is unknown, or they do not go together.
    """
    exported = [name for name, one in LAYOUTS.items() if one.exported]
    for what, value, known in (("precision", precision, list(PRECISIONS)), ("layout", layout, exported)):
        if value not in known:
            raise InputError(f"{what} must be one of {', '.join(known)}, got {value!r}")
    if precision not in LAYOUTS[layout].precisions:
        raise InputError(
            f"the {layout} layout is for GPUs, and {precision} (the default precision) is for the CPU",
            'Add --precision fp16, or precision = "fp16" in the recipe.',
        )


def why_wrong_device(bundle: str, precision: str, layout: str, device: str) -> tuple[str, str] | None:
    """Why a bundle cannot run on a device: what is wrong and what to do; None if it can.

    Args:
        bundle: its name, for the message.
        precision, layout: of the bundle.
        device: one of :data:`DEVICES`.
    """
    if device == "cpu" and layout == "packed":
        return (
            f"{bundle} has the packed layout, which has kernels for CUDA only",
            "Add --device cuda, or export with --layout fused or plain.",
        )
    if device not in PRECISIONS[precision].devices:
        return (
            f"{bundle} is {precision}, whose matrix products have no CUDA kernels: they would run on the CPU",
            "For a GPU, export with --precision fp16 --layout packed; int8 runs with --device cpu.",
        )
    if device not in LAYOUTS[layout].devices:
        return (
            f"{bundle} has the {layout} layout, made of ONNX Runtime's own operators, which TensorRT does not have",
            "Export with --layout plain for TensorRT, or use --device cuda.",
        )
    return None
