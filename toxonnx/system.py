"""This machine: available cores, instruction sets, memory, versions."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["INSTRUCTION_SETS", "System", "available_cores", "describe_system", "runtime_versions", "versions"]

#: the ones that decide how fast a matrix product runs, as /proc/cpuinfo spells them
INSTRUCTION_SETS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp")
_PACKAGES = (
    "toxonnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "tokenizers",
    "numpy",
    "torch",
    "transformers",
    "peft",
    "optimum-onnx",
)


def available_cores() -> int:
    """Cores that this process may use: by its affinity and by its cgroup (v2 or v1) quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, min(cores, math.ceil(quota))) if quota else cores


def cgroup_quota(machine: Path = Path("/")) -> float | None:
    """Cores that the tightest quota of this process's cgroup and its parents allows; None without a quota.

    Args:
        machine: the folder that contains ``proc`` and ``sys``.
    """
    cgroups = (_read(machine / "proc/self/cgroup") or "").splitlines()
    own = next((line[3:] for line in cgroups if line.startswith("0::")), "/")
    root = machine / "sys/fs/cgroup"
    folders = [root / own.lstrip("/"), *(root / own.lstrip("/")).parents]
    limits = [_read(folder / "cpu.max") for folder in folders if folder.is_relative_to(root)]
    pairs = [text.split() for text in limits if text]
    first = [_read(root / "cpu" / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]  # cgroup v1
    if all(first):
        pairs.append([str(text) for text in first])
    quotas = [int(limit) / int(period) for limit, period in pairs if limit not in {"max", "-1"}]
    return min(quotas, default=None)


def runtime_versions() -> dict[str, str]:
    """Versions of toxonnx and of ONNX Runtime, which is imported: each of its builds is a package of its own name."""
    import onnxruntime

    return {"toxonnx": importlib.metadata.version("toxonnx"), "onnxruntime": onnxruntime.__version__}


def versions() -> dict[str, str]:
    """Versions of Python and of the relevant packages that are installed, of which none is imported."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True, kw_only=True)
class System:
    """The machine, as far as a benchmark's results depend on it. None stands for what the system does not report.

    Attributes:
        cpu: model name.
        instruction_sets: out of :data:`INSTRUCTION_SETS`.
        cores: that this process may use.
        host_cores: of the whole machine.
        cgroup_quota: cores that a cgroup quota allows.
        virtual: whether it is a virtual machine.
        governor: of the CPU frequency.
        boost: "1" where frequency boost is on.
        memory_gb: total memory.
        load_average: over one minute.
        platform: operating system and version.
        versions: of Python and the relevant packages.
    """

    cpu: str
    instruction_sets: list[str]
    cores: int
    host_cores: int | None
    cgroup_quota: float | None
    virtual: bool
    governor: str | None
    boost: str | None
    memory_gb: float | None
    load_average: float | None
    platform: str
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    def lines(self) -> dict[str, str]:
        """Name -> value, for people."""
        quota = f"; the cgroup allows {self.cgroup_quota:g}" if self.cgroup_quota else ""
        power = [f"governor {self.governor}"] if self.governor else []
        if self.boost is not None:
            power.append("boost on" if self.boost == "1" else "boost off")
        return {
            "cpu": f"{self.cpu}{' (virtual machine)' if self.virtual else ''}",
            "instructions": ", ".join(self.instruction_sets) or "none that matter here",
            "cores": f"{self.cores} available (the host has {self.host_cores}{quota})",
            "power": ", ".join(power) or "not reported by the system",
            "memory": f"{self.memory_gb} GB" if self.memory_gb else "not reported by the system",
            "versions": ", ".join(f"{name} {version}" for name, version in self.versions.items()),
        }


def describe_system() -> System:
    """This machine, now."""
    info = _read("/proc/cpuinfo") or ""
    fields = dict(line.split(":", 1) for line in reversed(info.splitlines()) if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    memory = dict(line.split(":", 1) for line in (_read("/proc/meminfo") or "").splitlines() if ":" in line)
    return System(
        cpu=fields.get("model name") or platform.processor() or platform.machine(),
        instruction_sets=[name for name in INSTRUCTION_SETS if name in flags],
        cores=available_cores(),
        host_cores=os.cpu_count(),
        cgroup_quota=cgroup_quota(),
        virtual="hypervisor" in flags,
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        boost=_read("/sys/devices/system/cpu/cpufreq/boost"),
        memory_gb=round(int(memory["MemTotal"].split()[0]) / 1e6, 1) if "MemTotal" in memory else None,
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        platform=platform.platform(),
        versions=versions(),
    )


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
