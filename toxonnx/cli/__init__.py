"""The command line: one file a verb, loaded when it is called."""

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

VERBS = {
    "check": "Look for what makes a labelled file's metrics lie, before training.",
    "train": "Train a classifier: LoRA or full fine-tuning, as a recipe says.",
    "export": "Merge, export to ONNX, quantize, verify, seal.",
    "predict": "Score a file and append labels and probabilities to it.",
    "eval": "Measure what a model gets right, with intervals, beside others, on functional suites.",
    "bench": "Measure throughput and latency, beside PyTorch.",
    "doctor": "Show what this machine has and how a bundle would run on it.",
    "info": "Show what a bundle is and what it was measured to do.",
}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"toxonnx.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader of our output has gone (head, less). For a verb that only shows, that is no failure.
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (what is left in the buffer has nowhere to go)
            sys.exit(0 if ctx.invoked_subcommand in {"predict", "info", "doctor"} else 1)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise MachineError(f"the disk is full: {error.filename or 'while writing'}") from error
            raise InputError(f"{error.filename or 'a file'}: {error.strerror}") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        import toxonnx

        click.echo(toxonnx.__version__)
        ctx.exit()


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def group(debug: bool) -> None:
    """Text classifiers, fast: train in PyTorch, export to verified ONNX, score files of any size."""


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 a gate failed, 2 wrong usage or bad input, 3 the machine lacks something,
    130 interrupted."""
    debug = "--debug" in sys.argv[1:2]
    # As an exception, so that half-written files are taken away on the way out.
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
