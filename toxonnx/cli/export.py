"""``toxonnx export``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toxonnx.cli.options import parse_shares, read_options, text_column_option
from toxonnx.formats import LAYOUTS, PRECISIONS
from toxonnx.long_texts import MODES, POOLS

if TYPE_CHECKING:
    from toxonnx.io.base import ReadOptions


@click.command("export")
@click.argument("source")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the bundle.")
@click.option("--base", metavar="DIR|HUB-ID", help="Base model of an adapter, in place of the one it names.")
@click.option("--recipe", metavar="NAME|FILE", help="Recipe with limits and card, in place of the run's.")
@click.option(
    "--precision", type=click.Choice(list(PRECISIONS)), help="Number format  [default: the recipe's, or int8]"
)
@click.option(
    "--layout", type=click.Choice([name for name, layout in LAYOUTS.items() if layout.exported]),
    help="How the graph takes a batch: plain runs anywhere; fused and packed are for GPUs, in fp16 or fp32  "
    "[default: the recipe's, or plain]",
)  # fmt: skip
@click.option("--labels", metavar="A,B,...", help="Label names in the model's order, if it has none.")
@click.option("--activation", type=click.Choice(["softmax", "sigmoid"]), help="Single-label or multi-label.")
@click.option("--max-length", type=click.IntRange(min=3), help="Maximum number of tokens, in place of the recipe's.")
@click.option("--tokenizer", metavar="DIR|HUB-ID", help="The tokenizer, if it is not next to the weights.")
@click.option("--data", type=click.Path(path_type=Path), help="Rows to verify on, in place of the run's.")
@text_column_option
@click.option(
    "--label-column", "label_columns", multiple=True, metavar="COLUMN",
    help="Column of --data with the label; one option per label for a multi-label model.",
)  # fmt: skip
@read_options
@click.option(
    "--long-texts", type=click.Choice(MODES),
    help="How texts of more than the maximum length are read: truncated, or in windows whose logits are pooled  "
    "[default: the recipe's, or truncate]",
)  # fmt: skip
@click.option(
    "--stride", type=click.IntRange(min=0), metavar="TOKENS",
    help="Tokens that a window shares with the one before it  [default: a quarter of the maximum length]",
)  # fmt: skip
@click.option(
    "--pool", type=click.Choice(POOLS),
    help="The largest or the mean logit of a label over the windows  [default: max for a multi-label model, else mean]",
)  # fmt: skip
@click.option(
    "--max-windows", type=click.IntRange(1, 1 << 16), metavar="N",
    help="Windows of a text that are read; the rest is truncated  [default: 32]",
)  # fmt: skip
@click.option(
    "--leave-out", multiple=True, metavar="LABEL",
    help="A label of a multi-label model that is not exported; repeatable  [default: the recipe's]",
)  # fmt: skip
@click.option("--no-calibration", is_flag=True, help="Keep the model's own probabilities.")
@click.option(
    "--target-precision", metavar="X|LABEL=X,...",
    help="Fit thresholds that reach this precision on the held-out rows, for every label or for some; in a "
    "single-label model, rows below all thresholds are marked for review.",
)  # fmt: skip
@click.option("--target-recall", metavar="X|LABEL=X,...", help="Fit thresholds that reach this recall.")
@click.option("--best-f1", is_flag=True, help="Fit thresholds that maximise the macro F1.")
@click.option(
    "--cascade", metavar="X,LABEL=X,...",
    help="Fit a first stage that answers easy rows: with 95% confidence, a share X of all rows, and of each label's "
    "rows, keeps the full model's decisions.",
)  # fmt: skip
@click.option(
    "--cascade-data", type=click.Path(path_type=Path),
    help="Texts to fit and test the first stage on, without labels, in place of the run's held-out rows.",
)  # fmt: skip
@click.option("--suite", metavar="NAME|FILE", help="A functional suite for the card: hatecheck, or a TOML file.")
@click.option("--cases", type=click.Path(path_type=Path), help="The suite's cases.")
@click.option(
    "--positive-labels", multiple=True, metavar="LABEL,...",
    help="Labels that correspond to the suite's positive label; repeatable, one evaluation each.",
)  # fmt: skip
@click.option(
    "--allow-worse-than-baseline", is_flag=True,
    help="Seal a model that is no better than the most frequent class, or worse than TF-IDF.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the bundle if it exists.")
def command(
    source: str,
    output: Path,
    base: str | None,
    recipe: str | None,
    precision: str | None,
    layout: str | None,
    labels: str | None,
    activation: str | None,
    max_length: int | None,
    tokenizer: str | None,
    data: Path | None,
    text_columns: tuple[str, ...],
    label_columns: tuple[str, ...],
    reading: ReadOptions,
    long_texts: str | None,
    stride: int | None,
    pool: str | None,
    max_windows: int | None,
    leave_out: tuple[str, ...],
    no_calibration: bool,
    target_precision: str | None,
    target_recall: str | None,
    best_f1: bool,
    cascade: str | None,
    cascade_data: Path | None,
    suite: str | None,
    cases: Path | None,
    positive_labels: tuple[str, ...],
    allow_worse_than_baseline: bool,
    force: bool,
) -> None:
    """Make a bundle from SOURCE: a run, a PEFT adapter folder, or a sequence-classification checkpoint.

    The model is verified against PyTorch before the bundle is sealed; if it exceeds a limit, or is no better than a
    baseline, no bundle is written and the exit code is 1. Probabilities are calibrated on the
    held-out rows, as part of the graph; thresholds are fitted there if requested.
    """
    from toxonnx.cli.console import log
    from toxonnx.errors import InputError
    from toxonnx.evaluate.suites import read_suite_request
    from toxonnx.recipe_files import load_recipe

    if (target_precision is not None) + (target_recall is not None) + best_f1 > 1:
        raise InputError("--target-precision, --target-recall and --best-f1 exclude each other")
    given = {
        "precision": precision, "layout": layout, "long_texts": long_texts, "stride": stride, "pool": pool,
        "max_windows": max_windows,
    }  # fmt: skip
    # With --long-texts truncate, what the recipe says about windows does not count.
    settings: dict[str, Any] = dict.fromkeys(("stride", "pool", "max_windows") if long_texts == "truncate" else ())
    settings |= {key: value for key, value in given.items() if value is not None}
    if leave_out:
        settings["leave_out"] = leave_out
    if no_calibration:
        settings["calibrate"] = False
    if target_precision is not None or target_recall is not None or best_f1:
        settings |= {
            "target_precision": parse_shares(target_precision, "--target-precision"),
            "target_recall": parse_shares(target_recall, "--target-recall"),
            "best_f1": best_f1,
        }
    if cascade is not None:
        settings["cascade"] = parse_shares(cascade, "--cascade")
    request = read_suite_request(suite, cases, positive_labels, reading)
    loaded_recipe = load_recipe(recipe) if recipe else None
    from toxonnx.extras import require

    require("export")
    from toxonnx.cli.quiet import silence_transformers

    silence_transformers()
    from toxonnx.convert.export import ExportRequest, export

    export(
        ExportRequest(
            source=source,
            output=output,
            base=base,
            labels=tuple(name.strip() for name in labels.split(",")) if labels else (),
            activation=activation,
            max_length=max_length,
            tokenizer=tokenizer,
            data=data,
            reading=reading,
            text_columns=text_columns,
            label_columns=label_columns,
            recipe=loaded_recipe,
            settings=settings,
            cascade_data=cascade_data,
            suite=request,
            allow_worse_than_baseline=allow_worse_than_baseline,
            force=force,
        ),
        log=log,
    )
