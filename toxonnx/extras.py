"""Optional packages, and the error if one is missing."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from toxonnx.errors import MachineError

#: extra -> the modules that show it is installed
EXTRAS: dict[str, tuple[str, ...]] = {
    "cpu": ("onnxruntime",),
    "train": ("torch", "transformers", "peft", "accelerate", "matplotlib", "sklearn"),
    "bench": ("matplotlib",),
    "check": ("datasketch", "ftfy", "matplotlib", "sklearn"),
    "export": ("torch", "transformers", "peft", "onnx", "onnxruntime"),
    "serve": ("starlette", "uvicorn", "prometheus_client"),
    "parquet": ("pyarrow",),
    "remote": ("fsspec",),
    "ray": ("ray", "pyarrow"),
    "zstd": ("backports.zstd",),
}

__all__ = ["EXTRAS", "install_command", "missing", "require"]


def missing(extra: str) -> list[str]:
    """The modules of an extra that are not installed."""
    return [module for module in EXTRAS[extra] if not _installed(module)]


def require(extra: str) -> None:
    """Checks that the packages of an extra are installed.

    Raises:
        MachineError: one is missing; gives the pip command that installs it.
    """
    modules = missing(extra)
    if modules:
        wanted = extra
        if extra == "export" and "transformers" not in modules and int(version("transformers").split(".")[0]) >= 5:
            wanted = "export-transformers5"  # [export] would replace it by an older one, which Optimum needs
        if extra == "export" and "onnxruntime" in modules:
            wanted += ",cpu"
        raise MachineError(
            f"this command needs {', '.join(modules)}, which {'are' if len(modules) > 1 else 'is'} not installed",
            install_command(wanted),
        )


def install_command(extra: str) -> str:
    """The command that installs an extra from where toxonnx itself was installed (PEP 610)."""
    try:
        record = distribution("toxonnx").read_text("direct_url.json")
        origin = json.loads(record) if record else None
    except PackageNotFoundError:  # it runs from a checkout
        origin = {"url": Path(__file__).parent.parent.as_uri(), "dir_info": {}}
    if origin is None:  # from a package index
        return f"pip install 'toxonnx[{extra}]'"
    url = origin["url"]
    if "dir_info" in origin:
        from urllib.request import url2pathname  # loads ssl and http.client, which every command would wait for

        folder = url2pathname(urlsplit(url).path)
        command = f"pip install {'-e ' * origin['dir_info'].get('editable', False)}'.[{extra}]'"
        there = Path(folder).is_dir()
        return f"cd {shlex.quote(folder)} && {command}" if there else f"{command} in a checkout of toxonnx"
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    if "subdirectory" in origin:
        url += f"#subdirectory={origin['subdirectory']}"
    return f"pip install 'toxonnx[{extra}] @ {url}'"


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False
