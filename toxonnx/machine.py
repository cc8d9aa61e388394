"""What this machine has: cores that may be used, instruction sets, memory, versions."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
from pathlib import Path
from typing import Any

__all__ = ["INSTRUCTION_SETS", "available_cores", "describe", "versions"]

#: what decides how fast a matrix product runs, as /proc/cpuinfo spells it
INSTRUCTION_SETS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp")
_PACKAGES = (
    "toxonnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "tokenizers",
    "numpy",
    "torch",
    "transformers",
    "optimum-onnx",
)


def available_cores() -> int:
    """Cores that this process may use: its affinity, less what a cgroup (v2 or v1) quota allows."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, min(cores, math.ceil(quota))) if quota else cores


def cgroup_quota() -> float | None:
    """Cores that the tightest quota of this process's cgroup and those above it is worth; None without one."""
    own = next((line[3:] for line in (_read("/proc/self/cgroup") or "").splitlines() if line.startswith("0::")), "/")
    root = Path("/sys/fs/cgroup")
    folders = [root / own.lstrip("/"), *(root / own.lstrip("/")).parents]
    limits = [_read(str(folder / "cpu.max")) for folder in folders if folder.is_relative_to(root)]
    pairs = [text.split() for text in limits if text]
    first = [_read(str(root / "cpu" / name)) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]  # cgroup v1
    if all(first):
        pairs.append([str(text) for text in first])
    quotas = [int(limit) / int(period) for limit, period in pairs if limit not in {"max", "-1"}]
    return min(quotas, default=None)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter here, those that are installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe() -> dict[str, Any]:
    """The machine in plain values: what a benchmark's figures depend on.

    ``None`` stands for what the system does not tell.
    """
    info = _read("/proc/cpuinfo") or ""
    fields = dict(line.split(":", 1) for line in reversed(info.splitlines()) if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    memory = dict(line.split(":", 1) for line in (_read("/proc/meminfo") or "").splitlines() if ":" in line)
    policy = "/sys/devices/system/cpu/cpu0/cpufreq"
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "cores": available_cores(),
        "cores_of_the_host": os.cpu_count(),
        "cgroup_quota": cgroup_quota(),
        "virtual": "hypervisor" in flags,
        "governor": _read(f"{policy}/scaling_governor"),
        "boost": _read("/sys/devices/system/cpu/cpufreq/boost"),
        "memory_gb": round(int(memory["MemTotal"].split()[0]) / 1e6, 1) if "MemTotal" in memory else None,
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "versions": versions(),
    }


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
