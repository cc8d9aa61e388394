"""Which graph is fastest on this CPU: what the runtime fuses by itself, offline fusion, the short last layer.

Each variant holds the same weights and scores the same rows, one row a call, from one thread a core; rounds are
interleaved, and the table gives medians and the ratio to the first variant.

    python benchmarks/graphs.py --shape minilm --json results/graphs-minilm.json
    python benchmarks/graphs.py --shape distilbert --json results/graphs-distilbert.json

Random weights of the shape: the time of a dense product does not depend on its values. Lengths follow tweets.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

import toxonnx.convert.graph as graph
from toxonnx.convert.smooth import smooth
from toxonnx.sessions import Session, available_cores

LENGTHS = (8, 14, 19, 23, 27, 31, 36, 42, 51, 68)  # deciles of tokens in tweets


@contextlib.contextmanager
def _whole(model: object) -> Iterator[bool]:
    yield False


def variants(model: torch.nn.Module, folder: Path) -> dict[str, Path]:
    """Files of each variant, all from one model."""
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    short = graph.first_token_only
    paths: dict[str, Path] = {}
    for last, patch in (("whole last layer", _whole), ("first token only", short)):
        graph.first_token_only = patch
        exported = folder / last.split()[0]
        graph.to_onnx(copy.deepcopy(model), exported)
        paths[f"fp32, {last}"] = exported / "model.onnx"
        paths[f"int8, {last}"] = exported / "int8.onnx"
        graph.quantize(exported / "model.onnx", exported / "int8.onnx", reduce_range=True)
        ids = np.arange(1000, 1030)[None]
        smooth(
            exported / "model.onnx", exported / "smooth.onnx", [{"input_ids": ids, "attention_mask": ids * 0 + 1}], 0.75
        )
        paths[f"int8, {last}, smoothed"] = exported / "smooth-int8.onnx"
        graph.quantize(exported / "smooth.onnx", exported / "smooth-int8.onnx", reduce_range=True)
        config = model.config
        heads = getattr(config, "n_heads", None) or config.num_attention_heads
        width = getattr(config, "dim", None) or config.hidden_size
        with graph._quiet():
            fused = optimizer.optimize_model(
                str(exported / "model.onnx"), model_type="bert", num_heads=heads, hidden_size=width, opt_level=0,
                optimization_options=FusionOptions("bert"),
            )  # fmt: skip
            fused.save_model_to_file(str(exported / "fused.onnx"))
        paths[f"fp32, {last}, fused offline"] = exported / "fused.onnx"
        paths[f"int8, {last}, fused offline"] = exported / "fused-int8.onnx"
        graph.quantize(exported / "fused.onnx", exported / "fused-int8.onnx", reduce_range=True)
    graph.first_token_only = short
    return paths


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["minilm", "distilbert"], default="minilm")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    if arguments.shape == "distilbert":
        model = DistilBertForSequenceClassification._from_config(
            DistilBertConfig(num_labels=9), attn_implementation="eager"
        )
    else:
        config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
        model = BertForSequenceClassification._from_config(config, attn_implementation="eager")
    labels = model.num_labels
    rng = np.random.default_rng(0)
    rows = [rng.integers(1000, 30000, (1, LENGTHS[i % len(LENGTHS)])) for i in range(arguments.rows)]
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(available_cores()) as workers:
        sessions = {name: Session(path, labels) for name, path in variants(model.eval(), Path(scratch)).items()}
        for turn in range(arguments.rounds + 1):
            for name, session in sessions.items():
                started = time.perf_counter()
                list(workers.map(lambda ids, run=session.run: run(ids, np.ones_like(ids)), rows))
                if turn:  # the first round warms up
                    times.setdefault(name, []).append(time.perf_counter() - started)
    rates = {name: len(rows) / statistics.median(each) for name, each in times.items()}
    first = next(iter(rates.values()))
    print(f"{arguments.shape}, {available_cores()} cores, onnxruntime {onnxruntime.__version__}")
    for name, rate in rates.items():
        spread = (max(times[name]) - min(times[name])) / statistics.median(times[name])
        print(f"{name:42} {rate:8.1f} rows/s  x {rate / first:.2f}  (spread {spread:.0%})")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        cpu = next(
            (
                line.split(":")[1].strip()
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if "model name" in line
            ),
            platform.processor(),
        )
        flags = Path("/proc/cpuinfo").read_text()
        environment = {
            "cpu": cpu,
            "cores": available_cores(),
            "avx512_vnni": "avx512_vnni" in flags,
            "avx2": " avx2 " in flags,
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "torch": torch.__version__,
        }
        report = {"shape": arguments.shape, "rows": len(rows), "environment": environment, "seconds": times}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
