"""``toxonnx predict``"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toxonnx.cli.options import (
    FiniteRange,
    check_format,
    device_options,
    long_texts_options,
    max_batch_tokens_option,
    no_cascade_option,
    read_options,
    text_column_option,
    threads_option,
    thresholds_option,
)
from toxonnx.cli.predict_parameters import PredictOptions
from toxonnx.io.remote import as_location

if TYPE_CHECKING:
    from toxonnx.io.remote import Location
    from toxonnx.io.shards import Shard


def _columns(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    from toxonnx.io.output_columns import COLUMNS

    kinds = tuple(kind.strip() for kind in value.split(",")) if value is not None else ()
    for kind in kinds:
        if kind not in COLUMNS:
            raise click.BadParameter(f"unknown column {kind!r}; choose from {', '.join(COLUMNS)}")
        if kinds.count(kind) > 1:
            raise click.BadParameter(f"{kind} is repeated")
    return kinds


def _shard(_context: click.Context, _option: click.Parameter, value: str | None) -> Shard | None:
    from toxonnx.io.shards import parse_shard

    return parse_shard(value) if value is not None else None


def _output(context: click.Context, _option: click.Parameter, value: str | None) -> Location | None:
    context.params["into_folder"] = value is not None and value.endswith(("/", os.sep))  # which a path does not keep
    return None if value in {None, "-"} else as_location(value)


@click.command("predict")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=as_location)
@click.option(
    "-o", "--output", metavar="PATH", callback=_output,
    help="Output file; a folder for several files, or if PATH ends in /  [default: standard output]",
)  # fmt: skip
@text_column_option
@click.option("--bundle", metavar="DIR|NAME", help="The model  [default: the one that ships with toxonnx]")
@device_options
@threads_option
@max_batch_tokens_option
@click.option(
    "--review-below", type=FiniteRange(0, 1), default=0.0, metavar="P",
    help="Add a column review: 1 for rows whose label has a probability below P; with several labels per text, for "
    "those in which one has a probability between 1 - P and P.",
)  # fmt: skip
@thresholds_option
@long_texts_options
@no_cascade_option
@click.option(
    "--audit", type=FiniteRange(0, 1), default=0.0, metavar="SHARE",
    help="Compare the first stage's decisions with the full model's on this share of the texts, and report how many "
    "differ.",
)  # fmt: skip
@click.option(
    "--audit-stop", is_flag=True,
    help="Use only the full model from then on, if the audit finds more differences than promised.",
)  # fmt: skip
@click.option(
    "--columns", "output_columns", metavar="NAME,...", callback=_columns,
    help="Columns to add, of label, score, probabilities (one per label), review, truncated, no_tokens, repaired, "
    "stage (1: first stage, 2: full model) and error  [default: label,score,probabilities, review if any row can be "
    "marked, error with --on-error null]",
)  # fmt: skip
@click.option(
    "--prefix", default="", metavar="PREFIX", help="What the names of the columns added start with  [default: nothing]"
)
@read_options
@click.option(
    "--output-format", metavar="FORMAT", callback=check_format,
    help="Format of the output, as for --input-format  [default: by its suffix, else the input's]",
)  # fmt: skip
@click.option(
    "--on-error", type=click.Choice(["fail", "skip", "null"]), default="fail", show_default=True,
    help="What to do with a row that cannot be scored: end the command; leave the row out; or write it without scores "
    "and with a column error.",
)  # fmt: skip
@click.option(
    "--max-rejects", type=click.IntRange(min=0), metavar="N",
    help="With skip or null: end the command after more than N such rows  [default: any number]",
)  # fmt: skip
@click.option(
    "--rejects", "rejects_file", type=as_location, metavar="FILE",
    help="With skip or null: list these rows in FILE, as CSV with the columns of DuckDB's reject_errors.",
)  # fmt: skip
@click.option(
    "--manifest", "manifest_file", type=as_location, metavar="FILE",
    help="Write counts, sizes, versions, options and times to FILE, as JSON, once the output is complete.",
)  # fmt: skip
@click.option(
    "--spreadsheet-safe", is_flag=True,
    help="Put an apostrophe before each cell of CSV that a spreadsheet would run as a formula.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="With skip or null: exit with code 1 if there were such rows.")
@click.option(
    "--resume", is_flag=True,
    help="Continue where an earlier run of the same command was interrupted; without such a run, start.",
)  # fmt: skip
@click.option(
    "--state-dir", type=click.Path(path_type=Path), metavar="DIR",
    help="For outputs that are URLs: where they are on this machine until they are uploaded, so that --resume can "
    "continue them  [default: a temporary folder]",
)  # fmt: skip
@click.option(
    "--checkpoint-rows", type=click.IntRange(min=1), default=20_000, show_default=True, metavar="N",
    help="How many rows an interrupted run may lose.",
)  # fmt: skip
@click.option(
    "--shard", metavar="K/N", callback=_shard,
    help="Score the K-th of N shards of FILE, to a file with the numbers in its name; toxonnx join joins them. Of "
    "several files, score each N-th one.",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
    help="Score in this process, or on the workers of a Ray cluster.",
)  # fmt: skip
@click.option("--ray-address", metavar="ADDRESS", help="The cluster  [default: RAY_ADDRESS, else one on this machine]")
@click.option(
    "--ray-workers", type=click.IntRange(min=1), metavar="N",
    help="Workers, with --threads cores each  [default: one per core]",
)  # fmt: skip
@click.option(
    "--force", is_flag=True, help="Replace the output if it exists; without --resume, also discard an interrupted run."
)
@click.option("-v", "--verbose", is_flag=True, help="Print how the file is scored.")
def command(**given: Any) -> None:
    """Score the texts of FILE: CSV, TSV, JSON lines, Parquet or plain text, of any size; - is standard input.

    The input is copied as it is, with columns added at the end: label, score, and the probability of each label. It may
    be compressed by gzip or zstd, and so is an output whose name ends in .gz or .zst.

    Several files, quoted patterns such as 'logs/*.csv' and folders are written under the same names to the folder that
    -o names. All of them may be URLs such as s3://bucket/posts.csv.

    With --review-below, or if the bundle's thresholds leave some rows undecided, a column review marks the rows that a
    person should look at with 1. Use --columns to choose the columns, for example to mark truncated texts.

    A row that cannot be scored (wrong number of fields, invalid JSON, null, ...) ends the command, unless --on-error
    says otherwise.
    """
    started = datetime.now(UTC)
    options = PredictOptions(**given)
    options.check()
    from toxonnx.cli.predict_plan import make_plan

    plan = make_plan(options)
    if plan is None:
        click.echo(f"there are fewer files than shards: nothing to score for {options.shard}", err=True)
        return
    with plan.open_first() as first:
        # Imports ONNX Runtime, for which errors about files need not wait.
        from toxonnx.cli.predict_run import run

        run(options, plan, first, started)
