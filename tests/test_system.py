"""What the machine allows: cores by quotas of cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest

from toxonnx.system import cgroup_quota


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("/", {"cpu.max": "150000 100000"}, 1.5),
        ("/", {"cpu.max": "max 100000"}, None),
        ("/pod/container", {"pod/container/cpu.max": "400000 100000", "pod/cpu.max": "250000 100000"}, 2.5),
        ("/pod/container", {"pod/container/cpu.max": "max 100000", "cpu.max": "100000 100000"}, 1.0),
        ("", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ("", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("/", {}, None),
    ],
    ids=["v2", "v2 without a limit", "the parent's is lower", "only the root has one", "v1", "v1 without", "none"],
)
def test_the_lowest_quota_of_a_cgroup_and_its_parents_counts(
    tmp_path: Path, own: str, files: dict[str, str], quota: float | None
) -> None:
    for name, text in {"proc/self/cgroup": f"0::{own}" if own else "4:cpu:/", **files}.items():
        path = tmp_path / name if name.startswith("proc") else tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    assert cgroup_quota(tmp_path) == quota
