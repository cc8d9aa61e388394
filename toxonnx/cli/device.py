"""The options that say what to run on, and the words where that is not what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from toxonnx.classifier import Classifier

F = TypeVar("F", bound=Callable[..., Any])


def device_options(function: F) -> F:
    """Adds ``--device`` and ``--allow-fallback``."""
    function = click.option(
        "--allow-fallback", is_flag=True, help="Use the CPU, and say so, where the device asked for cannot be had."
    )(function)
    return click.option(
        "--device", type=click.Choice(["cpu", "cuda", "tensorrt", "auto"]), default="cpu", show_default=True,
        help="What to run on; auto is CUDA where bundle and machine allow it.",
    )(function)  # fmt: skip


def say_fallback(classifier: Classifier) -> None:
    """Says that the CPU stands in for a GPU, and why."""
    if classifier.plan["fallback"]:
        click.echo(
            f"WARNING: {classifier.bundle.manifest.name} runs on the CPU: {classifier.plan['fallback']}", err=True
        )
