"""Optional packages: one uniform error where one is missing."""

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
#: the major version that training and export are written for
TRANSFORMERS = 4

__all__ = ["EXTRAS", "missing", "require"]


def missing(extra: str) -> list[str]:
    """The modules of an extra that are not installed."""
    return [module for module in EXTRAS[extra] if not _installed(module)]


def require(extra: str) -> None:
    """Raises MachineError, with the pip command that mends it, unless the extra's packages are there."""
    lacks = missing(extra)
    if lacks:
        wanted = "export,cpu" if extra == "export" and "onnxruntime" in lacks else extra
        raise MachineError(
            f"this needs {', '.join(lacks)}, not installed here",
            f"pip install 'toxonnx[{wanted}]' (in a checkout: pip install '.[{wanted}]')",
        )

    if extra in {"train", "export"} and int(version("transformers").split(".")[0]) > TRANSFORMERS:
        raise MachineError(
            f"transformers {version('transformers')} is installed; this needs a {TRANSFORMERS}.x (another package may "
            "have replaced it)",
            "pip install 'transformers>=4.53,<4.58' (in a checkout: pip install -c constraints.txt '.[train]')",
        )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is the one that is missing
        return False
