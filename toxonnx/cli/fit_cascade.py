"""``toxonnx fit-cascade``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toxonnx.cli.options import (
    device_options,
    parse_shares,
    read_options,
    text_column_option,
    threads_option,
    warn_of_fallback,
)

if TYPE_CHECKING:
    from toxonnx.io.base import ReadOptions


@click.command("fit-cascade")
@click.argument("data", type=click.Path(path_type=Path))
@text_column_option
@click.option("--bundle", metavar="DIR|NAME", help="The model  [default: the one that ships with toxonnx]")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the new bundle.")
@click.option(
    "--agreement", metavar="X,LABEL=X,...", default="0.995", show_default=True,
    help="With 95% confidence, a share X of all rows, and of each label's rows, keeps the full model's decisions.",
)  # fmt: skip
@device_options
@threads_option
@read_options
@click.option("--force", is_flag=True, help="Replace the bundle if it exists.")
def command(
    data: Path,
    text_columns: tuple[str, ...],
    bundle: str | None,
    output: Path,
    agreement: str,
    device: str,
    allow_fallback: bool,
    threads: int | None,
    reading: ReadOptions,
    force: bool,
) -> None:
    """Copy a bundle, and give it a first stage that answers easy rows, fitted on the texts in DATA.

    DATA needs no labels. Give texts like those that will be scored, the more the better: half of them are only tested
    on. If they cannot show that the decisions are kept, no bundle is written and the exit code is 1.
    """
    from toxonnx.extras import require

    require("check")
    from toxonnx.bundle import open_bundle
    from toxonnx.cli.console import log
    from toxonnx.convert.add_cascade import add_cascade
    from toxonnx.data.label_columns import join_texts
    from toxonnx.inference.classifier import Classifier
    from toxonnx.inference.options import RuntimeOptions
    from toxonnx.io.table import read_table
    from toxonnx.resources import find_bundle
    from toxonnx.texts import replace_surrogates

    opened = open_bundle(find_bundle(bundle))
    texts = join_texts(read_table(data, reading), opened.manifest.text, text_columns)
    classifier = Classifier(
        opened, RuntimeOptions(device=device, allow_fallback=allow_fallback, threads=threads, cascade=False)
    )
    warn_of_fallback(classifier)
    add_cascade(
        classifier,
        texts,
        output,
        parse_shares(agreement, "--agreement"),
        where=replace_surrogates(data.name),
        force=force,
        log=log,
    )
    click.echo(f"wrote {output}")
