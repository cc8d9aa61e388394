"""Few rows at a time on a GPU: the whole model as one launch, from buffers that stay where they are.

A row alone keeps a GPU busy for less time than it takes to launch the model's hundred kernels one by one. A CUDA graph
replays all of them at once, for one set of shapes, from and to fixed addresses. So small batches are brought to one of
a few shapes, each with buffers of its own on the device; the first runs at a shape capture its graph.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.batches import Feed, Packed
from toxonnx.errors import MachineError
from toxonnx.sessions import Session
from toxonnx.tokens import Tokens

__all__ = ["FEW", "Captured", "bucketed"]

#: rows that are few, and the most tokens they may have together
FEW, FEW_TOKENS = 8, 1024
#: the sizes that packed batches are filled up to
TOKENS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1280)


def bucketed(ids: NDArray[np.int32], lengths: NDArray[np.int64], pad_id: int) -> Feed | None:
    """A packed batch of one of a few shapes: filled up with rows of padding, each of one token at least.

    Args:
        ids: int32 [tokens], of all rows end to end.
        lengths: int64 [rows].
        pad_id: what fills up.

    Returns:
        The inputs of the packed layout, the given rows first; None where rows or tokens are too many.
    """
    if len(lengths) > FEW or len(ids) > FEW_TOKENS:
        return None
    rows = 2 if len(lengths) == 1 else FEW + 1
    fillers = rows - len(lengths)
    size = next(size for size in TOKENS if size >= len(ids) + fillers)
    filling = np.ones(fillers, dtype=np.int64)
    filling[-1] = size - len(ids) - (fillers - 1)
    filled = np.full(size, pad_id, dtype=np.int32)
    filled[: len(ids)] = ids
    # As wide as if one row had all tokens: the shapes must not depend on how these are divided.
    feed = Packed.inputs(filled, np.concatenate([lengths, filling]), longest=size)
    feed["position_ids"][len(ids) :] = 0  # a filling may be longer than the model has positions
    return feed


class Captured:
    """Runs small batches of a packed graph from fixed buffers; on CUDA, as captured graphs. One call at a time.

    Args:
        session: of the packed layout, made with ``graphs`` where it is on CUDA.
        pad_id: what fills batches up.
    """

    def __init__(self, session: Session, pad_id: int) -> None:
        self._session, self._pad_id = session, pad_id
        # The runtime keeps graphs by thread, and would capture each anew for every thread that calls.
        self._thread = ThreadPoolExecutor(1)
        self._slots: dict[tuple[int, ...], _Slot] = {}

    def run(
        self, tokens: Tokens, alone: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> NDArray[np.float32] | None:
        """Logits, float32 [texts, labels]; None where the texts are too many or too long together.

        Args:
            tokens: of the texts.
            alone: what is entered while a graph is captured, which bears no other work on the GPU.

        Raises:
            MachineError: a graph could not be captured or replayed.
        """
        feed = bucketed(tokens.ids, tokens.lengths, self._pad_id)
        if feed is None:
            return None
        return self._thread.submit(self._replay, feed, alone).result()[: len(tokens.lengths)]

    def _replay(self, feed: Feed, alone: Callable[[], AbstractContextManager[None]]) -> NDArray[np.float32]:
        shape = feed["token_offset"].shape
        try:
            if shape in self._slots:
                return self._slots[shape].run(feed)
            with alone():
                slot = self._slots[shape] = _Slot(self._session, feed, len(self._slots) + 1)
                return slot.run(feed)
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise MachineError(f"a CUDA graph could not be captured or replayed: {error}") from None


class _Slot:
    """Buffers on the device for one shape, bound once."""

    def __init__(self, session: Session, feed: Feed, number: int) -> None:
        import onnxruntime as ort

        device = "cuda" if session.device == "cuda" else "cpu"
        arrays = session.typed(feed)
        self._session = session
        # Copies: on the CPU a buffer would be the array itself, which others hold too.
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
        # Each set of shapes has a graph of its own.
        self._options.add_run_config_entry("gpu_graph_id", str(number))

    def run(self, feed: Feed) -> NDArray[np.float32]:
        for name, array in self._session.typed(feed).items():
            self._inputs[name].update_inplace(array)
        self._session.runtime.run_with_iobinding(self._binding, self._options)
        logits: NDArray[np.float32] = np.array(self._logits.numpy())  # a copy: the buffer is used again
        return logits
