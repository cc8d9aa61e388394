"""Optional packages, and the error if one is missing."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec

from toxonnx.errors import MachineError

#: extra -> the modules that show it is installed
EXTRAS: dict[str, tuple[str, ...]] = {
    "cpu": ("onnxruntime",),
    "train": ("torch", "transformers", "peft", "accelerate", "matplotlib", "sklearn"),
    "bench": ("matplotlib",),
    "check": ("datasketch", "ftfy", "matplotlib", "sklearn"),
    "export": ("torch", "transformers", "peft", "optimum", "optimum.exporters.onnx", "onnx", "onnxruntime"),
}
#: major version of transformers that training and export need
TRANSFORMERS = 4

__all__ = ["EXTRAS", "missing", "require"]


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
        wanted = "export,cpu" if extra == "export" and "onnxruntime" in modules else extra
        raise MachineError(
            f"this command needs {', '.join(modules)}, which {'are' if len(modules) > 1 else 'is'} not installed",
            f"pip install 'toxonnx[{wanted}]' (in a checkout: pip install '.[{wanted}]')",
        )

    if extra in {"train", "export"} and int(version("transformers").split(".")[0]) > TRANSFORMERS:
        raise MachineError(
            f"transformers {version('transformers')} is installed, but this command needs {TRANSFORMERS}.x (another "
            "package may have replaced it)",
            "pip install 'transformers>=4.53,<4.58' (in a checkout: pip install -c constraints.txt '.[train]')",
        )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False
