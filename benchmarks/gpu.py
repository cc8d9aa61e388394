"""toxonnx beside PyTorch on one GPU: correctness first, then throughput, latency, and a CSV from end to end.

    python benchmarks/gpu.py --json gpu.json                                   # all parts; ten minutes or so
    python benchmarks/gpu.py --parts throughput,batches --json gpu-2.json      # those that are named
    python benchmarks/gpu.py --small --device cpu --json ...        # a try of the script itself where no GPU is

Needs torch, transformers, onnx and onnxruntime-gpu; no network and no data: a DistilBERT with random weights is made
here, lengths follow those of tweets, words are made up. The report is written after each part, so that what was
measured is kept. Exit code 1 where fp16 says something else than PyTorch in fp32.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import functools
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_model import Bench, Scorer, attention, by_engine, by_torch, ceiling, flops

from toxonnx.bench.synthetic_texts import synthetic_texts, tweet_lengths
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.devices import describe as describe_gpus
from toxonnx.inference.devices import why_unavailable
from toxonnx.inference.engine import BATCH_TOKENS, GPU_WINDOW, MOST_ENCODERS
from toxonnx.inference.tokenizer_pool import Encoder, Encoders
from toxonnx.io.csv import AtomicFile, CsvSource
from toxonnx.predict import added_columns, annotate
from toxonnx.system import available_cores, describe

PARTS = ("check", "kernels", "throughput", "batches", "latency", "tokenizer", "host", "csv", "profile")
#: fp16 against PyTorch in fp32
LARGEST_DIFFERENCE, LEAST_AGREEMENT = 5e-3, 0.999
FULL = (32, 64, 128)
#: one row of so many is enough of those that are slow
SLOW = 8


def check(bench: Bench) -> dict[str, Any]:
    """fp16 against PyTorch in fp32, on rows of random words; PyTorch in fp16 beside it."""
    tokens = bench.tokens(tweet_lengths(min(bench.rows, 4096)), seed=1)
    reference = _softmax(by_torch(bench, half=False, ordered=True)(tokens))
    ranked = np.sort(reference, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 2 * LARGEST_DIFFERENCE  # of the others, rounding may decide
    scorers = {layout: by_engine(bench.engine(layout)) for layout in bench.bundles}
    scorers["PyTorch fp16"] = by_torch(bench, half=True, ordered=True)
    found: dict[str, Any] = {
        "rows": len(clear), "clear_rows": int(clear.sum()), "spread": float(np.ptp(reference, axis=0).max())
    }  # fmt: skip
    for name, score in scorers.items():
        ours = _softmax(score(tokens))
        same = ours.argmax(axis=1) == reference.argmax(axis=1)
        found[name] = {
            "largest_probability_difference": float(np.abs(ours - reference).max()),
            "same_label": float(same.mean()),
            "same_label_of_clear_rows": float(same[clear].mean()),
        }
    few = bench.engine("packed")
    found["few_rows"] = float(np.abs(_softmax(few.run_small_batch(tokens.subset(range(5)))) - reference[:5]).max())
    found["few_rows_ran_by"] = few.plan["graphs"] or "the ordinary session"
    return found


def passed(found: dict[str, Any]) -> bool:
    """Whether fp16 says what fp32 says."""
    return found["few_rows"] <= LARGEST_DIFFERENCE and all(
        found[layout]["largest_probability_difference"] <= LARGEST_DIFFERENCE
        and found[layout]["same_label_of_clear_rows"] >= LEAST_AGREEMENT
        for layout in ("fused", "packed")
    )


def kernels(bench: Bench) -> dict[str, Any]:
    """Which attention kernels the runtime takes, as it says itself."""
    program = (
        "import sys, numpy as np; from pathlib import Path; from toxonnx.bundle import open_bundle; "
        "from toxonnx.inference.engine import Engine; from toxonnx.inference.tokenizer import Tokens; "
        "engine = Engine(open_bundle(Path(sys.argv[1])), device=sys.argv[2]); n = int(sys.argv[3]); "
        "lengths = np.full(8, n); tokens = Tokens(np.full(8 * n, 2000, np.int32), lengths, lengths < 0); "
        "engine.run(tokens, np.arange(8))"
    )
    found = {}
    for layout, bundle in bench.bundles.items():
        for length in FULL:
            done = subprocess.run(
                [sys.executable, "-c", program, str(bundle.path), bench.device, str(length)],
                env={**os.environ, "ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO": "1"}, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            said = sorted(set(re.findall(r"SdpaKernel=\w+", done.stdout + done.stderr)))
            found[f"{layout}, {length} tokens"] = said or (
                done.stderr.strip().splitlines()[-1:] if done.returncode else []
            )
    return found


def throughput(bench: Bench) -> dict[str, Any]:
    """Rows a second from tokens in memory to logits in memory; rounds interleaved."""
    candidates: dict[str, Scorer] = {
        "PyTorch fp32, file order, 32": by_torch(bench, half=False, ordered=False),
        "PyTorch fp16, file order, 32": by_torch(bench, half=True, ordered=False),
        "PyTorch fp16, sorted": by_torch(bench, half=True, ordered=True),
        "toxonnx fused fp16": by_engine(bench.engine("fused")),
        "toxonnx packed fp16": by_engine(bench.engine("packed")),
    }
    if bench.device == "cuda":
        candidates["PyTorch fp16, compiled, file order, 32"] = by_torch(bench, half=True, ordered=False, compiled=True)
        candidates["PyTorch fp16, compiled, sorted"] = by_torch(bench, half=True, ordered=True, compiled=True)
        with attention(2):
            candidates["toxonnx packed fp16, memory-efficient attention"] = by_engine(bench.engine("packed"))
    work = {f"{length} tokens": bench.tokens([length] * (bench.rows // 2)) for length in FULL}
    work["tweet lengths"] = bench.tweets()
    measured: dict[str, Any] = {"seconds": {}, "rows": {}, "rows_per_second": {}, "share_of_ceiling": {}}
    peak = ceiling(bench)
    for name, tokens in work.items():
        # Batches of 32 in the file's order take their time; a part of the rows tells as much.
        part = tokens.subset(range(0, len(tokens.lengths), SLOW))
        given = {key: part if "file order" in key else tokens for key in candidates}
        seconds = _interleaved({key: functools.partial(score, given[key]) for key, score in candidates.items()}, bench)
        rates = {key: len(given[key].lengths) / statistics.median(values) for key, values in seconds.items()}
        ideal = peak / float(np.mean([flops(bench.config, int(n)) for n in tokens.lengths]))
        measured["rows"][name] = {key: len(one.lengths) for key, one in given.items()}
        measured["seconds"][name], measured["rows_per_second"][name] = seconds, rates
        measured["share_of_ceiling"][name] = {key: rate / ideal for key, rate in rates.items() if "fp32" not in key}
    tweets = measured["rows_per_second"]["tweet lengths"]
    ours = tweets["toxonnx packed fp16"]
    best = max(rate for key, rate in tweets.items() if key.startswith("PyTorch"))
    if bench.device == "cpu":
        return {
            **measured,
            "note": "no GPU: PyTorch ran in fp32, and packed is emulated; no comparison",
        }
    measured |= {
        "ceiling_tflops": peak / 1e12,
        "ratio_to_best_pytorch": ours / best,
        "ratio_to_padded_fp16": ours / tweets["PyTorch fp16, file order, 32"],
    }
    return measured


def batches(bench: Bench) -> dict[str, Any]:
    """How many tokens a batch should have. One at a time, so that the card holds one engine."""
    tokens, found = bench.tweets(), {}
    for layout in bench.bundles:
        for power in (8, 10) if bench.small else (12, 13, 14, 15, 16, 17):
            score = by_engine(bench.engine(layout, 1 << power))
            seconds = _interleaved({"": functools.partial(score, tokens)}, bench)[""]
            found[f"{layout}, {1 << power} tokens"] = len(tokens.lengths) / statistics.median(seconds)
    return found


def latency(bench: Bench) -> dict[str, Any]:
    """One row at a time, back to back, candidates by turns: milliseconds."""
    rows = [bench.tokens([length], seed) for seed, length in enumerate(tweet_lengths(50 if bench.small else 200))]
    few, ordinary = bench.engine("packed"), bench.engine("packed")
    candidates: dict[str, Scorer] = {
        "PyTorch fp16, eager": by_torch(bench, half=True, ordered=False),
        "toxonnx packed, ordinary session": lambda tokens: ordinary.run(tokens, np.arange(1)),
        "toxonnx packed, as predict() does": few.run_small_batch,
    }
    if bench.device == "cuda":
        # Widths in steps of 16, so that there are few graphs to capture.
        candidates["PyTorch fp16, compiled, CUDA graphs"] = by_torch(
            bench, half=True, ordered=True, compiled=True, mode="reduce-overhead"
        )
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(1 + bench.rounds):  # the first is not counted
        for name, score in candidates.items():
            for row in rows:
                started = time.perf_counter()
                score(row)
                if number:
                    times[name].append((time.perf_counter() - started) * 1e3)
    found: dict[str, Any] = {
        name: {"p50": float(np.percentile(each, 50)), "p99": float(np.percentile(each, 99))}
        for name, each in times.items()
    }
    return {**found, "graphs": few.plan["graphs"]}


def tokenizer(bench: Bench) -> dict[str, Any]:
    """Texts a second, normalised and tokenized, by number of processes; 0: in this one, by the tokenizer's threads."""
    texts = synthetic_texts(4_000 if bench.small else 200_000)
    bundle = bench.bundles["packed"]
    reads = (bundle.path / "tokenizer.json", bundle.manifest.max_length, bundle.manifest.text)
    rates: dict[str, list[float]] = {str(processes): [] for processes in (0, *_processes())}
    for _ in range(bench.rounds):
        for processes in rates:
            with contextlib.ExitStack() as stack:
                if processes == "0":
                    encode = Encoder(*reads)
                else:
                    tokenizer_processes = stack.enter_context(Encoders(int(processes), *reads))
                    tokenizer_processes.submit(
                        texts[: 2048 * int(processes)]
                    )()  # the start of the processes is not measured
                started = time.perf_counter()
                (encode(texts) if processes == "0" else tokenizer_processes.submit(texts)()).tokens(range(len(texts)))
                rates[processes].append(len(texts) / (time.perf_counter() - started))
    return {processes: _spread(each) for processes, each in rates.items()}


