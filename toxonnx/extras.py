"""Optional packages: one uniform error where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from toxonnx.errors import MachineError

#: extra -> the modules that show it is installed
EXTRAS: dict[str, tuple[str, ...]] = {
    "cpu": ("onnxruntime",),
    "train": ("torch", "transformers", "peft", "accelerate", "matplotlib"),
    "export": ("torch", "transformers", "peft", "optimum", "optimum.exporters.onnx", "onnx", "onnxruntime"),
}


def require(extra: str) -> None:
    """Raises MachineError, with the pip command that mends it, unless the extra's packages are there."""
    missing = [module for module in EXTRAS[extra] if not _installed(module)]
    if missing:
        wanted = "export,cpu" if extra == "export" else extra
        raise MachineError(
            f"this needs {', '.join(missing)}, not installed here",
            f"pip install 'toxonnx[{wanted}]' (in a checkout: pip install '.[{wanted}]')",
        )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is the one that is missing
        return False
