"""``toxonnx predict``"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toxonnx.cli.options import (
    check_format,
    device_options,
    read_options,
    text_column_option,
    threads_option,
    warn_of_fallback,
)
from toxonnx.cli.progress import show_progress

if TYPE_CHECKING:
    from toxonnx.bundle import Bundle
    from toxonnx.io.base import ReadOptions
    from toxonnx.predict import Summary


DEFAULT_COLUMNS = ("label", "score", "probabilities")


def _columns(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, ...]:
    from toxonnx.io.output_columns import COLUMNS

    kinds = tuple(kind.strip() for kind in value.split(",")) if value is not None else ()
    for kind in kinds:
        if kind not in COLUMNS:
            raise click.BadParameter(f"unknown column {kind!r}; choose from {', '.join(COLUMNS)}")
        if kinds.count(kind) > 1:
            raise click.BadParameter(f"{kind} is repeated")
    return kinds


def _no_dash(_context: click.Context, _option: click.Parameter, value: Path | None) -> Path | None:
    return None if value == Path("-") else value


@click.command("predict")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), callback=_no_dash, help="Output file  [default: standard output]"
)
@text_column_option
@click.option("--bundle", metavar="DIR|NAME", help="The model  [default: the one that ships with toxonnx]")
@device_options
@threads_option
@click.option(
    "--max-batch-tokens", type=click.IntRange(min=1),
    help="Largest number of tokens in a batch  [default: 1024; 32768 on a GPU]",
)  # fmt: skip
@click.option(
    "--review-below", type=click.FloatRange(0, 1), default=0.0, metavar="P",
    help="Add a column review with 1 for rows whose label has a probability below P.",
)  # fmt: skip
@click.option(
    "--columns", "output_columns", metavar="NAME,...", callback=_columns,
    help="Columns to add, of label, score, probabilities (one per label), review, truncated, no_tokens and repaired  "
    "[default: label,score,probabilities, and review if any row can be marked]",
)  # fmt: skip
@click.option(
    "--prefix", default="", metavar="PREFIX", help="What the names of the columns added start with  [default: nothing]"
)
@read_options
@click.option(
    "--output-format", metavar="FORMAT", callback=check_format,
    help="Format of the output, as for --input-format  [default: by its suffix, else the input's]",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@click.option("-v", "--verbose", is_flag=True, help="Print how the file is scored.")
def command(
    file: Path,
    output: Path | None,
    text_columns: tuple[str, ...],
    bundle: str | None,
    device: str,
    allow_fallback: bool,
    threads: int | None,
    max_batch_tokens: int | None,
    review_below: float,
    output_columns: tuple[str, ...],
    prefix: str,
    reading: ReadOptions,
    output_format: str | None,
    force: bool,
    verbose: bool,
) -> None:
    """Score the texts of FILE: CSV, TSV, JSON lines, Parquet or plain text, of any size; - is standard input.

    The input is copied as it is, with columns added at the end: label, score, and the probability of each label. It may
    be compressed by gzip or zstd, and so is an output whose name ends in .gz or .zst.

    With --review-below, or if the bundle's thresholds leave some rows undecided, a column review marks the rows that a
    person should look at with 1. Use --columns to choose the columns, for example to mark truncated texts.
    """
    from toxonnx.errors import InputError
    from toxonnx.io.base import WriteOptions, open_sink, open_source

    with open_source(file, reading) as source:
        from toxonnx.bundle import open_bundle
        from toxonnx.inference.classifier import Classifier
        from toxonnx.inference.options import RuntimeOptions
        from toxonnx.io.output_columns import OutputColumns
        from toxonnx.predict import predict
        from toxonnx.resources import find_bundle

        opened = open_bundle(find_bundle(bundle))
        text = opened.manifest.text
        try:
            columns = text.choose_columns(source.columns, text_columns)
        except InputError as error:
            raise InputError(f"{source.name}: {error.what}", source.columns_hint or error.hint) from None
        options = RuntimeOptions(
            device=device, allow_fallback=allow_fallback, threads=threads, max_batch_tokens=max_batch_tokens
        )
        classifier = Classifier(opened, options, review_below=review_below)
        warn_of_fallback(classifier)
        if verbose:
            click.echo(str(classifier.settings), err=True)
        kinds = output_columns or (*DEFAULT_COLUMNS, *["review"] * classifier.can_mark_for_review)
        added = OutputColumns(kinds, classifier.labels.names, prefix, classifier.labels.multi)
        with open_sink(output, source, added, WriteOptions(output_format, force)) as sink:
            if not text_columns:
                click.echo(f"reading the text from {', '.join(map(repr, columns))}", err=True)
            if not reading.has_header:
                click.echo(f"no header is written; the columns added are {', '.join(sink.columns)}", err=True)
            try:
                with show_progress() as show, _no_garbage_collection():

                    def progress(done: Summary) -> None:
                        share = min(1.0, source.bytes_done(done.position) / source.size) if source.size else None
                        show(share, f"{done.rows:,} rows, {done.rows / done.seconds:,.0f} rows/s")

                    summary = predict(classifier, source, sink, text, columns, progress=progress)
            except InputError as error:
                if output is None:
                    error.hint += "\nThe output on standard output is incomplete."
                raise
    _print_summary(summary, opened)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """The rows in flight contain no reference cycles, and searching them for some takes a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _print_summary(summary: Summary, bundle: Bundle) -> None:
    from toxonnx.cli.console import sanitize

    manifest = bundle.manifest
    rate = summary.rows / summary.seconds if summary.seconds else 0.0
    lines = [f"{summary.rows:,} rows in {summary.seconds:.1f} s ({rate:,.0f} rows/s) with {manifest.name}"]
    width = max((len(label) for label in summary.labels), default=0)
    for label, count in summary.labels.most_common():
        meaning = manifest.label_descriptions.get(label, "")
        lines.append(f"  {label:{width}}  {count:>9,}  {count / summary.rows:6.1%}  {meaning}".rstrip())
    if summary.review:
        lines.append(f"  marked for review: {summary.review:,} ({summary.review / summary.rows:.1%})")
    if summary.truncated:
        share = summary.truncated / summary.rows
        lines.append(f"  truncated to {manifest.max_length} tokens: {summary.truncated:,} ({share:.1%})")
    if summary.cached:
        lines.append(f"  scores reused from an identical text: {summary.cached:,}")
    if summary.no_tokens:
        lines.append(f"  empty, or without a token that the model knows: {summary.no_tokens:,}")
    if summary.repaired:
        lines.append(f"  lone surrogates replaced by U+FFFD: {summary.repaired:,}")
    if manifest.language:
        lines.append(f"  the model reads {manifest.language} only")
    if bundle.card:
        lines.append(f"  what it can and cannot do: {bundle.card}")
    click.echo("\n".join(map(sanitize, lines)), err=True)
