"""``toxonnx bench``"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toxonnx.cli.options import FiniteRange, max_batch_tokens_option, read_options, text_column_option
from toxonnx.records import to_json

if TYPE_CHECKING:
    from toxonnx.bench.report import BenchReport
    from toxonnx.io.base import ReadOptions


@click.command("bench")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@text_column_option
@click.option("--bundle", metavar="DIR|NAME", help="The model  [default: the one that ships with toxonnx]")
@click.option(
    "--compare", multiple=True, metavar="pytorch|DIR|NAME",
    help="What to compare with; repeat for more. pytorch: the bundle's architecture in PyTorch with random weights. "
    "DIR: another bundle, or a run or checkpoint, which runs in PyTorch.  [default: pytorch if it is installed]",
)  # fmt: skip
@click.option(
    "--rows", type=click.IntRange(min=0), default=1000, show_default=True, help="Use the first rows only; 0 for all."
)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Timed passes over the rows.")
@click.option(
    "--latency-samples", type=click.IntRange(min=1), default=40, show_default=True,
    help="Rows timed one at a time in each round.",
)  # fmt: skip
@click.option(
    "--device", type=click.Choice(["cpu", "cuda", "tensorrt"]), default="cpu", show_default=True,
    help="Device of the bundle and of PyTorch; on a GPU, PyTorch runs the pipeline in fp32 and sorted batches in fp16.",
)  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), help="Cores for each candidate  [default: all that may be used]")
@max_batch_tokens_option
@read_options
@click.option(
    "--price-per-hour", type=FiniteRange(min=0), help="Price of this machine; adds the cost per million rows."
)
@click.option(
    "--min-speedup", type=FiniteRange(min=0), metavar="N",
    help="Exit with code 1 unless the bundle is N times as fast as each other candidate.",
)  # fmt: skip
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the report with all raw samples.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write the report as a page with plots.")
@click.option("--force", is_flag=True, help="Replace the reports if they exist.")
def command(
    file: Path | None,
    text_columns: tuple[str, ...],
    bundle: str | None,
    compare: tuple[str, ...],
    rows: int,
    rounds: int,
    latency_samples: int,
    device: str,
    threads: int | None,
    max_batch_tokens: int | None,
    reading: ReadOptions,
    price_per_hour: float | None,
    min_speedup: float | None,
    json_path: Path | None,
    html_path: Path | None,
    force: bool,
) -> None:
    """Measure throughput and latency of a bundle, and compare it with PyTorch or other bundles.

    The texts are those of FILE, or synthetic texts. Each candidate runs in its own process, on the
    same texts and the same number of cores. Rounds are interleaved; the median, the slowest and the fastest are
    reported.
    """
    from toxonnx.cli.console import log
    from toxonnx.cli.outputs import open_outputs
    from toxonnx.extras import missing, require

    require("cpu")
    if html_path:
        require("bench")
    if not missing("train"):
        from toxonnx.cli.quiet import silence_transformers

        silence_transformers()
    from toxonnx.bench.benchmark import BenchOptions, benchmark_bundle

    options = BenchOptions(
        file=file, text_columns=text_columns, reading=reading, rows=rows, bundle=bundle, compare=compare, rounds=rounds,
        latency_samples=latency_samples, device=device, threads=threads, max_batch_tokens=max_batch_tokens,
        price_per_hour=price_per_hour, require_comparison=min_speedup is not None,
    )  # fmt: skip
    for variable in ("TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY"):  # read when these are imported, also by workers
        os.environ.setdefault(variable, "error")
    with open_outputs({"--json": json_path, "--html": html_path}, inputs=[file], force=force) as outputs:
        report = benchmark_bundle(options, log)
        if "--json" in outputs:
            with outputs["--json"] as json_file:  # complete, also if the page cannot be drawn
                json_file.write(to_json(report.to_dict()))
        if "--html" in outputs:
            from toxonnx.bench.page import page

            outputs["--html"].write(page(report))
    _print_report(report)
    if min_speedup is not None:
        report.check_speedup(min_speedup)


def _print_report(report: BenchReport) -> None:
    from toxonnx.bench.render import summary_lines, summary_table
    from toxonnx.cli.console import Terminal

    terminal = Terminal(width=132)
    terminal.table(*summary_table(report))
    for line in summary_lines(report):
        terminal.print_text(line)
