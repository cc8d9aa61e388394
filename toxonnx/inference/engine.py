"""Runs a bundle's model on a device: chooses the device, loads its session, and forms batches for it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toxonnx.bundle import Bundle
from toxonnx.errors import GateError, MachineError
from toxonnx.formats import DEVICES, LAYOUTS
from toxonnx.inference.batching import Batcher, EqualLengthBatcher, PackedBatcher, PaddedBatcher
from toxonnx.inference.cuda_graphs import SMALL_BATCH, CudaGraphRunner
from toxonnx.inference.devices import OR_CPU, Profile, choose_devices
from toxonnx.inference.options import ExecutionSettings, RuntimeOptions
from toxonnx.inference.session import Session, SessionOptions
from toxonnx.inference.tokenizer import Tokens
from toxonnx.manifest import Manifest
from toxonnx.resources import cache_folder
from toxonnx.system import available_cores

__all__ = ["Engine"]

#: texts that are sorted by length together: on the CPU per thread, and at least; on a GPU
CHUNK_PER_THREAD, MIN_CHUNK, GPU_CHUNK = 256, 1024, 1 << 13
#: batches on their way to a GPU: one is computed while the next is transferred
GPU_THREADS = 2
#: tokenizer processes for a GPU, at most
MAX_TOKENIZER_PROCESSES = 16
#: seconds without a call after which the cores have gone to sleep
IDLE_SECONDS = 0.005


class Engine:
    """A bundle's model, loaded on a device. Safe to share between threads.

    Args:
        bundle: an opened bundle.
        options: how to run it; ``chunk_size`` is only passed on to :attr:`settings`.

    Raises:
        InputError: the bundle does not run on the device.
        MachineError: the machine lacks something that the device needs.
        GateError: (while scoring) the model produced NaN or infinite logits.

    Attributes:
        batcher: how rows become batches.
        small_batch: up to this many texts are worth :meth:`run_small_batch`.
    """

    def __init__(self, bundle: Bundle, options: RuntimeOptions | None = None) -> None:
        self._bundle, self._options = bundle, options or RuntimeOptions()
        manifest = bundle.manifest
        choice = choose_devices(
            self._options, bundle=manifest.name, precision=manifest.precision, layout=manifest.layout
        )
        self._session, fallback = self._load_first(choice.devices, choice.fallback)
        self.batcher = _batcher(manifest, self._session.device, self._batch_tokens(self._session.device))
        self._settings = self._choose_settings(fallback)
        self.small_batch = SMALL_BATCH if self._uses_cuda_graphs else 1
        self._small_batch_runner: Session | CudaGraphRunner | None = None
        self._small_batch_problem = ""
        self._lock, self._gpu_lock = threading.Lock(), _SharedLock()
        self._last_call = -math.inf

    def _load_first(self, devices: tuple[str, ...], fallback: str) -> tuple[Session, str]:
        """The session on the first device that works, and why the ones before it do not."""
        *preferred, last = devices
        for device in preferred:
            try:
                return self._load(device), fallback
            except MachineError as error:
                fallback = str(error)
        try:
            return self._load(last), fallback
        except MachineError as error:
            if LAYOUTS[self._bundle.manifest.layout].packed and DEVICES[last].is_gpu:
                no_fallback = (
                    "The packed layout runs on CUDA only, so there is no fallback; a bundle exported with "
                    "--layout fused has one."
                )
                advice = f"{error.hint.removesuffix(OR_CPU).removesuffix('.')}." if error.hint else ""
                error.hint = "\n".join(filter(None, (advice, no_fallback)))
            raise

    def _choose_settings(self, fallback: str) -> ExecutionSettings:
        manifest, options, device = self._bundle.manifest, self._options, self._session.device
        cores, on_gpu = available_cores(), DEVICES[device].is_gpu
        threads = options.threads or (GPU_THREADS if on_gpu else cores)
        processes = min(cores - 1, MAX_TOKENIZER_PROCESSES) if on_gpu and cores > 2 else 0
        return ExecutionSettings(
            precision=manifest.precision,
            layout=manifest.layout,
            device=device,
            provider=self._session.provider,
            fallback=fallback,
            threads=threads,
            cuda_graphs="",
            tokenizer_processes=processes if options.tokenizer_processes is None else options.tokenizer_processes,
            max_batch_tokens=self.batcher.max_tokens,
            chunk_size=options.chunk_size or (GPU_CHUNK if on_gpu else self._cpu_chunk_size(threads)),
        )

    def _cpu_chunk_size(self, threads: int) -> int:
        size, cascade = max(MIN_CHUNK, CHUNK_PER_THREAD * threads), self._bundle.manifest.cascade
        if cascade and self._options.cascade:  # only some of the texts get to the model; its batches are as full
            size = max(size, min(GPU_CHUNK, round(size / max(1 - cascade.early, 1e-9))))
        return size

    @property
    def settings(self) -> ExecutionSettings:
        """How texts are scored on this machine."""
        captured = "captured" if isinstance(self._small_batch_runner, CudaGraphRunner) else ""
        return dataclasses.replace(self._settings, cuda_graphs=self._small_batch_problem or captured)

    def batches(self, lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """See :meth:`toxonnx.inference.batching.Batcher.batches`."""
        return self.batcher.batches(lengths)

    def run(self, tokens: Tokens, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits, float32 [rows, labels], of a batch of some of the texts."""
        with self._gpu_lock.shared():
            return self._checked(self._session.run(self.batcher.feed(tokens, rows))[: len(rows)])

    def run_small_batch(self, tokens: Tokens) -> NDArray[np.float32]:
        """Logits of a few texts, float32 [texts, labels], with the lowest latency.

        On the CPU, single texts in quick succession run on all threads each; the first such call loads the model a
        second time. After a pause a single text runs on one thread: waking the other cores costs more than they save.
        On CUDA a second session replays captured graphs.
        """
        runner = self._low_latency_runner()
        logits = None
        if isinstance(runner, Session):
            if len(tokens.lengths) == 1:
                logits = runner.run(self.batcher.feed(tokens, np.arange(1)))
        elif runner is not None:
            try:
                logits = runner.run(tokens, self._gpu_lock.exclusive)
            except MachineError as error:
                self._give_up(error)
        if logits is None:
            logits = self.run(tokens, np.arange(len(tokens.lengths)))
        self._last_call = time.monotonic()
        return self._checked(logits)

    def _checked(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same logits if they are finite: values beyond the range of fp16 end as NaN or infinity."""
        if not np.isfinite(logits).all():
            manifest = self._bundle.manifest
            raise GateError(
                f"{manifest.name} ({manifest.precision}) produced NaN or infinite logits on {self._session.device}",
                "Export with --precision fp32." if manifest.precision == "fp16" else "Export it again.",
            )
        return logits

    def _low_latency_runner(self) -> Session | CudaGraphRunner | None:
        """What runs small batches, loaded on first use; None for the ordinary session."""
        if self._small_batch_problem or not (self._uses_cuda_graphs or self._cores_are_awake):
            return None
        with self._lock:
            if self._small_batch_runner is None and not self._small_batch_problem:
                try:
                    if self._uses_cuda_graphs:
                        session = self._load("cuda", cuda_graphs=True)
                        self._small_batch_runner = CudaGraphRunner(session, self._bundle.manifest.pad_id)
                    else:
                        self._small_batch_runner = self._load("cpu", threads=self._settings.threads)
                except MachineError as error:  # out of memory, for example: slower, but it works
                    self._give_up(error)
        return self._small_batch_runner

    def _give_up(self, error: MachineError) -> None:
        self._small_batch_runner, self._small_batch_problem = None, error.what
        warnings.warn(f"small batches use the ordinary session from now on: {error.what}", stacklevel=2)

    @property
    def _cores_are_awake(self) -> bool:
        several = self._session.device == "cpu" and self._settings.threads > 1
        return several and time.monotonic() - self._last_call < IDLE_SECONDS

    @property
    def _uses_cuda_graphs(self) -> bool:
        return self._session.device == "cuda" and LAYOUTS[self._bundle.manifest.layout].packed

    def _batch_tokens(self, device: str) -> int:
        return self._options.max_batch_tokens or DEVICES[device].max_batch_tokens

    def _load(self, device: str, *, threads: int = 1, cuda_graphs: bool = False) -> Session:
        manifest = self._bundle.manifest
        built = device == "tensorrt"
        options = SessionOptions(
            layout=manifest.layout,
            device=device,
            threads=threads,
            cuda_graphs=cuda_graphs,
            cache=_engine_cache(manifest.files[manifest.model_file]) if built else None,
            profiles=_profiles(self._batch_tokens(device), manifest.max_length) if built else (),
        )
        return Session(self._bundle.model, len(manifest.labels), options)


class _SharedLock:
    """Many holders at a time, or a single exclusive one: while a CUDA graph is captured, no other thread may allocate
    memory on the GPU."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holders = 0

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._holders += 1
        try:
            yield
        finally:
            with self._changed:
                self._holders -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._changed:  # held throughout, so that nobody else can enter
            self._changed.wait_for(lambda: self._holders == 0)
            yield


def _batcher(manifest: Manifest, device: str, max_tokens: int) -> Batcher:
    if LAYOUTS[manifest.layout].packed:
        return PackedBatcher(max_tokens)
    if DEVICES[device].is_gpu:
        return PaddedBatcher(max_tokens, manifest.pad_id, manifest.max_length)
    return EqualLengthBatcher(max_tokens)


def _profiles(max_batch_tokens: int, max_length: int) -> tuple[Profile, ...]:
    """TensorRT's: one for small batches, one for full batches as :class:`PaddedBatcher` makes them."""
    step = PaddedBatcher.step
    shortest, typical = min(step, max_length), min(2 * step, max_length)
    most = max(SMALL_BATCH, max_batch_tokens // shortest)
    small: Profile = ((1, shortest), (1, typical), (SMALL_BATCH, max_length))
    full: Profile = ((1, shortest), (max(1, max_batch_tokens // typical), typical), (most, max_length))
    return small, full


def _engine_cache(digest: str) -> Path:
    """Where TensorRT keeps the engines of a model: minutes of work for each GPU and version."""
    return cache_folder("tensorrt") / digest[:16]
