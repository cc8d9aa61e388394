"""The reference of the Python API: what the package exports, from its docstrings."""

from __future__ import annotations

import inspect

import toxonnx

__all__ = ["page"]

#: classes outside the top level that exported ones take or return
_FURTHER = (
    "toxonnx.labels.Labels",
    "toxonnx.bundle.Bundle",
    "toxonnx.long_texts.LongTexts",
    "toxonnx.inference.options.ExecutionSettings",
    "toxonnx.inference.cascade.AuditResult",
)
_FUNCTIONS = ("toxonnx.bundle.open_bundle",)


def page() -> str:
    """Directives for Sphinx's autodoc."""
    names = [name for name in toxonnx.__all__ if inspect.isclass(getattr(toxonnx, name))]
    errors = [name for name in names if issubclass(getattr(toxonnx, name), Exception)]
    others = [f"toxonnx.{name}" for name in names if name not in errors]
    return "\n".join(
        [
            "## Classes\n",
            *(_directive("autoclass", name, "members") for name in (*others, *_FURTHER)),
            "## Functions\n",
            *(_directive("autofunction", name) for name in _FUNCTIONS),
            "## Exceptions\n",
            *(_directive("autoexception", f"toxonnx.{name}", "show-inheritance") for name in errors),
        ]
    )


def _directive(name: str, argument: str, *options: str) -> str:
    return "\n".join(["```{eval-rst}", f".. {name}:: {argument}", *(f"   :{option}:" for option in options), "```\n"])
