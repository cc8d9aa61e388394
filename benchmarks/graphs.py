"""Compares ONNX graphs of the same model on this CPU, and with the integer matrix products only.

All variants have the same weights and score the same rows, one batch per core at a time; rounds are interleaved, and
medians are reported. The last variant runs only MatMulInteger, on the shapes of the model's linear layers: the upper
limit for int8 with this runtime.

    python benchmarks/graphs.py --shape minilm --json results/graphs-minilm.json
    python benchmarks/graphs.py --shape distilbert --json results/graphs-distilbert.json

Weights are random: the time of a dense product does not depend on its values. Rows are as long as tweets.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
)

import toxonnx.convert.exporters as exporters
from toxonnx.bench.synthetic_texts import tweet_lengths
from toxonnx.convert.int8 import quantize
from toxonnx.convert.quiet import silence_exporters
from toxonnx.inference.batching import EqualLengthBatcher, Feed
from toxonnx.inference.session import Session
from toxonnx.inference.tokenizer import Tokens
from toxonnx.system import available_cores, describe_system

BATCH_TOKENS = 1024
MATMUL_ONLY = "MatMulInteger only, batches of one length"
STATIC_INT8 = "int8, static scales, batches of one length"

Run = Callable[[Feed], object]


@contextlib.contextmanager
def _full_last_layer(model: object) -> Iterator[bool]:
    yield False


def export_variants(model: PreTrainedModel, folder: Path) -> dict[str, Path]:
    """ONNX files of one model: name -> path."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    first_token_only = exporters.first_token_only
    for name, patch in (("full", _full_last_layer), ("first", first_token_only)):
        exporters.first_token_only = patch
        exporters.to_onnx(copy.deepcopy(model), folder / name)
    exporters.first_token_only = first_token_only
    fp32 = folder / "first" / "model.onnx"
    with silence_exporters():
        quantize_dynamic(
            str(fp32), str(folder / "dynamic.onnx"), per_channel=True, reduce_range=True,
            weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"],
        )  # fmt: skip
        heads = getattr(model.config, "n_heads", None) or model.config.num_attention_heads
        width = getattr(model.config, "dim", None) or model.config.hidden_size
        fused = optimizer.optimize_model(
            str(fp32), model_type="bert", num_heads=heads, hidden_size=width, opt_level=0,
            optimization_options=FusionOptions("bert"),
        )  # fmt: skip
        fused.save_model_to_file(str(folder / "fused.onnx"))
    ids = np.arange(1000, 1030)[None]
    feeds = [{"input_ids": ids, "attention_mask": np.ones_like(ids)}]
    quantize(fp32, folder / "static.onnx", feeds, smoothing=0.8, reduce_range=True)
    return {
        "full": folder / "full" / "model.onnx",
        "first": fp32,
        "fused": folder / "fused.onnx",
        "dynamic": folder / "dynamic.onnx",
        "static": folder / "static.onnx",
    }


def matmul_only(path: Path) -> Run:
    """Runs the integer matrix products of an int8 model with static scales, and nothing else."""
    shapes = _product_shapes(path)
    rng = np.random.default_rng(0)
    sessions, inputs = {}, {}
    for rows, columns in {shape for shape, _ in shapes}:
        sessions[rows, columns] = _matmul_session(rng.integers(-63, 64, (rows, columns)).astype(np.int8))
        inputs[rows] = rng.integers(0, 256, (BATCH_TOKENS, rows)).astype(np.uint8)

    def run(feed: Feed) -> None:
        texts, tokens = feed["input_ids"].shape
        for (rows, columns), first_only in shapes:
            sessions[rows, columns].run(None, {"x": inputs[rows][: texts if first_only else texts * tokens]})

    return run


