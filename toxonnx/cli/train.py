"""``toxonnx train``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toxonnx.cli.options import read_options

if TYPE_CHECKING:
    from toxonnx.io.base import ReadOptions


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--recipe", required=True, metavar="NAME|FILE", help="A recipe that ships, or a TOML file.")
@click.option("--base", metavar="DIR|HUB-ID", help="The pretrained model, in place of the recipe's.")
@click.option("-o", "--output", "out", required=True, type=click.Path(path_type=Path), help="The run's folder.")
@click.option("--validation", type=click.Path(path_type=Path), help="Labelled file to validate on, not a split.")
@read_options
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@click.option("--force", is_flag=True, help="Replace the run if it exists.")
def command(
    data: Path,
    recipe: str,
    base: str | None,
    out: Path,
    validation: Path | None,
    reading: ReadOptions,
    resume: bool,
    force: bool,
) -> None:
    """Train a classifier on labelled DATA (CSV or TSV); the best epoch is kept."""
    from toxonnx.extras import require
    from toxonnx.recipe import load_recipe

    wanted = load_recipe(recipe)
    require("train")
    from toxonnx.cli.quiet import silence_transformers

    silence_transformers()
    from toxonnx.train.fit import fit

    run = fit(
        wanted, data, out, base=base, validation=validation, reading=reading, resume=resume,
        force=force, log=click.echo,
    )  # fmt: skip
    for part, metrics in run.table["metrics"].items():
        click.echo(
            f"best epoch {run.table['best_epoch']} on {part}: accuracy {metrics['accuracy']:.4f}, "
            f"macro F1 {metrics['macro_f1']:.4f}, loss {metrics['loss']:.4f}"
        )
        for name, one in metrics["per_class"].items():
            click.echo(
                f"  {name}: precision {one['precision']:.3f}, recall {one['recall']:.3f}, F1 {one['f1']:.3f}, "
                f"{one['support']} rows"
            )
    click.echo(f"wrote {out}; next: toxonnx export {out} -o BUNDLE")
