"""``toxonnx export``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toxonnx.cli.options import read_options
from toxonnx.formats import LAYOUTS, PRECISIONS

if TYPE_CHECKING:
    from toxonnx.io.base import ReadOptions


@click.command("export")
@click.argument("source")
@click.option("-o", "--output", "out", required=True, type=click.Path(path_type=Path), help="The bundle's folder.")
@click.option("--base", metavar="DIR|HUB-ID", help="An adapter's base, in place of the one it names.")
@click.option("--recipe", metavar="NAME|FILE", help="Limits and card in place of the run's.")
@click.option("--precision", type=click.Choice(list(PRECISIONS)), help="The recipe's, or int8, if not given.")
@click.option(
    "--layout", type=click.Choice([name for name, one in LAYOUTS.items() if one.exported]),
    help="How the graph takes a batch: plain runs anywhere; fused and packed are for a GPU, in fp16 or fp32. The "
    "recipe's, or plain, if not given.",
)  # fmt: skip
@click.option("--labels", metavar="A,B,...", help="Label names in the model's order, where it has none.")
@click.option("--activation", type=click.Choice(["softmax", "sigmoid"]), help="One label a text or several.")
@click.option("--max-length", type=click.IntRange(min=3), help="Tokens, where no recipe says.")
@click.option("--data", type=click.Path(path_type=Path), help="Rows to verify on, in place of the run's.")
@click.option(
    "--text-column", multiple=True, metavar="COLUMN", help="Text column of --data; again for each further one."
)
@click.option(
    "--label-column", multiple=True, metavar="COLUMN", help="Label column of --data; one a label for sigmoid."
)
@read_options
@click.option("--no-calibration", is_flag=True, help="Leave probabilities as the model has them.")
@click.option(
    "--target-precision", metavar="X|LABEL=X,...",
    help="Thresholds by which each label, or these, are right this often on the held-out rows; rows that reach none "
    "are marked for review.",
)  # fmt: skip
@click.option("--target-recall", metavar="X|LABEL=X,...", help="Thresholds by which so much of a label is found there.")
@click.option("--best-f1", is_flag=True, help="Thresholds with the best macro F1.")
@click.option("--suite", metavar="NAME|FILE", help="A functional suite for the card: hatecheck, or a TOML file.")
@click.option("--cases", type=click.Path(path_type=Path), help="The suite's cases.")
@click.option(
    "--positive-labels",
    multiple=True,
    metavar="LABEL,...",
    help="Labels that mean what the suite asks for; again to compare.",
)
@click.option("--force", is_flag=True, help="Replace the bundle if it exists.")
def command(
    source: str,
    out: Path,
    base: str | None,
    recipe: str | None,
    precision: str | None,
    layout: str | None,
    labels: str | None,
    activation: str | None,
    max_length: int | None,
    data: Path | None,
    text: tuple[str, ...],
    label: tuple[str, ...],
    reading: ReadOptions,
    no_calibration: bool,
    target_precision: str | None,
    target_recall: str | None,
    best_f1: bool,
    suite: str | None,
    cases: Path | None,
    positive: tuple[str, ...],
    force: bool,
) -> None:
    """Make a bundle of SOURCE: a run, a PEFT adapter folder, or a sequence-classification checkpoint.

    The result is verified against PyTorch before it is sealed; over a limit nothing is left and the exit code is 1. On
    the held-out rows a temperature is fitted, so that probabilities mean what they log, and thresholds if asked for.
    """
    from toxonnx.errors import InputError
    from toxonnx.evaluate.suites import read_suite_request
    from toxonnx.recipe import load_recipe

    if (target_precision is not None) + (target_recall is not None) + best_f1 > 1:
        raise InputError("--target-precision, --target-recall and --best-f1 exclude each other")
    chosen = {"precision": precision, "layout": layout}
    settings: dict[str, Any] = {key: value for key, value in chosen.items() if value}
    if no_calibration:
        settings["calibrate"] = False
    if target_precision is not None or target_recall is not None or best_f1:
        settings |= {
            "target_precision": _shares(target_precision, "--target-precision"),
            "target_recall": _shares(target_recall, "--target-recall"),
            "best_f1": best_f1,
        }
    questions = read_suite_request(suite, cases, positive)
    followed = load_recipe(recipe) if recipe else None
    from toxonnx.extras import require

    require("export")
    from toxonnx.cli.quiet import silence_transformers

    silence_transformers()
    from toxonnx.convert.export import export

    export(
        source,
        out,
        base=base,
        labels=tuple(name.strip() for name in labels.split(",")) if labels else (),
        activation=activation,
        max_length=max_length,
        data=data,
        text=text,
        label=label,
        reading=reading,
        recipe=followed,
        settings=settings,
        suite=questions,
        force=force,
        log=click.echo,
    )


def _shares(given: str | None, option: str) -> dict[str, float]:
    """``0.9``, for every label, or ``hate=0.9,spam=0.8``."""
    from toxonnx.errors import InputError

    if given is None:
        return {}
    shares: dict[str, float] = {}
    for one in given.split(","):
        label, sign, value = one.rpartition("=")
        name = label.strip() if sign else "*"
        try:
            share = float(value)
        except ValueError:
            raise InputError(f"{option} {given!r} is neither a share nor LABEL=SHARE,...") from None
        if name in shares:
            raise InputError(f"{option} {given!r} says two things of {'every label' if name == '*' else name}")
        shares[name] = share
    return shares
