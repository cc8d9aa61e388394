"""The report of a benchmark: per candidate throughput, speedup, latency, memory, cost and agreement."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.bench.cold_start import ColdStart
from toxonnx.bench.run import Candidate, Measurements
from toxonnx.bench.text_statistics import TextStatistics
from toxonnx.errors import GateError
from toxonnx.inference.options import ExecutionSettings
from toxonnx.inference.scores import decide
from toxonnx.labels import Labels
from toxonnx.system import System

__all__ = ["PERCENTILES", "Agreement", "BenchReport", "CandidateReport", "Spread", "summarize"]

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest value over the rounds."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of a value per round."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Agreement:
    """A candidate's probabilities compared with those of the first candidate.

    Attributes:
        same_label: share of texts with the same decision.
        largest_probability_difference: over all texts and labels.
    """

    same_label: float
    largest_probability_difference: float

    @classmethod
    def of(cls, probs: NDArray[np.float32], reference: NDArray[np.float32], labels: Labels) -> Agreement:
        """Compares probabilities [texts, labels]."""
        a, b = reference.astype(np.float64), probs.astype(np.float64)
        same = (decide(a, labels) == decide(b, labels)).all(axis=1)
        return cls(float(same.mean()), float(np.abs(a - b).max()))


@dataclass(frozen=True, kw_only=True)
class CandidateReport:
    """Results of one candidate.

    Attributes:
        name: of the candidate.
        rows_per_second: over the rounds.
        speedup: how many times as fast as this candidate the first one was, over the rounds.
        latency_ms: ``p50``, ... -> milliseconds for a single text.
        load_seconds: to import the engine and load the model.
        loaded_memory_mb: resident memory once it is loaded.
        peak_memory_mb: peak resident memory.
        busy_cores: CPU time divided by wall time of the rounds.
        cost_per_million_rows: in the currency of the price; None without a price.
        agreement: with the first candidate; None if the two are not comparable.
        samples: raw seconds: ``seconds`` and ``cpu_seconds`` per round, ``latency_seconds`` per single text.
        settings: the candidate's options.
        cold_start: of a new process; None if it was not measured.
    """

    name: str
    rows_per_second: Spread
    speedup: Spread
    latency_ms: dict[str, float]
    load_seconds: float
    loaded_memory_mb: float
    peak_memory_mb: float
    busy_cores: float
    cost_per_million_rows: float | None
    agreement: Agreement | None
    samples: dict[str, list[float]]
    settings: dict[str, Any] = field(default_factory=dict)
    cold_start: ColdStart | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """Result of :func:`toxonnx.bench.benchmark.benchmark_bundle`.

    Attributes:
        bundle: name of the bundle, which is the first candidate.
        precision: of the bundle.
        settings: how the bundle runs.
        texts: what was scored.
        cores: for each candidate.
        rounds: timed passes over the texts.
        price_per_hour: of the machine, in any currency; None if not given.
        machine: what it ran on.
        candidates: results, the bundle first.
    """

    bundle: str
    precision: str
    settings: ExecutionSettings
    texts: TextStatistics
    cores: int
    rounds: int
    price_per_hour: float | None
    machine: System
    candidates: tuple[CandidateReport, ...]

    def check_speedup(self, minimum: float) -> None:
        """Compares the median speedup over each other candidate, except cascades, with a minimum.

        Raises:
            GateError: the bundle is less than ``minimum`` times as fast as some other candidate.
        """
        others = [one for one in self.candidates[1:] if not one.settings.get("cascade")]
        slowest = min(others, key=lambda other: other.speedup.median, default=None)
        if slowest is not None and not slowest.speedup.median >= minimum:
            raise GateError(
                f"{self.bundle} is {slowest.speedup.median:.2f} times as fast as {slowest.name}, "
                f"--min-speedup requires {minimum:g}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def summarize(
    candidates: Sequence[Candidate],
    results: Mapping[str, Measurements],
    labels: Labels,
    *,
    price_per_hour: float | None = None,
) -> list[CandidateReport]:
    """Results of all candidates, compared with the first.

    Args:
        candidates: as given to :func:`toxonnx.bench.run.run_benchmark`.
        results: what it returned.
        labels: of the first candidate.
        price_per_hour: of the machine, in any currency.
    """
    first = results[candidates[0].name]
    rows = len(first.probabilities)
    reports = []
    for candidate in candidates:
        result = results[candidate.name]
        rates = [rows / seconds for seconds in result.seconds]
        speedups = [theirs / ours for ours, theirs in zip(first.seconds, result.seconds, strict=True)]
        latency = np.percentile(np.array(result.latency_seconds) * 1e3, PERCENTILES).round(3).tolist()
        compared = candidate.comparable and result is not first
        cost = None if price_per_hour is None else price_per_hour / 3600 * 1e6 / statistics.median(rates)
        reports.append(
            CandidateReport(
                name=candidate.name,
                rows_per_second=Spread.of(rates),
                speedup=Spread.of(speedups),
                latency_ms={f"p{p}": value for p, value in zip(PERCENTILES, latency, strict=True)},
                load_seconds=round(result.load_seconds, 3),
                loaded_memory_mb=round(result.loaded_memory_kb / 1024, 1),
                peak_memory_mb=round(result.peak_memory_kb / 1024, 1),
                busy_cores=round(sum(result.cpu_seconds) / sum(result.seconds), 2),
                cost_per_million_rows=cost,
                agreement=Agreement.of(result.probabilities, first.probabilities, labels) if compared else None,
                samples={
                    "seconds": result.seconds, "cpu_seconds": result.cpu_seconds,
                    "latency_seconds": result.latency_seconds,
                },
            )
        )  # fmt: skip
    return reports
