"""The command line: one module per command, imported when it is called."""

from __future__ import annotations

import importlib
import sys

import click

from toxonnx.cli.process import run

__all__ = ["main"]

COMMANDS = {
    "check": "Find problems in a labelled file that would inflate its metrics.",
    "train": "Train a classifier from a recipe: LoRA or full fine-tuning.",
    "export": "Merge, convert to ONNX, quantize, verify and seal a bundle.",
    "fit-cascade": "Give a bundle a first stage that answers easy rows, fitted on your texts.",
    "hub-layout": "Copy a bundle to a folder for the Hugging Face Hub and transformers.js.",
    "predict": "Score a file: add labels and probabilities to its rows.",
    "join": "Join the outputs of the parts of a file that predict --shard scored.",
    "eval": "Evaluate models on labelled rows and functional test suites.",
    "bench": "Benchmark throughput and latency against PyTorch.",
    "serve": "Serve bundles over HTTP: own, Perspective, OpenAI, TEI, KServe endpoints.",
    "doctor": "Check this machine, what is installed, and a bundle on it.",
    "map-scores": "Find the thresholds that replace those for another service's scores.",
    "info": "Describe a bundle and its measured quality.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"toxonnx.cli.{cmd_name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _: click.Parameter, requested: bool) -> None:
    if requested:
        from toxonnx.system import versions

        installed = versions()
        click.echo("\n".join(f"{name} {installed.pop(name)}" for name in ["toxonnx", *installed] if name in installed))
        ctx.exit()


EXIT_CODES = """Exit codes: 0 done, 1 a limit was not met, 2 wrong usage or bad input, 3 the machine lacks something,
70 a bug in toxonnx; 129, 130, 131, 141 and 143 ended by SIGHUP, SIGINT (Ctrl-C), SIGQUIT, SIGPIPE and SIGTERM."""


@click.group(cls=_Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Print the traceback of an error.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the versions of toxonnx, Python and the packages that it runs on.",
)
def group(debug: bool) -> None:
    """Fast text classification: train in PyTorch, export to verified ONNX, score files of any size."""


def main() -> None:
    """Entry point. ``docs/exit-codes.md`` lists the exit codes."""
    sys.exit(run(lambda: group(standalone_mode=False), debug="--debug" in sys.argv[1:2]))
