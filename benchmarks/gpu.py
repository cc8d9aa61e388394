"""Compares toxonnx with PyTorch on one GPU: accuracy of fp16, throughput, latency, and CSV to CSV.

    python benchmarks/gpu.py --json gpu.json                                  # all parts, about ten minutes
    python benchmarks/gpu.py --parts throughput,batches --json gpu-2.json     # some parts
    python benchmarks/gpu.py --small --device cpu --json test.json            # tests the script without a GPU

Needs torch, transformers, onnx and onnxruntime-gpu, but no network and no data: the model is a DistilBERT with random
weights, and the texts are synthetic and as long as tweets. The report is written after each part. Exit code 1 if fp16
differs from PyTorch in fp32 by more than the limits, or if a part failed.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
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
from gpu_model import LABELS, LogitsFunction, Setup, attention_kernel, flops, peak_flops, run_engine, run_torch

from toxonnx.bench.report import Spread
from toxonnx.bench.synthetic_texts import synthetic_texts, tweet_lengths
from toxonnx.inference.classifier import Classifier
from toxonnx.inference.devices import describe_devices, why_unavailable
from toxonnx.inference.engine import GPU_CHUNK, MAX_TOKENIZER_PROCESSES
from toxonnx.inference.options import RuntimeOptions
from toxonnx.inference.tokenizer_pool import TextPreprocessor, TokenizerPool
from toxonnx.io.base import WriteOptions, open_sink, open_source
from toxonnx.io.output_columns import OutputColumns
from toxonnx.predict import predict
from toxonnx.system import available_cores, describe_system

#: limits for fp16 compared with PyTorch in fp32
MAX_DIFFERENCE, MIN_AGREEMENT = 5e-3, 0.999
LENGTHS = (32, 64, 128)
#: slow candidates score one row of this many
SLOW_SHARE = 8
PACKED, FILE_ORDER = "toxonnx packed fp16", "PyTorch fp16, file order, batch 32"


def check(setup: Setup) -> dict[str, Any]:
    """fp16 compared with PyTorch in fp32, on rows of random tokens; PyTorch in fp16 for reference."""
    tokens = setup.tokens(tweet_lengths(min(setup.rows, 4096)), seed=1)
    reference = _softmax(run_torch(setup, half=False, by_length=True)(tokens))
    ranked = np.sort(reference, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 2 * MAX_DIFFERENCE  # rounding may change the label of the others
    candidates = {layout: run_engine(setup.engine(layout)) for layout in setup.bundles}
    candidates["PyTorch fp16"] = run_torch(setup, half=True, by_length=True)
    result: dict[str, Any] = {
        "rows": len(clear), "clear_rows": int(clear.sum()), "spread": float(np.ptp(reference, axis=0).max())
    }  # fmt: skip
    for name, score in candidates.items():
        probs = _softmax(score(tokens))
        same = probs.argmax(axis=1) == reference.argmax(axis=1)
        result[name] = {
            "largest_probability_difference": float(np.abs(probs - reference).max()),
            "same_label": float(same.mean()),
            "same_label_of_clear_rows": float(same[clear].mean()),
        }
    engine = setup.engine("packed")
    probs = _softmax(engine.run_small_batch(tokens.subset(range(5))))
    result["small_batch_difference"] = float(np.abs(probs - reference[:5]).max())
    result["small_batch_cuda_graphs"] = engine.settings.cuda_graphs
    return result


def is_accurate(result: dict[str, Any]) -> bool:
    """Whether the result of :func:`check` is within the limits."""
    return result["small_batch_difference"] <= MAX_DIFFERENCE and all(
        result[layout]["largest_probability_difference"] <= MAX_DIFFERENCE
        and result[layout]["same_label_of_clear_rows"] >= MIN_AGREEMENT
        for layout in ("fused", "packed")
    )


#: bundle, device and tokens per row are its arguments
ATTENTION_PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from toxonnx.bundle import open_bundle
from toxonnx.inference.engine import Engine
from toxonnx.inference.options import RuntimeOptions
from toxonnx.inference.tokenizer import Tokens
engine = Engine(open_bundle(Path(sys.argv[1])), RuntimeOptions(device=sys.argv[2]))
lengths = np.full(8, int(sys.argv[3]))
engine.run(Tokens(np.full(lengths.sum(), 2000, np.int32), lengths), np.arange(8))
"""


