"""ONNX Runtime sessions: token ids in, logits out, on the requested execution provider and no other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import BundleError, MachineError
from toxonnx.formats import DEVICES, LAYOUTS
from toxonnx.inference.batching import Feed
from toxonnx.inference.devices import OR_CPU, Profile, provider_options, why_unavailable

__all__ = ["Session", "SessionOptions"]

#: operators that may run on the CPU in a graph that computes shapes: their results are needed there
_SHAPE_OPERATORS = {
    "Shape", "Gather", "Slice", "Concat", "Unsqueeze", "Squeeze", "Cast", "Constant", "ConstantOfShape", "Range",
    "Add", "Sub", "Mul", "Div", "Equal", "Where", "Reshape", "Expand", "Identity", "Min", "Max", "Less", "Size",
}  # fmt: skip

_FOREIGN = "The bundle was not made by toxonnx export, or was changed after that."


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """How to load a graph.

    Attributes:
        layout: of the graph, one of :data:`toxonnx.formats.LAYOUTS`.
        device: one of :data:`toxonnx.formats.DEVICES`.
        threads: CPU: cores that one call runs on.
        cuda_graphs: CUDA: prepare for :class:`toxonnx.inference.cuda_graphs.CudaGraphRunner`.
        cache: TensorRT: folder in which engines are kept.
        profiles: TensorRT: see :func:`toxonnx.inference.devices.provider_options`.
    """

    layout: str = "plain"
    device: str = "cpu"
    threads: int = 1
    cuda_graphs: bool = False
    cache: Path | None = None
    profiles: Sequence[Profile] = ()


class Session:
    """One model in ONNX Runtime, safe to call from several threads at once.

    On the CPU each call runs on the thread that makes it: one session called from N threads keeps N cores busy, shares
    one copy of the weights, and never waits at the barriers between operators that a thread pool inside the session
    has. For a single row, where latency counts, ``threads`` gives a call several cores. On a GPU one thread's batch is
    transferred while another's is computed; ONNX Runtime copies the inputs there itself, some ten bytes per token next
    to tens of millions of operations.

    Args:
        model: the ONNX file.
        labels: number of labels that the output must have.
        options: how to load it.

    Raises:
        MachineError: ONNX Runtime is not installed, or does not use the requested provider, or left operators to the
            CPU that belong on the GPU.
        BundleError: the model does not load, or its inputs and outputs are not a classifier's.
    """

    def __init__(self, model: Path, labels: int, options: SessionOptions | None = None) -> None:
        options = options or SessionOptions()
        if (missing := why_unavailable(options.device)) is not None:
            raise missing
        import onnxruntime as ort

        if options.cache:
            try:
                options.cache.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise MachineError(f"cannot create {options.cache} for TensorRT engines: {error.strerror}") from None
        settings = _session_options(ort, options)
        try:
            inputs: list[str] = []
            if options.profiles:  # TensorRT needs them before it has read the model
                reader = ort.InferenceSession(str(model), settings, providers=[DEVICES["cpu"].provider])
                inputs = [value.name for value in reader.get_inputs()]
            providers = provider_options(
                options.device, options.layout, cuda_graphs=options.cuda_graphs, cache=options.cache,
                profiles=options.profiles, inputs=inputs,
            )  # fmt: skip
            self._session = ort.InferenceSession(str(model), settings, providers=providers, enable_fallback=0)
        except Exception as error:  # the runtime's exceptions have no base class of their own
            what = f"{model} does not load in ONNX Runtime {ort.__version__} on {options.device}: {_reason(error)}"
            if DEVICES[options.device].is_gpu:
                raise MachineError(what, f"Check nvidia-smi{OR_CPU}") from None
            raise BundleError(what) from None
        self.device, self.layout, self.labels = options.device, options.layout, labels
        self._check_providers([name for name, _ in providers])
        self._types = {
            value.name: np.int32 if "int32" in value.type else np.int64 for value in self._session.get_inputs()
        }
        self._check_signature(model)

    @property
    def provider(self) -> str:
        """The execution provider in use, as the session reports it."""
        return str(self._session.get_providers()[0])

    @property
    def runtime(self) -> Any:
        """The ``onnxruntime.InferenceSession``."""
        return self._session

    def run(self, feed: Feed) -> NDArray[np.float32]:
        """Logits, float32 [rows, labels], of a batch.

        Raises:
            BundleError: the tokenizer has a token that the model lacks, or the logits have another shape.
            MachineError: ONNX Runtime failed, most often for lack of memory.
        """
        try:
            logits: NDArray[np.float32] = self._session.run(None, self.typed(feed))[0]
        except Exception as error:  # the runtime's exceptions have no base class of their own
            if "indices element out of data bounds" in str(error):
                what = "the tokenizer of this bundle gives an id that the model's embedding does not have"
                raise BundleError(what, _FOREIGN) from None
            tokens = feed["input_ids"].size
            raise MachineError(
                f"ONNX Runtime failed on {self.device}, on a batch of {tokens:,} tokens: {_reason(error)}",
                "If it ran out of memory, use smaller batches: --max-batch-tokens of predict, serve and bench.",
            ) from None
        rows = len(feed["first_tokens" if LAYOUTS[self.layout].packed else "input_ids"])
        if logits.shape != (rows, self.labels):
            what = f"the model of this bundle returns logits {logits.shape} for {rows} rows and {self.labels} labels"
            raise BundleError(what, _FOREIGN)
        return logits

    def typed(self, feed: Feed) -> dict[str, NDArray[Any]]:
        """A feed with the integer types that this graph takes."""
        arrays: dict[str, NDArray[Any]] = {
            name: array.astype(self._types[name], copy=False) for name, array in feed.items()
        }
        if "token_type_ids" in self._types:
            arrays["token_type_ids"] = np.zeros_like(arrays["input_ids"])
        return arrays

    def _check_signature(self, model: Path) -> None:
        needed, given = set(LAYOUTS[self.layout].inputs), set(self._types)
        if not needed <= given <= needed | {"token_type_ids"}:
            raise BundleError(
                f"{model} has the inputs {', '.join(sorted(given))}; a graph with the {self.layout} layout has "
                f"{', '.join(sorted(needed))}",
                _FOREIGN,
            )
        for value in self._session.get_inputs():
            rank = 1 if LAYOUTS[self.layout].packed and value.name != "token_offset" else 2
            is_fixed = any(isinstance(size, int) for size in value.shape)
            if value.type not in {"tensor(int32)", "tensor(int64)"} or len(value.shape) != rank or is_fixed:
                raise BundleError(
                    f"{model}: the input {value.name} must be integers in {rank} dimensions of any size, not "
                    f"{value.type} {value.shape}",
                    _FOREIGN,
                )
        output = next(iter(self._session.get_outputs()), None)
        if output is None or output.type != "tensor(float)" or len(output.shape) not in {0, 2}:
            returned = f"{output.type} {output.shape}" if output else "nothing"
            raise BundleError(f"{model} must return float32 logits in 2 dimensions, not {returned}", _FOREIGN)
        columns = output.shape[-1] if output.shape else None  # no shape: it is unknown before a run
        if isinstance(columns, int) and columns != self.labels:
            raise BundleError(f"{model} returns {columns} logits per row, but the manifest has {self.labels} labels")

    def _check_providers(self, wanted: list[str]) -> None:
        """Compares the providers in use with the requested ones: ONNX Runtime itself falls back silently."""
        found = self._session.get_providers()
        if found[: len(wanted)] != wanted:
            raise MachineError(
                f"ONNX Runtime uses {', '.join(found)}, but {', '.join(wanted)} was requested",
                f"toxonnx doctor --device {self.device} shows what is missing.",
            )
        if not DEVICES[self.device].is_gpu:
            return
        on_cpu = {
            node.op_type
            for part in self._session.get_provider_graph_assignment_info()
            if part.ep_name == DEVICES["cpu"].provider
            for node in part.get_nodes()
        }
        if heavy := sorted(on_cpu if LAYOUTS[self.layout].native else on_cpu - _SHAPE_OPERATORS):
            raise MachineError(
                f"{wanted[0]} leaves {', '.join(heavy)} to the CPU: this build of ONNX Runtime has no kernel for it",
                f"Export with another --layout or --precision{OR_CPU}",
            )


def _session_options(ort: Any, options: SessionOptions) -> Any:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4  # an error is raised as well, and reported once
    # A memory pattern is kept for every shape ever seen, which for rows of many lengths costs memory and saves no time.
    settings.enable_mem_pattern = False
    # Threads that spin between operators answer a single row sooner; they go to sleep soon after it is done.
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(options.threads > 1)))
    settings.add_session_config_entry("session.intra_op.spin_duration_us", "1000")
    if DEVICES[options.device].is_gpu:
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return settings


def _reason(error: Exception) -> str:
    """The runtime's message without its file names and expressions."""
    text = str(error).strip()
    cuda = re.search(r"CUDA failure \d+: [^;]*[^; ]", text)
    return cuda[0] if cuda else text
