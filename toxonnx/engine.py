"""What scores a bundle's tokens here: the device that was chosen, its session, and how batches are made for it."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.batches import Arrangement, Packed, Padded, Uniform
from toxonnx.bundle import EMULATED, Bundle
from toxonnx.captured import FEW, Captured
from toxonnx.devices import DEVICES, GPU, Profile
from toxonnx.errors import GateError, InputError, MachineError
from toxonnx.machine import available_cores
from toxonnx.sessions import Session
from toxonnx.tokens import Tokens

__all__ = ["Engine"]

#: texts that are ordered by length together: on the CPU for each thread, and at least; on a GPU
WINDOW_A_THREAD, SMALLEST_WINDOW, GPU_WINDOW = 256, 1024, 1 << 13
#: tokens of a batch. A core's caches hold little; a GPU has to be filled; TensorRT keeps room for the largest shape.
BATCH_TOKENS = {"cpu": 1024, "cuda": 1 << 15, "tensorrt": 1 << 13}
#: batches on their way to a GPU: one computes while the next is brought there
GPU_THREADS = 2
#: processes that tokenize for a GPU, at most
MOST_ENCODERS = 16
#: seconds after which the cores are asleep
LULL = 0.005


class Engine:
    """A bundle's model, loaded on a device. Safe to share between threads.

    Args:
        bundle: an opened bundle.
        device: out of :data:`toxonnx.devices.DEVICES`.
        allow_fallback: where a GPU was asked for and cannot be had, use the CPU, and say why in ``fallback``.
        threads: batches that are scored at the same time.
        batch_tokens: tokens of a batch at most.
        encoders: processes that tokenize; when not given, none on the CPU, and beside a GPU as many as there are cores.

    Raises:
        InputError: the bundle is not made for the device.
        MachineError: the machine lacks what the device needs.
        GateError: (while scoring) the model gives no numbers.

    Attributes:
        device: what is used: ``cpu``, ``cuda`` or ``tensorrt``.
        fallback: why that is not what was asked for; "" where it is. For ``auto``, why it is not a GPU.
        threads: batches that are scored at the same time.
        window: texts to order by length together.
        encoders: processes that should tokenize; 0 where this one can keep up.
        arrangement: how rows become batches.
        few: texts up to so many go the shortest way.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "cpu",
        allow_fallback: bool = False,
        threads: int | None = None,
        batch_tokens: int | None = None,
        encoders: int | None = None,
    ) -> None:
        if device not in DEVICES:
            raise InputError(f"device {device!r} is none of {', '.join(DEVICES)}")
        self._bundle, self._batch_tokens = bundle, batch_tokens
        self.fallback = ""
        wanted = "cuda" if device == "auto" else device
        layout = bundle.manifest.layout
        try:
            _check(bundle, wanted)
            self._session = self._open(wanted)
        except (InputError, MachineError) as error:
            movable = wanted in GPU and layout != "packed" and (allow_fallback or device == "auto")
            if not movable or not isinstance(error, MachineError | _WrongDeviceError):
                if layout == "packed" and wanted in GPU:
                    error.hint += "\nPacked runs on CUDA alone and has no CPU to fall back to: --layout fused has."
                raise
            self.fallback, wanted = str(error), "cpu"
            self._session = self._open(wanted)
        self.device = wanted
        cores, on_gpu = available_cores(), wanted in GPU
        self.threads = threads or (GPU_THREADS if on_gpu else cores)
        self.window = GPU_WINDOW if on_gpu else max(SMALLEST_WINDOW, WINDOW_A_THREAD * self.threads)
        usual = min(cores - 1, MOST_ENCODERS) if on_gpu and cores > 2 else 0
        self.encoders = usual if encoders is None else encoders
        size = batch_tokens or BATCH_TOKENS[wanted]
        self.arrangement: Arrangement = Uniform(size)
        if layout in {"packed", EMULATED}:
            self.arrangement = Packed(size)
        elif on_gpu:
            self.arrangement = Padded(size, bundle.manifest.pad_id, bundle.manifest.max_length)
        self.few = FEW if self._captures else 1
        self._short: Session | Captured | None = None
        self._trouble = ""
        self._lock, self._turns = threading.Lock(), _Turns()
        self._answered = -math.inf

    @property
    def plan(self) -> dict[str, Any]:
        """How texts are scored here: what was chosen for the machine, or asked for."""
        return {
            "precision": self._bundle.manifest.precision,
            "layout": self._bundle.manifest.layout,
            "device": self.device,
            "provider": self._session.provider,
            "fallback": self.fallback,
            "threads": self.threads,
            "graphs": self._trouble or ("captured" if isinstance(self._short, Captured) else ""),
            "encoders": self.encoders,
            "batch_tokens": self.arrangement.max_tokens,
        }

    def batches(self, lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """See :meth:`toxonnx.batches.Arrangement.plan`."""
        return self.arrangement.plan(lengths)

    def run(self, tokens: Tokens, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits, float32 [rows, labels], of a batch of some texts."""
        with self._turns.shared():
            return self._numbers(self._session.run(self.arrangement.feed(tokens, rows))[: len(rows)])

    def run_few(self, tokens: Tokens) -> NDArray[np.float32]:
        """Logits of few texts, float32 [texts, labels], by the shortest way.

        On the CPU, lone texts in quick succession run on all threads, each; the first such call loads the model a
        second time for that. After a pause a lone text runs on one: to wake the other cores costs more than they save.
        On CUDA a second session replays captured graphs.
        """
        short = self._shortest()
        logits = None
        if isinstance(short, Session):
            logits = short.run(self.arrangement.feed(tokens, np.arange(1)))
        elif short is not None:
            try:
                logits = short.run(tokens, self._turns.alone)
            except MachineError as error:
                self._give_up(error)
        if logits is None:
            logits = self.run(tokens, np.arange(len(tokens.lengths)))
        self._answered = time.monotonic()
        return self._numbers(logits)

    def _numbers(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same, if they are numbers: what goes over fp16's range inside comes out as none."""
        if not np.isfinite(logits).all():
            manifest = self._bundle.manifest
            raise GateError(
                f"{manifest.name} ({manifest.precision}) gives no numbers for some texts on {self.device}",
                "Export with --precision fp32." if manifest.precision == "fp16" else "Export it again.",
            )
        return logits

    def _shortest(self) -> Session | Captured | None:
        """What few texts go to, loaded when it is first wanted; None for the ordinary session."""
        if self._trouble or not (self._captures or self._awake):
            return None
        with self._lock:
            if self._short is None and not self._trouble:
                try:
                    if self._captures:
                        session = self._open("cuda", graphs=True)
                        self._short = Captured(session, self._bundle.manifest.pad_id)
                    else:
                        self._short = self._open("cpu", threads=self.threads)
                except MachineError as error:  # its memory is full, say: then more slowly
                    self._give_up(error)
        return self._short

    def _give_up(self, error: MachineError) -> None:
        self._short, self._trouble = None, error.what
        warnings.warn(f"few texts at a time go the ordinary way from now on: {error.what}", stacklevel=2)

    @property
    def _awake(self) -> bool:
        return self.device == "cpu" and self.threads > 1 and time.monotonic() - self._answered < LULL

    @property
    def _captures(self) -> bool:
        return self.device == "cuda" and self._bundle.manifest.layout == "packed"

    def _open(self, device: str, *, threads: int = 1, graphs: bool = False) -> Session:
        manifest = self._bundle.manifest
        built = device == "tensorrt"
        return Session(
            self._bundle.model,
            len(manifest.labels),
            layout=manifest.layout,
            device=device,
            threads=threads,
            graphs=graphs,
            cache=_engine_cache(manifest.files["model.onnx"]) if built else None,
            profiles=_profiles(self._batch_tokens or BATCH_TOKENS[device], manifest.max_length) if built else (),
        )


class _Turns:
    """Many at a time, or one alone: while a CUDA graph is captured, another thread must not allocate on the GPU."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:  # held throughout, so that nobody else comes in
            self._changed.wait_for(lambda: self._inside == 0)
            yield


class _WrongDeviceError(InputError):
    """The bundle is not made for the device, and may be for another."""


def _check(bundle: Bundle, device: str) -> None:
    """Refuses what cannot run, or would run on the CPU without a word."""
    manifest = bundle.manifest
    if device == "cpu" and manifest.layout == "packed":
        raise InputError(
            f"{manifest.name} has the packed layout, which has kernels for CUDA alone",
            "Add --device cuda, or export with --layout fused or plain.",
        )
    if device in GPU and manifest.precision == "int8":
        raise _WrongDeviceError(
            f"{manifest.name} is int8, whose matrix products have no CUDA kernels: they would run on the CPU",
            "For a GPU, export with --precision fp16 --layout packed; int8 runs with --device cpu.",
        )
    if device == "tensorrt" and manifest.layout != "plain":
        raise _WrongDeviceError(
            f"{manifest.name} has the layout {manifest.layout}, made of ONNX Runtime's own operators, which TensorRT "
            "does not know",
            "Export with --layout plain for TensorRT, or use --device cuda.",
        )


def _profiles(batch_tokens: int, max_length: int) -> tuple[Profile, ...]:
    """TensorRT's: one for few rows, one for full batches of what :class:`toxonnx.batches.Padded` makes."""
    step = Padded.step
    least, usual = min(step, max_length), min(2 * step, max_length)
    most = max(FEW, batch_tokens // least)
    few: Profile = ((1, least), (1, usual), (FEW, max_length))
    many: Profile = ((1, least), (max(1, batch_tokens // usual), usual), (most, max_length))
    return few, many


def _engine_cache(digest: str) -> Path:
    """Where TensorRT keeps what it builds for a model: minutes of work for each GPU and version."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "toxonnx" / "tensorrt" / digest[:16]