def _product_shapes(path: Path) -> list[tuple[tuple[int, int], bool]]:
    """Shape of each product's weights, and whether it runs over the first token of each text only."""
    model = onnx.load(str(path))
    weights = {value.name: tuple(value.dims) for value in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"]
    for node in products:
        model.graph.output.append(helper.make_empty_tensor_value_info(node.output[0]))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = np.ones((2, 7), dtype=np.int64)
    feed = {value.name: ids if value.name != "token_type_ids" else ids * 0 for value in session.get_inputs()}
    outputs = session.run([node.output[0] for node in products], feed)
    return [(weights[node.input[1]], output.shape[1] == 1) for node, output in zip(products, outputs, strict=True)]


def _matmul_session(weights: np.ndarray) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    rows, columns = weights.shape
    product = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w", "z"], ["y"])], "matmul",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["m", rows])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ["m", columns])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.uint8(128), "z")],
    )  # fmt: skip
    model = helper.make_model(product, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def profile(path: Path, feeds: list[Feed], folder: Path) -> dict[str, float]:
    """Share of the time in each kind of operator, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for feed in feeds:
        inputs = {**feed, "token_type_ids": np.zeros_like(feed["input_ids"])}
        session.run(None, {value.name: inputs[value.name] for value in session.get_inputs()})
    durations: Counter[str] = Counter()
    for event in json.loads(Path(session.end_profiling()).read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            durations[event["args"]["op_name"]] += event["dur"]
    return {name: duration / durations.total() for name, duration in durations.most_common()}


def random_model(shape: str) -> PreTrainedModel:
    """A classifier of the shape with random weights."""
    torch.manual_seed(0)
    if shape == "distilbert":
        config = DistilBertConfig(num_labels=9)
        return DistilBertForSequenceClassification._from_config(config, attn_implementation="eager").eval()
    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    return BertForSequenceClassification._from_config(config, attn_implementation="eager").eval()


def make_feeds(rows: int) -> tuple[list[Feed], list[Feed]]:
    """Random rows as long as tweets, one row per call and in batches of one length; longest rows first."""
    rng = np.random.default_rng(0)
    lengths = np.array(tweet_lengths(rows))
    ids = [rng.integers(1000, 30000, length) for length in lengths]
    tokens = Tokens(np.concatenate(ids).astype(np.int32), lengths)
    batcher = EqualLengthBatcher(BATCH_TOKENS)

    def feed(batch: np.ndarray) -> Feed:
        return {name: array.astype(np.int64) for name, array in batcher.feed(tokens, batch).items()}

    single = [feed(np.array([row])) for row in np.argsort(-lengths, kind="stable")]
    batches = [feed(batch) for batch in batcher.batches(lengths)]
    return single, batches


def measure(runs: dict[str, tuple[Run, list[Feed]]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant in each round."""
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with ThreadPoolExecutor(available_cores()) as workers:
        for number in range(rounds + 1):
            for name in [*names[number % len(names) :], *names[: number % len(names)]]:
                run, feeds = runs[name]
                started = time.perf_counter()
                list(workers.map(run, feeds))
                if number:  # the first round warms up
                    seconds[name].append(time.perf_counter() - started)
    return seconds


def print_results(seconds: dict[str, list[float]], rows: int) -> None:
    """One line per variant, and the share of the matrix products' rate that int8 reaches."""
    first = statistics.median(next(iter(seconds.values())))
    for name, values in seconds.items():
        median = statistics.median(values)
        spread = (max(values) - min(values)) / median
        print(f"{name:75} {rows / median:8.1f} rows/s  x {first / median:.2f}  (spread {spread:.0%})")
    pairs = zip(seconds[MATMUL_ONLY], seconds[STATIC_INT8], strict=True)
    shares = [matmul / static for matmul, static in pairs]
    print(
        f"int8 with static scales, as a share of the MatMulInteger-only rate: {statistics.median(shares):.0%} "
        f"({min(shares):.0%} to {max(shares):.0%})"
    )


def main() -> None:
    """Measures, prints, and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["minilm", "distilbert"], default="minilm")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="report to write")
    arguments = parser.parse_args()
    machine = describe_system()
    model = random_model(arguments.shape)
    single, batches = make_feeds(arguments.rows)
    with tempfile.TemporaryDirectory() as scratch:
        paths = export_variants(model, Path(scratch))
        run = {name: Session(path, model.num_labels).run for name, path in paths.items()}
        runs: dict[str, tuple[Run, list[Feed]]] = {
            "fp32, full last layer, one row per call": (run["full"], single),
            "fp32, first token only, one row per call": (run["first"], single),
            "fp32, first token only, batches of one length": (run["first"], batches),
            "fp32, first token only, fused offline, batches of one length": (run["fused"], batches),
            "int8, dynamic scales, one row per call": (run["dynamic"], single),
            "int8, dynamic scales, batches of one length (scores depend on the batch)": (run["dynamic"], batches),
            "int8, static scales, one row per call": (run["static"], single),
            STATIC_INT8: (run["static"], batches),
            MATMUL_ONLY: (matmul_only(paths["static"]), batches),
        }
        seconds = measure(runs, arguments.rounds)
        operators = profile(paths["static"], batches, Path(scratch))
    print_results(seconds, arguments.rows)
    if arguments.json:
        report: dict[str, Any] = {
            "shape": arguments.shape, "rows": arguments.rows, "machine": machine.to_dict(), "seconds": seconds,
            "operators": operators,
        }  # fmt: skip
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
