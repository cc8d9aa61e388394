"""How fast files of each format are scored, in how much memory, and how soon an interrupted command ends.

    python benchmarks/files.py --json benchmarks/results/files.json

The rows are made: their texts are drawn from 2,000 different ones, so that nearly all scores are reused and the time is
that of reading, tokenizing and writing, not of the model. Each file is scored with a tenth of the rows as well: memory
must not grow with the rows. ``--ray`` compares the local engine with 1 and 2 workers of a Ray cluster on this machine,
on different texts.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toxonnx.bench.cold_start import measure_command
from toxonnx.bench.synthetic_texts import synthetic_texts
from toxonnx.system import available_cores, describe_system

DIFFERENT_TEXTS = 2_000
FORMATS = ("csv", "jsonl", "parquet", "csv.gz")
#: rows of a row group of Parquet, as of DuckDB's files: a group of up to 64 MiB is kept in memory until it is complete
GROUP_ROWS = 122_880


def _rows(count: int, different: int) -> Iterator[tuple[int, str, str]]:
    texts, rng = synthetic_texts(different), random.Random(1)
    for number in range(count):
        text = texts[number] if number < different else rng.choice(texts)
        yield number, text, rng.choice(["en", "de", "fr"])


def _write(path: Path, count: int, different: int = DIFFERENT_TEXTS) -> Path:
    names, rows = ["id", "text", "country"], _rows(count, different)
    if path.suffix == ".parquet":
        table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
        pq.write_table(table, path, row_group_size=min(GROUP_ROWS, count))
        return path
    opened: Any = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        if "jsonl" in path.name:
            file.writelines(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
        else:
            csv.writer(file).writerows([names, *rows])
    return path


def _command(path: Path, output: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "toxonnx", "predict", str(path), "-o", str(output), "--force", *options]


def _score(path: Path, output: Path, *options: str) -> tuple[float, int]:
    """Seconds of the whole command, and its peak memory in MiB."""
    run = measure_command(_command(path, output, *options), 1, cores=available_cores())
    return run.seconds[0], round(run.peak_memory_mb)


def measure_formats(folder: Path, rows: int, rounds: int) -> dict[str, Any]:
    """Rows per second and memory for each format, with all rows and a tenth of them."""
    counts = (rows // 10, rows)
    files = {(one, count): _write(folder / f"in-{count}.{one}", count) for one in FORMATS for count in counts}
    samples: dict[tuple[str, int], list[tuple[float, int]]] = {key: [] for key in files}
    for _ in range(rounds):
        for (suffix, count), path in files.items():
            samples[suffix, count].append(_score(path, folder / f"out.{suffix}"))
    table = {}
    for suffix in FORMATS:
        few, many = samples[suffix, rows // 10], samples[suffix, rows]
        # Loading the model is in both.
        rates = [(rows - rows // 10) / (many[i][0] - few[i][0]) for i in range(rounds)]
        peaks = [median(peak for _, peak in one) for one in (few, many)]
        table[suffix] = {
            "rows": rows,
            "input_bytes": files[suffix, rows].stat().st_size,
            "rows_per_second": {"median": median(rates), "min": min(rates), "max": max(rates)},
            "seconds": median(seconds for seconds, _ in many),
            "peak_mib": {str(rows // 10): peaks[0], str(rows): peaks[1]},
        }
        print(
            f"{suffix:8} {median(rates):>9,.0f} rows/s, {peaks[0]:.0f} MiB, with 10 times the rows {peaks[1]:.0f} MiB"
        )
    return table


def measure_interrupts(folder: Path, count: int) -> dict[str, float]:
    """Seconds from Ctrl-C to the end of the command, while the model is busy."""
    path = _write(folder / "interrupted.csv", 200_000, 200_000)
    seconds = []
    # A command that a shell starts in the background ignores Ctrl-C, and so do the processes that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in range(count):
        process = subprocess.Popen(
            _command(path, folder / "interrupted-out.csv", "--checkpoint-rows", "500"), stderr=subprocess.DEVNULL
        )
        time.sleep(4 + number * 0.13)
        start = time.perf_counter()
        process.send_signal(signal.SIGINT)
        code = process.wait()
        seconds.append(time.perf_counter() - start)
        if code != 130:
            raise SystemExit(f"interrupted: exit code {code}")
    print(f"Ctrl-C   {median(seconds):.2f} s, at most {max(seconds):.2f} s")
    return {"median": median(seconds), "max": max(seconds), "count": count}


def measure_ray(folder: Path, rows: int) -> dict[str, Any]:
    """Rows per second of the local engine with 1 and 2 threads, and of Ray with 1 and 2 workers, with all starts."""
    path = _write(folder / "ray.csv", rows, rows)
    table, expected = {}, b""
    for name, options in (
        ("local, 1 thread", ["--threads", "1"]),
        ("local, 2 threads", ["--threads", "2"]),
        ("Ray, 1 worker", ["--engine", "ray", "--ray-workers", "1"]),
        ("Ray, 2 workers", ["--engine", "ray", "--ray-workers", "2"]),
    ):
        seconds, _ = _score(path, folder / "ray-out.csv", *options)
        found = (folder / "ray-out.csv").read_bytes()
        expected = expected or found
        if found != expected:
            raise SystemExit(f"{name}: other bytes than the local engine")
        table[name] = {"seconds": seconds, "rows_per_second": rows / seconds}
        print(f"{name:16} {rows / seconds:>7,.0f} rows/s, {seconds:.1f} s, the same bytes")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--interrupts", type=int, default=10)
    parser.add_argument("--ray", type=int, default=0, metavar="ROWS", help="also compare with Ray, on so many rows")
    parser.add_argument("--json", required=True, type=Path)
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="toxonnx-files-"))
    try:
        table: dict[str, Any] = {"formats": measure_formats(folder, options.rows, options.rounds)}
        table["interrupts"] = measure_interrupts(folder, options.interrupts)
        if options.ray:
            table["ray"] = measure_ray(folder, options.ray)
        table["machine"] = describe_system().to_dict()
        options.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
