"""``toxonnx train``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toxonnx.cli.options import read_options

if TYPE_CHECKING:
    from toxonnx.io.base import ReadOptions


@click.command("train")
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--recipe", required=True, metavar="NAME|FILE", help="A recipe that ships with toxonnx, or a TOML file.")
@click.option("--base", metavar="DIR|HUB-ID", help="The pretrained model, in place of the recipe's.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option(
    "--validation", type=click.Path(path_type=Path), help="Labelled file to validate on, in place of a split."
)
@click.option("--test", type=click.Path(path_type=Path), help="Labelled file to test on, in place of a split.")
@read_options
@click.option("--resume", is_flag=True, help="Continue from the run's last checkpoint.")
@click.option("--force", is_flag=True, help="Replace the run if it exists.")
def command(
    data: Path | None,
    recipe: str,
    base: str | None,
    output: Path,
    validation: Path | None,
    test: Path | None,
    reading: ReadOptions,
    resume: bool,
    force: bool,
) -> None:
    """Train a classifier on DATA, a labelled file (CSV, TSV, JSON lines or Parquet); the best epoch is kept.

    DATA is left out if the recipe names its files.
    """
    from toxonnx.extras import require
    from toxonnx.recipe_files import load_recipe

    loaded = load_recipe(recipe)
    require("train")
    from toxonnx.cli.quiet import silence_transformers

    silence_transformers()
    from toxonnx.cli.console import log
    from toxonnx.cli.progress import show_progress
    from toxonnx.train.fit import TrainRequest, fit
    from toxonnx.train.trainer import Reports

    request = TrainRequest(
        recipe=loaded, data=data, output=output, base=base, validation=validation, test=test, reading=reading,
        resume=resume, force=force,
    )  # fmt: skip
    try:
        with show_progress() as progress:
            run = fit(request, Reports(log=log, progress=progress))
    except (KeyboardInterrupt, SystemExit):
        if output.exists():
            click.echo(f"to continue {output} from its last checkpoint, add --resume to the same command", err=True)
        raise
    for part, metrics in run.metrics.items():
        click.echo(
            f"best epoch {run.best_epoch} on {part}: accuracy {metrics['accuracy']:.4f}, macro F1 "
            f"{metrics['macro_f1']:.4f}, loss {metrics['loss']:.4f}"
        )
        for name, label in metrics["per_class"].items():
            click.echo(
                f"  {name}: precision {label['precision']:.3f}, recall {label['recall']:.3f}, F1 {label['f1']:.3f}, "
                f"{label['support']} rows" + (f" of {label['known']}" if label["known"] is not None else "")
            )
    click.echo(f"wrote {output}; next: toxonnx export {output} -o BUNDLE")
