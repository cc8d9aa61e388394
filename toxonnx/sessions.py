"""ONNX Runtime sessions: token ids in, logits out, on the provider that was asked for and no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import BundleError, MachineError
from toxonnx.extras import require

__all__ = ["Session"]


class Session:
    """One model in ONNX Runtime on the CPU, to be called from several threads at once.

    Each call runs on the thread that makes it: one session called from N threads keeps N cores busy, shares one copy
    of the weights, and never waits at the barriers between operators that a pool of threads inside the session has.
    For a lone row, which has to be fast and not many, ``threads`` gives a call several cores.

    Args:
        model: the ONNX file.
        labels: number of labels the output has to have.
        threads: cores that one call runs on.

    Raises:
        MachineError: ONNX Runtime is not installed, or did not take the provider asked for.
        BundleError: the model does not load, or its inputs and outputs are not a classifier's.
    """

    def __init__(self, model: Path, labels: int, *, threads: int = 1) -> None:
        require("cpu")
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise MachineError(f"onnxruntime is installed and does not load: {error}") from None

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A pattern is kept for every shape that was ever met, which on ragged rows costs memory and saves no time.
        options.enable_mem_pattern = False
        # Threads that spin between operators answer a lone row sooner; they go to sleep soon after it is answered.
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(threads > 1)))
        options.add_session_config_entry("session.intra_op.spin_duration_us", "1000")
        wanted = ["CPUExecutionProvider"]
        try:
            self._session = ort.InferenceSession(str(model), options, providers=wanted)
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise BundleError(f"{model} does not load in ONNX Runtime {ort.__version__}: {error}") from None
        if self._session.get_providers() != wanted:
            raise MachineError(f"ONNX Runtime runs on {self._session.get_providers()}, asked for {wanted}")
        self.provider = wanted[0]
        self._inputs = [value.name for value in self._session.get_inputs()]
        known = {"input_ids", "attention_mask", "token_type_ids"}
        if not {"input_ids", "attention_mask"} <= set(self._inputs) <= known:
            raise BundleError(f"{model} takes {', '.join(self._inputs)}, a classifier takes {', '.join(sorted(known))}")
        shape = self._session.get_outputs()[0].shape
        if isinstance(shape[-1], int) and shape[-1] != labels:
            raise BundleError(f"{model} gives {shape[-1]} logits a row, the manifest names {labels} labels")

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits, float32 [rows, labels], of a batch (both arguments int64 [rows, tokens])."""
        feed = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._inputs:
            feed["token_type_ids"] = np.zeros_like(input_ids)
        logits: NDArray[np.float32] = self._session.run(None, feed)[0]
        return logits