def host(bench: Bench) -> dict[str, Any]:
    """From CSV to CSV with a model that answers at once: all that is not the GPU's."""
    rows = bench.csv_rows // 5
    rates: dict[str, list[float]] = {str(processes): [] for processes in (0, *_processes())}
    mine: dict[str, list[float]] = {processes: [] for processes in rates}
    with tempfile.TemporaryDirectory() as folder:
        source, target = _made_csv(Path(folder), rows), Path(folder) / "scored.csv"
        for _ in range(bench.rounds):
            for processes in rates:
                classifier = Classifier(
                    bench.bundles["packed"],
                    device=bench.device,
                    window=GPU_WINDOW,
                    tokenizer_processes=int(processes),
                    max_batch_tokens=BATCH_TOKENS["cuda"],
                )
                engine = classifier._engine
                engine.run = lambda tokens, rows: np.zeros((len(rows), 9), dtype=np.float32)
                gc.disable()  # as predict does
                with CsvSource(source) as reader, AtomicFile(target, force=True) as sink:
                    cpu, started = time.process_time(), time.perf_counter()
                    columns = added_columns(reader.columns, classifier.labels.names)
                    annotate(classifier, reader, sink, ["text"], columns)
                    rates[processes].append(rows / (time.perf_counter() - started))
                    mine[processes].append((time.process_time() - cpu) / rows * 1e6)
                gc.enable()
    return {
        processes: {
            "rows": rows,
            "rows_per_second": _spread(rates[processes]),
            "microseconds_of_the_main_process_a_row": _spread(mine[processes]),
        }
        for processes in rates
    }


