"""Output files appear under their name only when they are complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from toxonnx.errors import InputError
from toxonnx.io.atomic import AtomicFile


def test_output_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with pytest.raises(ValueError, match="stop"), AtomicFile(path) as out:
        out.write("half")
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []
    with AtomicFile(path) as out:
        out.write("whole\r\n")
        assert not path.exists()
    assert path.read_bytes() == b"whole\r\n"
    with pytest.raises(InputError, match="already exists"):
        AtomicFile(path)
    with AtomicFile(path, force=True) as out:
        out.write("new")
    assert path.read_text() == "new"
