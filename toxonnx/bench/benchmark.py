"""Compares a bundle with other models on the same texts: everything behind ``toxonnx bench``."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from toxonnx.bench.candidates import CandidateOptions, build_candidates
from toxonnx.bench.checkpoints import RANDOM_WEIGHTS
from toxonnx.bench.cold_start import measure_cold_starts
from toxonnx.bench.report import BenchReport, summarize
from toxonnx.bench.run import run_benchmark
from toxonnx.bench.synthetic_texts import synthetic_texts
from toxonnx.bench.text_statistics import TextStatistics, padding_shares
from toxonnx.bundle import Bundle, open_bundle
from toxonnx.errors import InputError
from toxonnx.extras import install_command, missing
from toxonnx.inference.engine import Engine
from toxonnx.inference.options import RuntimeOptions
from toxonnx.inference.tokenizer import Tokenizer
from toxonnx.io.base import ReadOptions, open_source
from toxonnx.long_texts import TRUNCATE
from toxonnx.resources import find_bundle
from toxonnx.system import available_cores, describe_system

__all__ = ["BenchOptions", "benchmark_bundle"]

SYNTHETIC_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure.

    Attributes:
        file: CSV or TSV file with the texts; None for synthetic texts.
        text_columns: its columns; empty to choose as ``toxonnx predict`` does.
        reading: encoding and delimiter of the file.
        rows: the first rows are used; 0 for all.
        bundle: folder or name; the default bundle when None.
        compare: ``pytorch``, or folders; see :func:`toxonnx.bench.candidates.build_candidates`. Empty for ``pytorch``
            if it is installed.
        rounds: timed passes over the texts.
        latency_samples: texts scored one at a time in each round.
        device: of the bundle and of PyTorch.
        threads: cores for each candidate; None for all that this process may use.
        max_batch_tokens: of the bundle; see :class:`toxonnx.inference.options.RuntimeOptions`.
        price_per_hour: of the machine, in any currency.
        require_comparison: refuse to run without another candidate.
    """

    file: Path | None = None
    text_columns: tuple[str, ...] = ()
    reading: ReadOptions = field(default_factory=ReadOptions)
    rows: int = SYNTHETIC_ROWS
    bundle: str | None = None
    compare: tuple[str, ...] = ()
    rounds: int = 5
    latency_samples: int = 40
    device: str = "cpu"
    threads: int | None = None
    max_batch_tokens: int | None = None
    price_per_hour: float | None = None
    require_comparison: bool = False


def benchmark_bundle(options: BenchOptions, log: Callable[[str], None] = lambda _: None) -> BenchReport:
    """Measures a bundle and what it is compared with.

    Args:
        options: what to measure.
        log: receives lines of progress and warnings.

    Raises:
        InputError: an option or the file is invalid.
        MachineError: the machine lacks something, or a candidate stopped.
    """
    bundle = open_bundle(find_bundle(options.bundle))
    # Loaded in this process first so that an unavailable device is an error before anything is measured.
    engine = Engine(
        bundle,
        RuntimeOptions(
            device=options.device,
            threads=options.threads if options.device == "cpu" else None,
            max_batch_tokens=options.max_batch_tokens,
            cascade=False,
        ),
    )
    texts, source = _load_texts(bundle, options)
    sources = _sources(options, log)
    machine = describe_system()  # before anything runs, for the load average
    cores = options.threads or available_cores()
    if cores > machine.cores:
        raise InputError(
            f"--threads {cores}: this process may use {machine.cores} cores", f"Give at most {machine.cores}."
        )
    with tempfile.TemporaryDirectory(prefix="toxonnx-bench-") as folder:
        scratch = Path(folder)
        candidate_options = CandidateOptions(
            cores=cores, device=options.device, max_batch_tokens=options.max_batch_tokens
        )
        candidates = build_candidates(bundle, sources, candidate_options, scratch, log)
        columns = bundle.manifest.text.columns or ("text",)
        cold_starts = measure_cold_starts(candidates, columns, options.rounds, scratch, log)
        samples = min(options.latency_samples, len(texts))
        results = run_benchmark(candidates, texts, rounds=options.rounds, latency_samples=samples, log=log)
    reports = summarize(candidates, results, bundle.manifest.labels, price_per_hour=options.price_per_hour)
    return BenchReport(
        bundle=bundle.manifest.name,
        precision=bundle.manifest.precision,
        settings=engine.settings,
        texts=_text_statistics(bundle, engine, texts, source),
        cores=cores,
        rounds=options.rounds,
        price_per_hour=options.price_per_hour,
        machine=machine,
        candidates=tuple(
            dataclasses.replace(
                report,
                settings={key: value for key, value in candidate.options.items() if key != "model"},
                cold_start=cold_starts[candidate.name],
            )
            for report, candidate in zip(reports, candidates, strict=True)
        ),
    )


def _sources(options: BenchOptions, log: Callable[[str], None]) -> tuple[str, ...]:
    """What the bundle is compared with."""
    if options.compare:
        return options.compare
    if not missing("train"):
        return (RANDOM_WEIGHTS,)
    if options.require_comparison:
        raise InputError("--min-speedup needs another model", f"Add --compare, or: {install_command('train')}")
    log("PyTorch is not installed, so the bundle is measured without a comparison")
    return ()


def _load_texts(bundle: Bundle, options: BenchOptions) -> tuple[list[str], str]:
    """The texts to score, not normalised yet, and a description of where they come from."""
    if options.file is None:
        return synthetic_texts(options.rows or SYNTHETIC_ROWS), "synthetic texts as long as tweets"
    spec = bundle.manifest.text
    with open_source(options.file, options.reading) as reader:
        try:
            columns = spec.choose_columns(reader.columns, options.text_columns)
        except InputError as error:
            raise InputError(f"{options.file}: {error.what}", reader.columns_hint or error.hint) from None
        values = reader.value_getter(columns)
        texts: list[str] = []
        for record in reader:
            row = values(record)
            if row is not None:
                texts.append(spec.join(row))
            if options.rows and len(texts) == options.rows:
                break
    if not texts:
        raise InputError(f"{options.file} has no rows", "Give a file with at least one row below the header.")
    which = "the first" if len(texts) == options.rows else "all"
    return texts, f"{which} {len(texts):,} rows of {options.file.name}"


def _text_statistics(bundle: Bundle, engine: Engine, texts: list[str], source: str) -> TextStatistics:
    clean = [bundle.manifest.text.clean(text) for text in texts]
    manifest = bundle.manifest
    tokenized = Tokenizer(bundle.path / "tokenizer.json", manifest.max_length, manifest.long_texts or TRUNCATE)(clean)
    return TextStatistics.of(clean, tokenized, source, padding_shares(engine, tokenized.tokens))