def from_csv(bench: Bench) -> dict[str, Any]:
    """``toxonnx predict`` from CSV to CSV, its start in it."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = _made_csv(Path(folder), bench.csv_rows), Path(folder) / "scored.csv"
        command = [
            sys.executable, "-m", "toxonnx", "predict", str(source), "-o", str(target), "--force", "--bundle",
            str(bench.bundles["packed"].path), "--device", bench.device,
        ]  # fmt: skip
        seconds, said = [], []
        for _ in range(2):
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"exit code {done.returncode}: {done.stderr}")
            seconds.append(time.perf_counter() - started)
            said.append(next(line for line in done.stderr.splitlines() if "rows/s" in line))
    return {
        "rows": bench.csv_rows,
        "seconds": seconds,
        "rows_per_second": bench.csv_rows / statistics.median(seconds),
        "said": said,
    }


def _made_csv(folder: Path, rows: int) -> Path:
    path = folder / "made.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "user"])
        writer.writerows([i, text, f"user{i % 97}"] for i, text in enumerate(synthetic_texts(rows)))
    return path


def _processes() -> list[int]:
    """How many processes might tokenize here."""
    cores = available_cores()
    return sorted({1, 2, min(cores, 8), max(1, min(cores - 1, MOST_ENCODERS))} & set(range(1, cores + 1)))


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def profile(bench: Bench) -> dict[str, Any]:
    """What the card does during a pass over tweets: shares of the time that kernels and copies take."""
    if bench.device != "cuda":
        return {"left out": "kernels are a GPU's"}
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recorder

    score, tokens, found = by_engine(bench.engine("packed")), bench.tweets(), {}
    score(tokens)
    with recorder(activities=[ProfilerActivity.CUDA]) as record:
        started = time.perf_counter()
        score(tokens)
        bench.sync()
        seconds = time.perf_counter() - started
    events = sorted(record.key_averages(), key=lambda event: -event.self_device_time_total)
    total = sum(event.self_device_time_total for event in events) / 1e6
    for event in events[:20]:
        found[event.key[:100]] = {"share": event.self_device_time_total / 1e6 / (total or 1), "calls": event.count}
    # Batches overlap, so the sum may be more than the seconds that went by.
    return {"seconds": seconds, "sum_of_kernels_and_copies": total, "kernels": found}


def _softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _interleaved(candidates: dict[str, Callable[[], Any]], bench: Bench) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for score in candidates.values():  # warms up; the second pass meets no new shape
        score()
        score()
    names = list(candidates)
    for number in range(bench.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            bench.sync()
            started = time.perf_counter()
            candidates[name]()
            bench.sync()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="a tiny model and few rows: a try of this script")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--force", action="store_true", help="replace the report if it exists")
    given = parser.parse_args()
    parts = {
        "check": check, "kernels": kernels, "throughput": throughput, "batches": batches, "latency": latency,
        "tokenizer": tokenizer, "host": host, "csv": from_csv, "profile": profile,
    }  # fmt: skip
    wanted = given.parts.split(",")
    if unknown := set(wanted) - set(parts):
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(parts)}")
    if (missing := why_unavailable(given.device)) is not None:
        print(missing, file=sys.stderr)
        sys.exit(missing.exit_code)
    if given.json.exists() and not given.force:
        parser.error(f"{given.json} exists; --force replaces it, and what was measured is gone")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), given.device, given.small, given.rounds)
        report: dict[str, Any] = {
            "small": given.small, "device": given.device, "rounds": given.rounds, "machine": describe(),
            "gpu": describe_gpus(), "torch_cuda": torch.version.cuda,
            "plans": {layout: bench.engine(layout).plan for layout in bench.bundles}, "seconds": {},
        }  # fmt: skip
        given.json.parent.mkdir(parents=True, exist_ok=True)
        failed = []
        for name in wanted:
            started = time.perf_counter()
            try:
                report[name] = parts[name](bench)
            except Exception:  # the other parts have their own metrics to tell
                report[name] = {"failed": traceback.format_exc()}
                failed.append(name)
            report["seconds"][name] = time.perf_counter() - started
            print(f"{name} ({report['seconds'][name]:.0f} s)\n{json.dumps(report[name], indent=1)}", flush=True)
            given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    if "check" in report and not passed(report["check"]):
        sys.exit("fp16 differs from PyTorch in fp32 by more than it may")


if __name__ == "__main__":
    main()
