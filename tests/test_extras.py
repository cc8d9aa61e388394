"""Optional packages: the command that installs them fits how toxonnx was installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from toxonnx import extras
from toxonnx.errors import MachineError

ROOT = Path(extras.__file__).parent.parent


def test_the_command_installs_from_where_toxonnx_was_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "my checkout"
    checkout.mkdir()
    wheel = "https://example.org/toxonnx-0.1.0-py3-none-any.whl"
    git = "https://example.org/toxonnx.git"
    cases: list[tuple[Any, str]] = [
        ({"url": checkout.as_uri(), "dir_info": {}}, f"cd '{checkout}' && pip install '.[train]'"),
        (
            {"url": checkout.as_uri(), "dir_info": {"editable": True}},
            f"cd '{checkout}' && pip install -e '.[train]'",
        ),
        ({"url": "file:///no/such/folder", "dir_info": {}}, "pip install '.[train]' in a checkout of toxonnx"),
        ({"url": wheel, "archive_info": {}}, f"pip install 'toxonnx[train] @ {wheel}'"),
        (
            {"url": git, "vcs_info": {"vcs": "git", "commit_id": "abc"}, "subdirectory": "python"},
            f"pip install 'toxonnx[train] @ git+{git}@abc#subdirectory=python'",
        ),
        (None, "pip install 'toxonnx[train]'"),
    ]
    for record, command in cases:

        class Installed:
            def read_text(self, name: str, record: Any = record) -> str | None:
                return json.dumps(record) if record and name == "direct_url.json" else None

        monkeypatch.setattr(extras, "distribution", lambda _, installed=Installed: installed())
        assert extras.install_command("train") == command

    def not_installed(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", not_installed)
    assert extras.install_command("train") == f"cd {ROOT} && pip install '.[train]'"


@pytest.mark.parametrize(
    ("command", "packages", "extra"),
    [
        ("fit-cascade d.csv -o out", "scipy sklearn", "check"),
        ("check d.csv", "scipy sklearn", "check"),
        ("train d.csv -o out --recipe minilm-toxicity", "torch", "train"),
        ("export run -o out", "torch", "export"),
        ("serve", "starlette", "serve"),
        ("eval minilm-toxicity-int8 d.csv", "onnxruntime", "cpu"),
        ("bench", "onnxruntime", "cpu"),
    ],
)
def test_a_command_without_its_packages_says_how_to_install_them(
    tmp_path: Path, command: str, packages: str, extra: str
) -> None:
    (tmp_path / "d.csv").write_text("text,label\na fine day,1\n")
    hide = f"import sys; sys.modules.update(dict.fromkeys({packages.split()}))"
    done = subprocess.run(
        [sys.executable, "-c", f"{hide}; from toxonnx.cli import main; main()", *command.split()],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3 and f"[{extra}]'" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("transformers", "modules", "extra"),
    [
        ("4.57.6", ["onnx"], "[export]"),
        ("5.24.0", ["onnx", "onnxruntime"], "[export-transformers5,cpu]"),
        ("5.24.0", ["transformers", "onnx"], "[export]"),
    ],
)
def test_the_extra_for_exports_keeps_the_installed_transformers(
    monkeypatch: pytest.MonkeyPatch, transformers: str, modules: list[str], extra: str
) -> None:
    monkeypatch.setattr(extras, "missing", lambda _: modules)
    monkeypatch.setattr(extras, "version", lambda _: transformers)
    with pytest.raises(MachineError, match=f"needs {', '.join(modules)}, which") as caught:
        extras.require("export")
    assert extra in caught.value.hint
