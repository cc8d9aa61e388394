"""The reference of the command line, from the click commands."""

from __future__ import annotations

import inspect
import re

import click
from docstrings import cell

from toxonnx.cli import group

__all__ = ["page"]


def page() -> str:
    """The commands with their arguments, options and defaults."""
    context = click.Context(group, info_name="toxonnx")
    parts = [_usage(group, context, "toxonnx COMMAND")]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        parts.append(f"## {name}\n\n" + _usage(command, click.Context(command, info_name=name, parent=context)))
    return "\n".join(parts)


def _usage(command: click.Command, context: click.Context, usage: str = "") -> str:
    usage = usage or " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [f"```text\n{usage}\n```\n", inspect.cleandoc(command.help or ""), ""]
    lines += ["| option | meaning |", "| --- | --- |"]
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)):
            names, meaning = record
            lines.append(f"| `{cell(names.replace(' RANGE', ''))}` | {_meaning(meaning)} |")
    return "\n".join([*lines, ""])


def _meaning(text: str) -> str:
    """An option's help, without Markdown of its own; what click puts in brackets is set apart."""
    text = re.sub(r"([<>*_])", r"\\\1", text)
    return cell(re.sub(r"\s*\[([^\]]*(?:default|required|x\\[<>])[^\]]*)\]", r" *(\1)*", text))
