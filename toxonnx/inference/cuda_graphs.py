"""Small batches on a GPU as CUDA graphs: the whole model in one launch, from buffers at fixed addresses.

A single row keeps a GPU busy for less time than it takes to launch the model's hundred kernels one by one. A CUDA graph
replays all of them at once, for one set of shapes. Small batches are therefore padded to one of a few shapes, each with
its own buffers on the device; the first runs of a shape capture its graph.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import MachineError
from toxonnx.inference.batching import Feed, PackedBatcher
from toxonnx.inference.session import Session
from toxonnx.inference.tokenizer import Tokens

__all__ = ["SMALL_BATCH", "CudaGraphRunner", "pad_to_fixed_shape"]

#: rows in a small batch, and tokens in all of its rows, at most
SMALL_BATCH, SMALL_BATCH_TOKENS = 8, 1024
#: numbers of tokens that small packed batches are padded to
PADDED_SIZES = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1280)


def pad_to_fixed_shape(ids: NDArray[np.int32], lengths: NDArray[np.int64], pad_id: int) -> Feed | None:
    """A packed batch of one of a few shapes, padded with rows of padding tokens.

    Args:
        ids: int32 [tokens], all rows concatenated.
        lengths: int64 [rows].
        pad_id: the padding token.

    Returns:
        The inputs of the packed layout, the given rows first; None if there are too many rows or tokens.
    """
    if len(lengths) > SMALL_BATCH or len(ids) > SMALL_BATCH_TOKENS:
        return None
    rows = 2 if len(lengths) == 1 else SMALL_BATCH + 1
    padding_rows = rows - len(lengths)
    size = next(size for size in PADDED_SIZES if size >= len(ids) + padding_rows)
    padding = np.ones(padding_rows, dtype=np.int64)
    padding[-1] = size - len(ids) - (padding_rows - 1)
    padded = np.full(size, pad_id, dtype=np.int32)
    padded[: len(ids)] = ids
    # As wide as if one row had all tokens: the shapes must not depend on how the tokens are divided into rows.
    feed = PackedBatcher.inputs(padded, np.concatenate([lengths, padding]), longest=size)
    feed["position_ids"][len(ids) :] = 0  # the padding may be longer than the model has positions
    return feed


class CudaGraphRunner:
    """Runs small batches of a packed graph from fixed buffers; on CUDA, as captured graphs. Runs one call at a time.

    Args:
        session: with the packed layout, and on CUDA made with ``cuda_graphs``.
        pad_id: the padding token.
    """

    def __init__(self, session: Session, pad_id: int) -> None:
        self._session, self._pad_id = session, pad_id
        # ONNX Runtime keeps graphs per thread, and would capture each one again for every calling thread.
        self._thread = ThreadPoolExecutor(1)
        self._buffers: dict[tuple[int, ...], _GraphBuffers] = {}

    def run(
        self, tokens: Tokens, exclusive: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> NDArray[np.float32] | None:
        """Logits, float32 [texts, labels]; None if there are too many texts or tokens.

        Args:
            tokens: the texts' tokens.
            exclusive: a context entered while a graph is captured: no other work may run on the GPU then.

        Raises:
            MachineError: a graph could not be captured or replayed.
        """
        feed = pad_to_fixed_shape(tokens.ids, tokens.lengths, self._pad_id)
        if feed is None:
            return None
        return self._thread.submit(self._replay, feed, exclusive).result()[: len(tokens.lengths)]

    def _replay(self, feed: Feed, exclusive: Callable[[], AbstractContextManager[None]]) -> NDArray[np.float32]:
        shape = feed["token_offset"].shape
        try:
            if shape in self._buffers:
                return self._buffers[shape].run(feed)
            with exclusive():
                buffers = self._buffers[shape] = _GraphBuffers(self._session, feed, len(self._buffers) + 1)
                return buffers.run(feed)
        except Exception as error:  # the runtime's exceptions have no base class of their own
            raise MachineError(f"a CUDA graph could not be captured or replayed: {error}") from None


class _GraphBuffers:
    """Buffers on the device for one shape, bound once."""

    def __init__(self, session: Session, feed: Feed, number: int) -> None:
        import onnxruntime as ort

        device = "cuda" if session.device == "cuda" else "cpu"
        arrays = session.typed(feed)
        self._session = session
        # Copies: on the CPU a buffer would share the array's memory with its other users.
        self._inputs = {
            name: ort.OrtValue.ortvalue_from_numpy(np.array(array), device, 0) for name, array in arrays.items()
        }
        rows = len(feed["first_tokens"])
        self._logits = ort.OrtValue.ortvalue_from_shape_and_type([rows, session.labels], np.float32, device, 0)
        self._binding: Any = session.runtime.io_binding()
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        self._binding.bind_ortvalue_output("logits", self._logits)
        self._options = ort.RunOptions()
        # Each set of shapes has its own graph.
        self._options.add_run_config_entry("gpu_graph_id", str(number))

    def run(self, feed: Feed) -> NDArray[np.float32]:
        for name, array in self._session.typed(feed).items():
            self._inputs[name].update_inplace(array)
        self._session.runtime.run_with_iobinding(self._binding, self._options)
        logits: NDArray[np.float32] = np.array(self._logits.numpy())  # a copy: the buffer is reused
        return logits
