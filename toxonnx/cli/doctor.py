"""``toxonnx doctor``"""

from __future__ import annotations

import click

from toxonnx.cli.options import device_options, warn_of_fallback
from toxonnx.records import to_json


@click.command("doctor")
@click.argument("bundle", required=False)
@device_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(bundle: str | None, device: str, allow_fallback: bool, as_json: bool) -> None:
    """Show what this machine has, what is installed, and how BUNDLE, a folder or a name, runs here.

    The default is the bundle that ships with toxonnx. It is loaded on the device and scores a few sentences for which
    it contains the probabilities of the export, or PyTorch's. Exit code 3 if the machine lacks something, 2 if the
    bundle does not run on the device, 1 if its scores differ from these.
    """
    from toxonnx.diagnosis import diagnose

    diagnosis = diagnose(bundle, device=device, allow_fallback=allow_fallback, on_load=warn_of_fallback)
    if as_json:
        click.echo(to_json(diagnosis.to_dict()), nl=False)
    else:
        from toxonnx.cli.console import Terminal

        Terminal().table(["", ""], [list(row) for row in diagnosis.lines().items()], left=2)
    if diagnosis.error:
        raise diagnosis.error
