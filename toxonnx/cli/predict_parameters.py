"""The options of ``toxonnx predict`` as text: for its manifest, and for what has to stay the same with ``--resume``."""

from __future__ import annotations

import click
from click.core import ParameterSource

__all__ = ["given_options", "same_bytes"]

#: options that change no byte of the output; all others must be as they were to continue an interrupted run
_HARMLESS = {
    "files", "output", "bundle", "device", "allow_fallback", "threads", "max_batch_tokens", "audit", "max_rejects",
    "strict", "resume", "state_dir", "force", "verbose", "manifest_file", "engine", "ray_address", "ray_workers",
}  # fmt: skip


def same_bytes(context: click.Context) -> dict[str, str]:
    """The options that decide which bytes the output has, and their values as text; without those that are empty."""
    return {
        max(one.opts, key=len): _as_text(context.params[one.name])
        for one in context.command.params
        if one.name in context.params and one.name not in _HARMLESS and context.params[one.name]
    }


def given_options(context: click.Context) -> dict[str, str]:
    """The options on the command line, and their values as text."""
    return {
        max(one.opts, key=len): _as_text(context.params[one.name])
        for one in context.command.params
        if isinstance(one, click.Option)
        and one.name in context.params
        and context.get_parameter_source(one.name) is ParameterSource.COMMANDLINE
    }


def _as_text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
