"""``toxonnx train``"""

from __future__ import annotations

from pathlib import Path

import click


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--recipe", required=True, metavar="NAME|FILE", help="A recipe that ships, or a TOML file.")
@click.option("--base", metavar="DIR|HUB-ID", help="The pretrained model, in place of the recipe's.")
@click.option("-o", "--output", "out", required=True, type=click.Path(path_type=Path), help="The run's folder.")
@click.option("--validation", type=click.Path(path_type=Path), help="Labelled file to validate on, not a split.")
@click.option("--encoding", help="Encoding of the files; UTF-8 if not given.")
@click.option("--delimiter", help="Delimiter of the files, or tab; a comma (a tab for .tsv) if not given.")
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@click.option("--force", is_flag=True, help="Replace the run if it exists.")
def command(
    data: Path,
    recipe: str,
    base: str | None,
    out: Path,
    validation: Path | None,
    encoding: str | None,
    delimiter: str | None,
    resume: bool,
    force: bool,
) -> None:
    """Train a classifier on labelled DATA (CSV or TSV); the best epoch is kept."""
    from toxonnx.extras import require
    from toxonnx.recipe import load_recipe

    wanted = load_recipe(recipe)
    require("train")
    from toxonnx.cli.chatter import hush

    hush()
    from toxonnx.train.fit import fit

    run = fit(
        wanted, data, out, base=base, validation=validation, encoding=encoding, delimiter=delimiter, resume=resume,
        force=force, say=click.echo,
    )  # fmt: skip
    for part, figures in run.table["figures"].items():
        click.echo(
            f"best epoch {run.table['best_epoch']} on {part}: accuracy {figures['accuracy']:.4f}, "
            f"macro F1 {figures['macro_f1']:.4f}, loss {figures['loss']:.4f}"
        )
        for name, one in figures["per_class"].items():
            click.echo(
                f"  {name}: precision {one['precision']:.3f}, recall {one['recall']:.3f}, F1 {one['f1']:.3f}, "
                f"{one['support']} rows"
            )
    click.echo(f"wrote {out}; next: toxonnx export {out} -o BUNDLE")
