"""How a bundle is run: what was asked for, and what was chosen for the machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from toxonnx.errors import InputError
from toxonnx.long_texts import MODES, TRUNCATE, LongTexts
from toxonnx.manifest import Manifest
from toxonnx.wording import plural

__all__ = ["ExecutionSettings", "RuntimeOptions", "as_share"]


def as_share(value: Any, name: str, kind: str = "share") -> float:
    """A number from 0 to 1, also one of NumPy, as a float.

    Raises:
        InputError: it is anything else.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) <= 1:
        raise InputError(f"{name} must be a {kind} from 0 to 1, got {value!r}")
    return float(value)


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """How to run a bundle. What is None is chosen for the machine. Numbers may be those of NumPy.

    Attributes:
        device: ``cpu``, ``cuda``, ``tensorrt``, or ``auto``: CUDA where bundle and machine allow it, else the CPU.
        allow_fallback: use the CPU where the requested GPU cannot be used.
        threads: batches that are scored at the same time; by default one per core that this process may use, and two
            on a GPU.
        max_batch_tokens: largest number of tokens in a batch; by default 512 on the CPU, 32,768 on CUDA, 8,192 on
            TensorRT.
        chunk_size: texts that are sorted by length together; by default more with more threads. Memory grows with it,
            not with the number of texts.
        tokenizer_processes: processes that tokenize, once there is more than one chunk of texts; by default none on
            the CPU, and on a GPU one fewer than the cores, up to 16; none with fewer than three cores.
        cascade: use the first stage of a bundle that has one.
        audit: share of the texts on which the first stage's decisions are compared with the full model's, while files
            or streams are scored.
        audit_stop: use only the full model from the moment on that an audit shows more disagreement than promised.
        long_texts: ``truncate`` or ``windows``; by default as the bundle was exported. Windows of a bundle that was
            exported without them have the default stride and pool.
        max_windows: windows of a text that are read, in place of the bundle's number; the rest is truncated.
        thresholds: label -> the probability from which it applies, in place of the bundle's threshold; ``*`` stands
            for all labels that are not named. A first stage is not used then, as its promise is about decisions.

    Raises:
        InputError: a value has the wrong type, or is too small or too large.
    """

    device: str = "cpu"
    allow_fallback: bool = False
    threads: int | None = None
    max_batch_tokens: int | None = None
    chunk_size: int | None = None
    tokenizer_processes: int | None = None
    cascade: bool = True
    audit: float = 0.0
    audit_stop: bool = False
    long_texts: str | None = None
    max_windows: int | None = None
    thresholds: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "audit", as_share(self.audit, "audit"))
        for label, threshold in (self.thresholds or {}).items():
            as_share(threshold, f"the threshold of {label}", "probability")
        if self.audit_stop and not self.audit:
            raise InputError("audit_stop needs audit, the share of the texts to compare")
        if self.long_texts not in (None, *MODES):
            raise InputError(f"long_texts must be one of {', '.join(MODES)}, got {self.long_texts!r}")
        for name, least in (
            ("threads", 1), ("max_batch_tokens", 1), ("chunk_size", 1), ("tokenizer_processes", 0), ("max_windows", 1),
        ):  # fmt: skip
            value: Any = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, Integral) or isinstance(value, bool):
                raise InputError(f"{name} must be an integer, got {type(value).__name__}")
            if value < least:
                raise InputError(f"{name} must be at least {least}, got {value}")
            object.__setattr__(self, name, int(value))

    def long_texts_of(self, manifest: Manifest) -> LongTexts:
        """How a bundle's long texts are read.

        Raises:
            InputError: ``max_windows`` is given, but no windows are read.
        """
        chosen = manifest.long_texts or TRUNCATE
        if self.long_texts == "truncate":
            chosen = TRUNCATE
        elif self.long_texts == "windows" and manifest.long_texts is None:
            chosen = LongTexts.with_defaults(max_length=manifest.max_length, multi=manifest.labels.multi)
        if self.max_windows is None:
            return chosen
        if chosen is TRUNCATE:
            raise InputError("max_windows needs long_texts = windows: long texts are truncated")
        return dataclasses.replace(chosen, max_windows=self.max_windows)


@dataclass(frozen=True, kw_only=True)
class ExecutionSettings:
    """How a bundle runs on this machine.

    Attributes:
        precision: of the bundle.
        layout: of its graph.
        device: the device in use.
        provider: ONNX Runtime's execution provider, as the session reports it.
        fallback: why the device is not the requested one (for ``auto``: not a GPU); empty if it is.
        threads: batches that are scored at the same time.
        cuda_graphs: ``captured`` where small batches run as CUDA graphs, or why they cannot; empty where neither holds.
        tokenizer_processes: processes that tokenize; 0 where this process does.
        max_batch_tokens: largest number of tokens in a batch.
        chunk_size: texts that are sorted by length together.
    """

    precision: str
    layout: str
    device: str
    provider: str
    fallback: str
    threads: int
    cuda_graphs: str
    tokenizer_processes: int
    max_batch_tokens: int
    chunk_size: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        text = (
            f"{self.precision}, layout {self.layout}, on {self.provider}; "
            f"{plural(self.threads, 'batch', 'batches')} at a time of up to {self.max_batch_tokens:,} tokens, "
            f"from chunks of {self.chunk_size:,} rows"
        )
        if self.tokenizer_processes:
            text += f"; {self.tokenizer_processes} tokenizer processes"
        return text + (f"; small batches: CUDA graphs {self.cuda_graphs}" if self.cuda_graphs else "")
