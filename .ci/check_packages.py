"""Fails unless the built sdist and wheel contain what they should, and nothing else: python check_packages.py FOLDER"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

#: of the repository, what an sdist does not need
NOT_PACKAGED = ".ci/"
#: bytes; nearly all is the included model
MAX_BYTES = 40_000_000


def main(folder: Path) -> None:
    """Compares the names of all files with those that git knows."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    tracked = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.splitlines()
    with tarfile.open(sdist) as archive:
        _compare(
            sdist,
            {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()},
            {"PKG-INFO", *(name for name in tracked if not name.startswith(NOT_PACKAGED))},
        )
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    metadata = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "licenses/NOTICE"}
    distribution = "-".join(wheel.name.split("-")[:2])
    _compare(
        wheel,
        set(names),
        {
            *(name for name in tracked if name.startswith("toxonnx/")),
            *(f"toxonnx/_{name}" for name in tracked if name.startswith("export/")),
            *(f"{distribution}.dist-info/{name}" for name in metadata),
        },
    )


def _compare(package: Path, found: set[str], expected: set[str]) -> None:
    size = package.stat().st_size
    print(f"{package.name}: {len(found)} files, {size / 1e6:.1f} MB")
    problems = [f"lacks {name}" for name in sorted(expected - found)] + [
        f"has {name}" for name in sorted(found - expected)
    ]
    if size > MAX_BYTES:
        problems.append(f"is larger than {MAX_BYTES:,} bytes")
    if problems:
        sys.exit(f"{package.name} " + f"\n{package.name} ".join(problems))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
