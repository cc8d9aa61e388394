"""ONNX Runtime sessions: token ids in, logits out, on the provider that was asked for and no other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.batches import Feed
from toxonnx.bundle import EMULATED
from toxonnx.devices import GPU, PROVIDERS, Profile, obstacle, provider_options
from toxonnx.errors import BundleError, MachineError

__all__ = ["INPUTS", "Session"]

#: layout of a graph -> the inputs that it has to have
INPUTS = {
    "plain": {"input_ids", "attention_mask"},
    "fused": {"input_ids", "attention_mask"},
    "packed": {"input_ids", "position_ids", "first_tokens", "cu_seqlens", "token_offset"},
}
INPUTS[EMULATED] = INPUTS["packed"]
#: where a graph that computes shapes may run them: beside the GPU, as they are needed on the CPU
_SHAPE_OPERATORS = {
    "Shape", "Gather", "Slice", "Concat", "Unsqueeze", "Squeeze", "Cast", "Constant", "ConstantOfShape", "Range",
    "Add", "Sub", "Mul", "Div", "Equal", "Where", "Reshape", "Expand", "Identity", "Min", "Max", "Less", "Size",
}  # fmt: skip


class Session:
    """One model in ONNX Runtime, to be called from several threads at once.

    On the CPU each call runs on the thread that makes it: one session called from N threads keeps N cores busy, shares
    one copy of the weights, and never waits at the barriers between operators that a pool of threads inside the session
    has. For a lone row, which has to be fast and not many, ``threads`` gives a call several cores. On a GPU a second
    thread's batch is on its way while the first one's is computed. The runtime copies inputs there itself: they are
    some ten bytes a token, beside tens of millions of operations.

    Args:
        model: the ONNX file.
        labels: number of labels the output has to have.
        layout: of the graph, out of INPUTS.
        device: ``cpu``, ``cuda`` or ``tensorrt``.
        threads: cores that one call runs on, on the CPU.
        graphs: prepare for :class:`toxonnx.captured.Captured`.
        cache: TensorRT: where engines are kept.
        profiles: TensorRT: see :func:`toxonnx.devices.provider_options`.

    Raises:
        MachineError: ONNX Runtime is not installed, or did not take the provider asked for, or left to the CPU what
            belongs on the GPU.
        BundleError: the model does not load, or its inputs and outputs are not a classifier's.
    """

    def __init__(
        self,
        model: Path,
        labels: int,
        *,
        layout: str = "plain",
        device: str = "cpu",
        threads: int = 1,
        graphs: bool = False,
        cache: Path | None = None,
        profiles: Sequence[Profile] = (),
    ) -> None:
        if (missing := obstacle(device)) is not None:
            raise missing
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A pattern is kept for every shape that was ever met, which on ragged rows costs memory and saves no time.
        options.enable_mem_pattern = False
        # Threads that spin between operators answer a lone row sooner; they go to sleep soon after it is answered.
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(threads > 1)))
        options.add_session_config_entry("session.intra_op.spin_duration_us", "1000")
        if device in GPU:
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if cache:
            try:
                cache.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise MachineError(f"no folder {cache} for TensorRT's engines: {error.strerror}") from None
        try:
            names: list[str] = []
            if profiles:  # TensorRT wants to know them before it has read the model
                plain = ort.InferenceSession(str(model), options, providers=[PROVIDERS["cpu"]])
                names = [value.name for value in plain.get_inputs()]
            wanted = provider_options(device, layout, graphs=graphs, cache=cache, profiles=profiles, inputs=names)
            self._session = ort.InferenceSession(str(model), options, providers=wanted, enable_fallback=0)
        except Exception as error:  # the runtime's exceptions share no base class of their own
            what = f"{model} does not load in ONNX Runtime {ort.__version__} on {device}: {_reason(error)}"
            if device in GPU:
                raise MachineError(what, "See what nvidia-smi says, or use --device cpu.") from None
            raise BundleError(what) from None
        self.device, self.layout = device, layout
        self._check_providers([name for name, _ in wanted])
        self._types = {
            value.name: np.int32 if "int32" in value.type else np.int64 for value in self._session.get_inputs()
        }
        needed, given = INPUTS[layout], set(self._types)
        if not needed <= given <= needed | {"token_type_ids"}:
            raise BundleError(
                f"{model} takes {', '.join(sorted(given))}; a graph of the layout {layout} takes "
                f"{', '.join(sorted(needed))}"
            )
        shape = self._session.get_outputs()[0].shape
        if isinstance(shape[-1], int) and shape[-1] != labels:
            raise BundleError(f"{model} gives {shape[-1]} logits a row, the manifest names {labels} labels")
        self.labels = labels

    @property
    def provider(self) -> str:
        """The provider that the session runs on, as it says itself."""
        return str(self._session.get_providers()[0])

    @property
    def runtime(self) -> Any:
        """The ``onnxruntime.InferenceSession``."""
        return self._session

    def run(self, feed: Feed) -> NDArray[np.float32]:
        """Logits, float32 [rows, labels], of a batch.

        Raises:
            MachineError: the runtime failed: mostly, there was no memory.
        """
        try:
            logits: NDArray[np.float32] = self._session.run(None, self.typed(feed))[0]
        except Exception as error:  # the runtime's exceptions share no base class of their own
            tokens = feed["input_ids"].size
            raise MachineError(
                f"ONNX Runtime failed on {self.device}, on a batch of {tokens:,} tokens: {_reason(error)}",
                "If memory ran out, a smaller --batch-tokens needs less.",
            ) from None
        return logits

    def typed(self, feed: Feed) -> dict[str, NDArray[Any]]:
        """A feed with the integers that this graph takes."""
        arrays: dict[str, NDArray[Any]] = {
            name: array.astype(self._types[name], copy=False) for name, array in feed.items()
        }
        if "token_type_ids" in self._types:
            arrays["token_type_ids"] = np.zeros_like(arrays["input_ids"])
        return arrays

    def _check_providers(self, wanted: list[str]) -> None:
        """Compares what the session runs on with what was asked for: the runtime itself falls back without a word."""
        found = self._session.get_providers()
        if found[: len(wanted)] != wanted:
            raise MachineError(
                f"ONNX Runtime runs on {', '.join(found)}; {', '.join(wanted)} was asked for",
                "toxonnx doctor --device " + self.device + " shows what is missing.",
            )
        if self.device not in GPU:
            return
        left = {
            node.op_type
            for part in self._session.get_provider_graph_assignment_info()
            if part.ep_name == PROVIDERS["cpu"]
            for node in part.get_nodes()
        }
        if heavy := sorted(left - _SHAPE_OPERATORS if self.layout == "plain" else left):
            raise MachineError(
                f"{wanted[0]} leaves {', '.join(heavy)} to the CPU: this build of ONNX Runtime has no kernel for it",
                "Export with another --layout or --precision, or use --device cpu.",
            )


def _reason(error: Exception) -> str:
    """What went wrong, without the runtime's file names and expressions around it."""
    text = str(error).strip()
    cuda = re.search(r"CUDA failure \d+: [^;]*[^; ]", text)
    return cuda[0] if cuda else text
