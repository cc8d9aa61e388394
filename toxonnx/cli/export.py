"""``toxonnx export``"""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export")
@click.argument("source")
@click.option("-o", "--output", "out", required=True, type=click.Path(path_type=Path), help="The bundle's folder.")
@click.option("--base", metavar="DIR|HUB-ID", help="An adapter's base, in place of the one it names.")
@click.option("--recipe", metavar="NAME|FILE", help="Limits and card in place of the run's.")
@click.option("--precision", type=click.Choice(["fp32", "int8", "fp16"]), help="The recipe's, or int8, if not given.")
@click.option("--labels", metavar="A,B,...", help="Label names in the model's order, where it has none.")
@click.option("--activation", type=click.Choice(["softmax", "sigmoid"]), help="One label a text or several.")
@click.option("--max-length", type=click.IntRange(min=3), help="Tokens, where no recipe says.")
@click.option("--data", type=click.Path(path_type=Path), help="Rows to verify on, in place of the run's.")
@click.option("--text", multiple=True, metavar="COLUMN", help="Text column of --data; again for each further one.")
@click.option("--label", multiple=True, metavar="COLUMN", help="Label column of --data; one a label for sigmoid.")
@click.option("--encoding", help="Encoding of --data; UTF-8 if not given.")
@click.option("--delimiter", help="Delimiter of --data, or tab; a comma (a tab for .tsv) if not given.")
@click.option("--force", is_flag=True, help="Replace the bundle if it exists.")
def command(
    source: str,
    out: Path,
    base: str | None,
    recipe: str | None,
    precision: str | None,
    labels: str | None,
    activation: str | None,
    max_length: int | None,
    data: Path | None,
    text: tuple[str, ...],
    label: tuple[str, ...],
    encoding: str | None,
    delimiter: str | None,
    force: bool,
) -> None:
    """Make a bundle of SOURCE: a run, a PEFT adapter folder, or a sequence-classification checkpoint.

    The result is verified against PyTorch before it is sealed; over a limit nothing is left and the exit code is 1.
    """
    from toxonnx.extras import require

    require("export")
    from toxonnx.cli.chatter import hush

    hush()
    from toxonnx.convert.export import export
    from toxonnx.recipe import load_recipe

    export(
        source,
        out,
        base=base,
        precision=precision,
        labels=tuple(name.strip() for name in labels.split(",")) if labels else (),
        activation=activation,
        max_length=max_length,
        data=data,
        text=text,
        label=label,
        encoding=encoding,
        delimiter=delimiter,
        recipe=load_recipe(recipe) if recipe else None,
        force=force,
        say=click.echo,
    )
