"""What a machine has, what is installed, and whether a bundle runs and scores correctly on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toxonnx.errors import InputError, ToxonnxError
from toxonnx.extras import EXTRAS, missing
from toxonnx.inference.devices import DeviceReport, describe_devices
from toxonnx.system import System, describe_system

if TYPE_CHECKING:
    from toxonnx.inference.classifier import Classifier
    from toxonnx.inference.options import ExecutionSettings
    from toxonnx.inference.self_test import SelfTest

__all__ = ["Diagnosis", "diagnose", "telemetry"]


def telemetry() -> str:
    """``off``, or how ONNX Runtime's usage reports came to be on."""
    value = os.environ.get("ORT_DISABLE_TELEMETRY", "")
    return "off" if value == "1" else f"ONNX Runtime's default: ORT_DISABLE_TELEMETRY is {value!r}, not 1"


@dataclass(kw_only=True)
class Diagnosis:
    """The result of :func:`diagnose`.

    Attributes:
        system: the machine.
        devices: what there is to run on.
        telemetry: see :func:`telemetry`.
        missing_modules: extra -> its modules that are not installed.
        bundle: name of the bundle; empty if it could not be loaded.
        settings: how it runs here; None if it could not be loaded.
        self_test: its scores compared with those of the export; None if there was nothing to compare.
        error: what went wrong, if anything.
    """

    system: System
    devices: DeviceReport
    telemetry: str
    missing_modules: dict[str, list[str]]
    bundle: str = ""
    settings: ExecutionSettings | None = None
    self_test: SelfTest | None = None
    error: ToxonnxError | None = field(default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "system": self.system.to_dict(),
            "devices": self.devices.to_dict(),
            "telemetry": self.telemetry,
            "missing_modules": self.missing_modules,
            "bundle": self.bundle,
            "settings": self.settings.to_dict() if self.settings else None,
            "self_test": self.self_test.to_dict() if self.self_test else None,
            "error": str(self.error or ""),
        }

    def lines(self) -> dict[str, str]:
        """Name -> value, for people."""
        lines = {**self.system.lines(), "telemetry": self.telemetry, **self._device_lines()}
        for extra, modules in self.missing_modules.items():
            name = "cpu or gpu" if extra == "cpu" else extra
            lines[f"extra {name}"] = f"missing: {', '.join(modules)}" if modules else "installed"
        if self.settings:
            lines["settings"] = f"{self.bundle}: {self.settings}"
        if self.self_test:
            lines["self-test"] = str(self.self_test)
        return lines

    def _device_lines(self) -> dict[str, str]:
        devices = self.devices
        lines = {"driver": devices.driver if devices.gpus else devices.problem}
        for number, gpu in enumerate(devices.gpus):
            lines[f"gpu {number}"] = f"{gpu.name}, {gpu.memory_gb} GB, compute capability {gpu.compute_capability}"
        lines["runtime"] = devices.runtime
        for name, why in devices.unavailable.items():
            no_driver = bool(devices.problem) and why.startswith(devices.problem)
            lines[name] = "unavailable without the driver" if no_driver else why or "available"
        return lines


def diagnose(
    bundle: str | Path | None = None,
    *,
    device: str = "cpu",
    allow_fallback: bool = False,
    on_load: Callable[[Classifier], None] = lambda _: None,
) -> Diagnosis:
    """Describes the machine, then loads a bundle on a device and runs its self-test.

    Args:
        bundle: folder or name; the default bundle when None.
        device, allow_fallback: see :class:`toxonnx.inference.options.RuntimeOptions`.
        on_load: called with the loaded classifier.

    Returns:
        The result; errors are in it and are not raised.
    """
    diagnosis = Diagnosis(
        system=describe_system(),
        devices=describe_devices(),
        telemetry=telemetry(),
        missing_modules={extra: missing(extra) for extra in EXTRAS},
    )
    try:
        from toxonnx.inference.classifier import Classifier
        from toxonnx.inference.self_test import run_self_test

        classifier = Classifier.load(bundle, device=device, allow_fallback=allow_fallback)
        diagnosis.bundle, diagnosis.settings = classifier.bundle.manifest.name, classifier.settings
        on_load(classifier)
        diagnosis.self_test = run_self_test(classifier)
        if diagnosis.self_test:
            diagnosis.self_test.check()
    except ToxonnxError as error:
        diagnosis.error = error
    except OSError as error:
        diagnosis.error = InputError(f"cannot read {error.filename}: {error.strerror}")
    return diagnosis