def kernels(setup: Setup) -> dict[str, Any]:
    """Attention kernels that the runtime reports."""
    result = {}
    for layout, bundle in setup.bundles.items():
        for length in LENGTHS:
            done = subprocess.run(
                [sys.executable, "-c", ATTENTION_PROGRAM, str(bundle.path), setup.device, str(length)],
                env={**os.environ, "ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO": "1"}, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            names = sorted(set(re.findall(r"SdpaKernel=\w+", done.stdout + done.stderr)))
            error = done.stderr.strip().splitlines()[-1:] if done.returncode else []
            result[f"{layout}, {length} tokens"] = names or error
    return result


def throughput(setup: Setup) -> dict[str, Any]:
    """Rows per second from token ids to logits, in interleaved rounds."""
    candidates: dict[str, LogitsFunction] = {
        "PyTorch fp32, file order, batch 32": run_torch(setup, half=False, by_length=False),
        FILE_ORDER: run_torch(setup, half=True, by_length=False),
        "PyTorch fp16, sorted": run_torch(setup, half=True, by_length=True),
        "toxonnx fused fp16": run_engine(setup.engine("fused")),
        PACKED: run_engine(setup.engine("packed")),
    }
    if setup.device == "cuda":
        compiled = functools.partial(run_torch, setup, half=True, compiled=True)
        candidates["PyTorch fp16, compiled, file order, batch 32"] = compiled(by_length=False)
        candidates["PyTorch fp16, compiled, sorted"] = compiled(by_length=True)
        with attention_kernel(2):
            candidates[f"{PACKED}, memory-efficient attention"] = run_engine(setup.engine("packed"))
    inputs = {f"{length} tokens": setup.tokens([length] * (setup.rows // 2)) for length in LENGTHS}
    inputs["tweet lengths"] = setup.tweets()
    result: dict[str, Any] = {"seconds": {}, "rows": {}, "rows_per_second": {}, "share_of_peak": {}}
    peak = peak_flops(setup)
    for name, tokens in inputs.items():
        some_rows = tokens.subset(range(0, len(tokens.lengths), SLOW_SHARE))
        rows = {key: some_rows if "file order" in key else tokens for key in candidates}
        seconds = _interleave({key: functools.partial(score, rows[key]) for key, score in candidates.items()}, setup)
        rates = {key: len(rows[key].lengths) / statistics.median(values) for key, values in seconds.items()}
        peak_rate = peak / float(np.mean([flops(setup.config, int(length)) for length in tokens.lengths]))
        result["rows"][name] = {key: len(each.lengths) for key, each in rows.items()}
        result["seconds"][name], result["rows_per_second"][name] = seconds, rates
        result["share_of_peak"][name] = {key: rate / peak_rate for key, rate in rates.items() if "fp32" not in key}
    if setup.device == "cpu":
        return {**result, "note": "no GPU: PyTorch ran in fp32 and packed is emulated, so the rates are not comparable"}
    tweets = result["rows_per_second"]["tweet lengths"]
    best = max(rate for key, rate in tweets.items() if key.startswith("PyTorch"))
    return {
        **result,
        "peak_tflops": peak / 1e12,
        "speedup_over_best_pytorch": tweets[PACKED] / best,
        "speedup_over_pytorch_fp16_in_file_order": tweets[PACKED] / tweets[FILE_ORDER],
    }


def batches(setup: Setup) -> dict[str, Any]:
    """Rows per second by tokens per batch. One engine at a time is in the GPU's memory."""
    tokens, result = setup.tweets(), {}
    for layout in setup.bundles:
        for exponent in (8, 10) if setup.small else (12, 13, 14, 15, 16, 17):
            score = run_engine(setup.engine(layout, 1 << exponent))
            seconds = _interleave({"": functools.partial(score, tokens)}, setup)[""]
            result[f"{layout}, {1 << exponent} tokens"] = len(tokens.lengths) / statistics.median(seconds)
    return result


def latency(setup: Setup) -> dict[str, Any]:
    """Milliseconds for one row at a time, back to back; the candidates take turns."""
    rows = [setup.tokens([length], seed) for seed, length in enumerate(tweet_lengths(8 if setup.small else 200))]
    engine, small_batch_engine = setup.engine("packed"), setup.engine("packed")
    candidates: dict[str, LogitsFunction] = {
        "PyTorch fp16, eager": run_torch(setup, half=True, by_length=False),
        "toxonnx packed, ordinary session": lambda tokens: engine.run(tokens, np.arange(1)),
        "toxonnx packed, as Classifier.predict runs it": small_batch_engine.run_small_batch,
    }
    if setup.device == "cuda":
        # Sorted, because widths are multiples of 16 then and few graphs have to be captured.
        candidates["PyTorch fp16, compiled, CUDA graphs"] = run_torch(
            setup, half=True, by_length=True, compiled=True, mode="reduce-overhead"
        )
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(1 + setup.rounds):  # the first round warms up
        for name, score in candidates.items():
            for row in rows:
                started = time.perf_counter()
                score(row)
                if number:
                    times[name].append((time.perf_counter() - started) * 1e3)
    result: dict[str, Any] = {
        name: {"p50": float(np.percentile(values, 50)), "p99": float(np.percentile(values, 99))}
        for name, values in times.items()
    }
    return {**result, "cuda_graphs": small_batch_engine.settings.cuda_graphs}


def tokenizer(setup: Setup) -> dict[str, Any]:
    """Texts normalized and tokenized per second, by number of processes; 0: threads of this process."""
    texts = synthetic_texts(1_000 if setup.small else 200_000)
    bundle = setup.bundles["packed"]
    arguments = (bundle.path / "tokenizer.json", bundle.manifest.max_length, bundle.manifest.text)
    rates: dict[int, list[float]] = {processes: [] for processes in (0, *_process_counts())}
    for _ in range(setup.rounds):
        for processes in rates:
            with contextlib.ExitStack() as stack:
                if processes:
                    pool = stack.enter_context(TokenizerPool(processes, *arguments))
                    pool.submit(texts[: 2048 * processes])()  # starts the processes, untimed
                else:
                    preprocess = TextPreprocessor(*arguments)
                started = time.perf_counter()
                preprocessed = pool.submit(texts)() if processes else preprocess(texts)
                preprocessed.tokens(range(len(texts)))
                rates[processes].append(len(texts) / (time.perf_counter() - started))
    return {str(processes): dataclasses.asdict(Spread.of(values)) for processes, values in rates.items()}


def host(setup: Setup) -> dict[str, Any]:
    """CSV to CSV with an engine that returns zeros at once: the CPU's share of the work."""
    rows = setup.csv_rows // 5
    rates: dict[int, list[float]] = {processes: [] for processes in (0, *_process_counts())}
    main_process: dict[int, list[float]] = {processes: [] for processes in rates}
    bundle = setup.bundles["packed"]
    with tempfile.TemporaryDirectory() as folder:
        source, target = _write_csv(Path(folder), rows), Path(folder) / "scored.csv"
        for _ in range(setup.rounds):
            for processes in rates:
                options = RuntimeOptions(
                    device=setup.device, chunk_size=GPU_CHUNK, tokenizer_processes=processes, max_batch_tokens=1 << 15
                )
                classifier = Classifier(bundle, options)
                classifier.engine.run = lambda tokens, rows: np.zeros((len(rows), LABELS), dtype=np.float32)
                gc.disable()  # as toxonnx predict does
                cpu, started = time.process_time(), time.perf_counter()
                with open_source(source) as reader:
                    added = OutputColumns(("label", "score", "probabilities"), classifier.labels.names)
                    with open_sink(target, reader, added, WriteOptions(force=True)) as sink:
                        predict(classifier, reader, sink, bundle.manifest.text, ["text"])
                rates[processes].append(rows / (time.perf_counter() - started))
                main_process[processes].append((time.process_time() - cpu) / rows * 1e6)
                gc.enable()
    return {
        str(processes): {
            "rows": rows,
            "rows_per_second": dataclasses.asdict(Spread.of(rates[processes])),
            "main_process_microseconds_per_row": dataclasses.asdict(Spread.of(main_process[processes])),
        }
        for processes in rates
    }


def from_csv(setup: Setup) -> dict[str, Any]:
    """``toxonnx predict`` from CSV to CSV, including the start of the process."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = _write_csv(Path(folder), setup.csv_rows), Path(folder) / "scored.csv"
        command = [
            sys.executable, "-m", "toxonnx", "predict", str(source), "-o", str(target), "--force", "--bundle",
            str(setup.bundles["packed"].path), "--device", setup.device,
        ]  # fmt: skip
        seconds, summaries = [], []
        for _ in range(2):
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"toxonnx predict failed with exit code {done.returncode}: {done.stderr}")
            seconds.append(time.perf_counter() - started)
            summaries.append(next(line for line in done.stderr.splitlines() if "rows/s" in line))
    return {
        "rows": setup.csv_rows,
        "seconds": seconds,
        "rows_per_second": setup.csv_rows / statistics.median(seconds),
        "summaries": summaries,
    }


def profile(setup: Setup) -> dict[str, Any]:
    """Time of kernels and copies during a pass over rows as long as tweets."""
    if setup.device != "cuda":
        return {"skipped": "needs a GPU"}
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record_profile

    score, tokens = run_engine(setup.engine("packed")), setup.tweets()
    score(tokens)
    with record_profile(activities=[ProfilerActivity.CUDA]) as record:
        started = time.perf_counter()
        score(tokens)
        setup.synchronize()
        seconds = time.perf_counter() - started
    events = sorted(record.key_averages(), key=lambda event: -event.self_device_time_total)
    total = sum(event.self_device_time_total for event in events) / 1e6
    largest = {
        event.key[:100]: {"share": event.self_device_time_total / 1e6 / (total or 1), "calls": event.count}
        for event in events[:20]
    }
    # The sum may exceed the elapsed time, because batches overlap.
    return {"seconds": seconds, "sum_of_kernels_and_copies": total, "kernels": largest}


PARTS: dict[str, Callable[[Setup], dict[str, Any]]] = {
    "check": check, "kernels": kernels, "throughput": throughput, "batches": batches, "latency": latency,
    "tokenizer": tokenizer, "host": host, "csv": from_csv, "profile": profile,
}  # fmt: skip


def _write_csv(folder: Path, rows: int) -> Path:
    path = folder / "synthetic.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "user"])
        writer.writerows([i, text, f"user{i % 97}"] for i, text in enumerate(synthetic_texts(rows)))
    return path


def _process_counts() -> list[int]:
    """Numbers of tokenizer processes to measure on this machine."""
    cores = available_cores()
    return sorted({1, 2, min(cores, 8), max(1, min(cores - 1, MAX_TOKENIZER_PROCESSES))} & set(range(1, cores + 1)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _interleave(candidates: dict[str, Callable[[], Any]], setup: Setup) -> dict[str, list[float]]:
    """Seconds of each candidate in each round; the order rotates."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for score in candidates.values():  # two untimed passes: in the second, no shape is new
        score()
        score()
    names = list(candidates)
    for number in range(setup.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            setup.synchronize()
            started = time.perf_counter()
            candidates[name]()
            setup.synchronize()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def parse_arguments() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="report to write")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"comma-separated, out of {', '.join(PARTS)}")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="a tiny model and few rows, to test the script")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--force", action="store_true", help="replace the report if it exists")
    arguments = parser.parse_args()
    arguments.parts = arguments.parts.split(",")
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    if arguments.json.exists() and not arguments.force:
        parser.error(f"{arguments.json} already exists; add --force to replace it")
    return arguments


def main() -> None:
    """Runs the parts and writes the report after each."""
    arguments = parse_arguments()
    if (error := why_unavailable(arguments.device)) is not None:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(Path(folder), arguments.device, arguments.small, arguments.rounds)
        report: dict[str, Any] = {
            "small": arguments.small, "device": arguments.device, "rounds": arguments.rounds,
            "machine": describe_system().to_dict(), "gpu": describe_devices().to_dict(),
            "torch_cuda": torch.version.cuda,
            "settings": {layout: setup.engine(layout).settings.to_dict() for layout in setup.bundles}, "seconds": {},
        }  # fmt: skip
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        failed = []
        for name in arguments.parts:
            started = time.perf_counter()
            try:
                report[name] = PARTS[name](setup)
            except Exception:  # the other parts still run
                report[name] = {"failed": traceback.format_exc()}
                failed.append(name)
            report["seconds"][name] = time.perf_counter() - started
            print(f"{name} ({report['seconds'][name]:.0f} s)\n{json.dumps(report[name], indent=1)}", flush=True)
            arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    if "check" in report and not is_accurate(report["check"]):
        sys.exit("fp16 differs from PyTorch in fp32 by more than the limits")


if __name__ == "__main__":
    main()
