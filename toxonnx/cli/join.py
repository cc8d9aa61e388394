"""``toxonnx join``"""

from __future__ import annotations

from pathlib import Path

import click

from toxonnx.wording import plural


@click.command("join")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace OUTPUT if it exists.")
def command(output: Path, force: bool) -> None:
    """Join the outputs of toxonnx predict --shard to OUTPUT, the file that -o named there.

    All shards have to be complete, unchanged, and of the same input, bundle and options.
    """
    from toxonnx.io.joining import join

    summary = join(output, force=force)
    rejected = f", {summary.rejected.total():,} rejected" if summary.rejected else ""
    click.echo(f"{plural(summary.rows, 'row')} in {output}{rejected}", err=True)
