"""The command line: one module per command, imported when it is called."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from typing import Any

import click

from toxonnx.errors import InputError, MachineError, ToxonnxError

__all__ = ["main"]

COMMANDS = {
    "check": "Find problems in a labelled file that would inflate its metrics.",
    "train": "Train a classifier from a recipe: LoRA or full fine-tuning.",
    "export": "Merge, convert to ONNX, quantize, verify and seal a bundle.",
    "predict": "Score a file: add labels and probabilities to its rows.",
    "eval": "Evaluate models on labelled rows and functional test suites.",
    "bench": "Benchmark throughput and latency against PyTorch.",
    "doctor": "Check this machine, what is installed, and a bundle on it.",
    "info": "Describe a bundle and its measured quality.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"toxonnx.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader of our output is gone (head, less); for a command that only prints, that is not a failure.
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (the rest of the buffer is discarded)
            sys.exit(0 if ctx.invoked_subcommand in {"predict", "info", "doctor"} else 1)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise MachineError(f"the disk is full: {error.filename or 'while writing'}") from error
            raise InputError(f"{error.filename or 'a file'}: {error.strerror}") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _: click.Parameter, requested: bool) -> None:
    if requested:
        import toxonnx

        click.echo(toxonnx.__version__)
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Print the traceback of an error.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def group(debug: bool) -> None:
    """Fast text classification: train in PyTorch, export to verified ONNX, score files of any size."""


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 a gate failed, 2 wrong usage or bad input, 3 the machine lacks something,
    130 interrupted."""
    debug = "--debug" in sys.argv[1:2]
    # As an exception, so that partial output files are removed.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        group(standalone_mode=False)
        sys.stdout.flush()
    except ToxonnxError as error:
        if debug:
            raise
        _end(f"error: {error}", error.exit_code)
    except click.exceptions.Abort:
        _end("interrupted", 130)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


def _end(message: str, code: int) -> None:
    click.echo(message, err=True)
    sys.exit(code)
