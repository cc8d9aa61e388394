"""``toxonnx predict``"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toxonnx.cli.device import device_options, say_fallback

if TYPE_CHECKING:
    from toxonnx.annotate import Summary
    from toxonnx.rows import RowReader


@click.command("predict")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write; standard output if not given.")
@click.option("--text", multiple=True, metavar="COLUMN", help="Column with the text; again for each further column.")
@click.option("--bundle", metavar="DIR|NAME", help="The model; the one that ships if not given.")
@device_options
@click.option(
    "--threads", type=click.IntRange(min=1),
    help="Batches scored at a time; if not given, one a core that may be used, two on a GPU.",
)  # fmt: skip
@click.option("--batch-tokens", type=click.IntRange(min=1), help="Tokens of a batch at most; 1,024, on a GPU 32,768.")
@click.option(
    "--review-band", type=click.FloatRange(0, 1), default=0.0, metavar="P",
    help="Mark rows for people to look at, in a column review: those whose label is less likely than this.",
)  # fmt: skip
@click.option("--encoding", help="Encoding of the file; UTF-8 if not given.")
@click.option("--delimiter", help="Delimiter of the file, or tab; a comma (a tab for .tsv) if not given.")
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@click.option("-v", "--verbose", is_flag=True, help="Say how the file is scored.")
def command(
    file: Path,
    output: Path | None,
    text: tuple[str, ...],
    bundle: str | None,
    device: str,
    allow_fallback: bool,
    threads: int | None,
    batch_tokens: int | None,
    review_band: float,
    encoding: str | None,
    delimiter: str | None,
    force: bool,
    verbose: bool,
) -> None:
    """Score the texts of a CSV or TSV FILE of any size.

    All columns are kept as they are; label, score and one probability a label are appended, in the file's order. With
    --review-band, or a bundle whose thresholds leave some rows open, a column review says 1 for rows to look at.
    """
    from toxonnx.errors import InputError
    from toxonnx.rows import OutputFile, RowReader

    with RowReader(file, encoding, delimiter) as reader:
        from toxonnx.annotate import added_columns, annotate
        from toxonnx.bundle import open_bundle
        from toxonnx.classifier import Classifier
        from toxonnx.resources import find_bundle

        opened = open_bundle(find_bundle(bundle))
        try:
            columns = opened.manifest.text.choose(reader.columns, text)
        except InputError as error:
            hint = error.hint
            other = next((mark for mark in ";\t|" if mark in reader.header.raw), None)
            if len(reader.columns) == 1 and other:
                hint = f"Only one column was found; is the delimiter {other!r}? Then add --delimiter '{other}'."
            raise InputError(f"{file}: {error.what}", hint) from None
        classifier = Classifier(
            opened,
            device=device,
            allow_fallback=allow_fallback,
            threads=threads,
            batch_tokens=batch_tokens,
            review_band=review_band,
        )
        say_fallback(classifier)
        if verbose:
            from toxonnx.cli.doctor import describe_plan

            click.echo(describe_plan(classifier.plan), err=True)
        added = added_columns(reader.columns, classifier.labels.names, review=classifier.reviews)
        with OutputFile(output, encoding=reader.encoding, force=force) as sink:
            if not text:
                click.echo(f"reading the text from {', '.join(map(repr, columns))}", err=True)
            if added[0] != "label":
                click.echo(f"the file has columns of these names, so the new ones are {', '.join(added)}", err=True)
            try:
                with _progress(reader) as progress, _without_collecting():
                    summary = annotate(classifier, reader, sink, columns, added, progress=progress)
            except InputError as error:
                if output is None:
                    error.hint += "\nWhat stands on standard output is not the whole file."
                raise
    _report(summary, opened.manifest.name, opened.manifest.max_length)


@contextlib.contextmanager
def _without_collecting() -> Iterator[None]:
    """Rows on their way are many and make no cycles; to look through them for some costs a fifth of the rate."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def _progress(reader: RowReader) -> Iterator[Callable[[Summary], None]]:
    """A bar with rows a second and the time left, on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[rows]:,} rows"),
        TextColumn("{task.fields[rate]:,.0f} rows/s"), TimeRemainingColumn(), console=Console(stderr=True),
        transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=reader.size, rows=0, rate=0.0)

        def update(summary: Summary) -> None:
            if summary.rows % 64 == 0:
                rate = summary.rows / summary.seconds
                bar.update(task, completed=reader.position(summary.characters), rows=summary.rows, rate=rate)

        yield update


def _report(summary: Summary, name: str, limit: int) -> None:
    rate = summary.rows / summary.seconds if summary.seconds else 0.0
    lines = [f"{summary.rows:,} rows in {summary.seconds:.1f} s ({rate:,.0f} rows/s) with {name}"]
    width = max((len(label) for label in summary.labels), default=0)
    for label, count in summary.labels.most_common():
        lines.append(f"  {label:{width}}  {count:>9,}  {count / summary.rows:6.1%}")
    if summary.review:
        lines.append(f"  marked for review: {summary.review:,} ({summary.review / summary.rows:.1%})")
    if summary.truncated:
        lines.append(f"  cut at {limit} tokens: {summary.truncated:,} ({summary.truncated / summary.rows:.1%})")
    if summary.repeated:
        lines.append(f"  identical to an earlier row, not scored again: {summary.repeated:,}")
    if summary.empty:
        lines.append(f"  empty texts, scored as such: {summary.empty:,}")
    click.echo("\n".join(lines), err=True)
