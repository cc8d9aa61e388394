"""A tiny checkpoint, and copies of it that tests change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from checkpoints import make_checkpoint


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("template") / "checkpoint")


@pytest.fixture
def checkpoint(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "checkpoint")
