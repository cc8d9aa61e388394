"""Which graph is fastest on this CPU, and how near it comes to the bare integer products.

Each variant holds the same weights and scores the same rows from one thread a core; rounds are interleaved, and the
table gives medians. The last line runs nothing but MatMulInteger, on the shapes of the model's linear layers: what the
machine could do at best with this runtime.

    python benchmarks/graphs.py --shape minilm --json results/graphs-minilm.json
    python benchmarks/graphs.py --shape distilbert --json results/graphs-distilbert.json

Random weights of the shape: the time of a dense product does not depend on its values. Lengths follow tweets.
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
)

import toxonnx.convert.graph as graph
from toxonnx.bench.synthetic_texts import tweet_lengths
from toxonnx.convert.int8 import quantize
from toxonnx.inference.batching import EqualLengthBatcher
from toxonnx.inference.session import Session
from toxonnx.system import available_cores, describe

BATCH_TOKENS = 1024
BARE = "MatMulInteger alone, batches of one length"

Batch = tuple[np.ndarray, np.ndarray]
Run = Callable[[Batch], object]


@contextlib.contextmanager
def _whole(model: object) -> Iterator[bool]:
    yield False


def files(model: torch.nn.Module, folder: Path) -> dict[str, Path]:
    """ONNX files, all from one model."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    short = graph.first_token_only
    for name, patch in (("whole", _whole), ("short", short)):
        graph.first_token_only = patch
        graph.to_onnx(copy.deepcopy(model), folder / name)
    graph.first_token_only = short
    exact = folder / "short" / "model.onnx"
    with graph._quiet():
        quantize_dynamic(
            str(exact), str(folder / "dynamic.onnx"), per_channel=True, reduce_range=True,
            weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"],
        )  # fmt: skip
        heads = getattr(model.config, "n_heads", None) or model.config.num_attention_heads
        width = getattr(model.config, "dim", None) or model.config.hidden_size
        fused = optimizer.optimize_model(
            str(exact), model_type="bert", num_heads=heads, hidden_size=width, opt_level=0,
            optimization_options=FusionOptions("bert"),
        )  # fmt: skip
        fused.save_model_to_file(str(folder / "fused.onnx"))
    ids = np.arange(1000, 1030)[None]
    feeds = [{"input_ids": ids, "attention_mask": np.ones_like(ids)}]
    quantize(exact, folder / "fixed.onnx", feeds, smoothing=0.8, reduce_range=True)
    return {
        "whole": folder / "whole" / "model.onnx",
        "short": exact,
        "fused": folder / "fused.onnx",
        "dynamic": folder / "dynamic.onnx",
        "fixed": folder / "fixed.onnx",
    }


def bare(path: Path) -> Run:
    """Runs the integer products of a model with fixed scales, and nothing else."""
    model = onnx.load(str(path))
    weights = {value.name: tuple(value.dims) for value in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"]
    for node in products:
        model.graph.output.append(helper.make_empty_tensor_value_info(node.output[0]))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    probe = np.ones((2, 7), dtype=np.int64)
    feed = {value.name: probe if value.name != "token_type_ids" else probe * 0 for value in session.get_inputs()}
    shapes = [value.shape for value in session.run([node.output[0] for node in products], feed)]
    # A product runs over all tokens, or over one of each row (the short last layer).
    layers = [(weights[node.input[1]], shape[1] == 1) for node, shape in zip(products, shapes, strict=True)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    rng = np.random.default_rng(0)
    sessions, inputs = {}, {}
    for inner, outer in {shape for shape, _ in layers}:
        matrix = numpy_helper.from_array(rng.integers(-63, 64, (inner, outer)).astype(np.int8), "w")
        zero = numpy_helper.from_array(np.uint8(128), "z")
        one = helper.make_graph(
            [helper.make_node("MatMulInteger", ["x", "w", "z"], ["y"])], "bare",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, ["m", inner])],
            [helper.make_tensor_value_info("y", TensorProto.INT32, ["m", outer])], [matrix, zero],
        )  # fmt: skip
        data = helper.make_model(one, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
        sessions[inner, outer] = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        inputs[inner] = rng.integers(0, 256, (BATCH_TOKENS, inner)).astype(np.uint8)

    def run(batch: Batch) -> None:
        rows, tokens = batch[0].shape
        for (inner, outer), first_only in layers:
            sessions[inner, outer].run(None, {"x": inputs[inner][: rows if first_only else rows * tokens]})

    return run


def profile(path: Path, batches: list[Batch], folder: Path) -> dict[str, float]:
    """Share of the time inside operators that each kind of them takes, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for ids, mask in batches:
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        session.run(None, {value.name: given[value.name] for value in session.get_inputs()})
    spent: Counter[str] = Counter()
    for event in json.loads(Path(session.end_profiling()).read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    return {name: time / spent.total() for name, time in spent.most_common()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["minilm", "distilbert"], default="minilm")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    machine = describe()
    if arguments.shape == "distilbert":
        config = DistilBertConfig(num_labels=9)
        model = DistilBertForSequenceClassification._from_config(config, attn_implementation="eager")
    else:
        config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
        model = BertForSequenceClassification._from_config(config, attn_implementation="eager")
    rng = np.random.default_rng(0)
    rows = [rng.integers(1000, 30000, length) for length in tweet_lengths(arguments.rows)]
    lengths = np.array([len(row) for row in rows])
    order = np.argsort(-lengths, kind="stable")

    def one_by_one() -> list[Batch]:
        return [(rows[i][None], np.ones((1, len(rows[i])), dtype=np.int64)) for i in order]

    def of_one_length() -> list[Batch]:
        stacked = (np.stack([rows[i] for i in batch]) for batch in EqualLengthBatcher(BATCH_TOKENS).plan(lengths))
        return [(ids, np.ones_like(ids)) for ids in stacked]

    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(available_cores()) as workers:
        paths = files(model.eval(), Path(scratch))
        sessions = {name: Session(path, model.num_labels) for name, path in paths.items()}
        runs: dict[str, tuple[Run, list[Batch]]] = {}
        for name, file, how, batches in (
            ("fp32, whole last layer", "whole", "one row a call", one_by_one()),
            ("fp32, first token only", "short", "one row a call", one_by_one()),
            ("fp32, first token only", "short", "batches of one length", of_one_length()),
            ("fp32, first token only, fused offline", "fused", "batches of one length", of_one_length()),
            ("int8, scales as they come", "dynamic", "one row a call", one_by_one()),
            ("int8, scales as they come", "dynamic", "batches of one length (scores depend on them)", of_one_length()),
            ("int8, fixed scales", "fixed", "one row a call", one_by_one()),
            ("int8, fixed scales", "fixed", "batches of one length", of_one_length()),
        ):
            session = sessions[file]
            runs[f"{name}, {how}"] = (lambda batch, session=session: session.run(*batch)), batches
        runs[BARE] = bare(paths["fixed"]), of_one_length()
        names = list(runs)
        for turn in range(arguments.rounds + 1):
            for name in [*names[turn % len(names) :], *names[: turn % len(names)]]:
                run, batches = runs[name]
                started = time.perf_counter()
                list(workers.map(run, batches))
                if turn:  # the first round warms up
                    times.setdefault(name, []).append(time.perf_counter() - started)
        shares_of_operators = profile(paths["fixed"], of_one_length(), Path(scratch))
    times = {name: times[name] for name in runs}
    first = statistics.median(next(iter(times.values())))
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        spread = (max(seconds) - min(seconds)) / middle
        print(f"{name:70} {len(rows) / middle:8.1f} rows/s  x {first / middle:.2f}  (spread {spread:.0%})")
    shares = [
        bare / ours for bare, ours in zip(times[BARE], times["int8, fixed scales, batches of one length"], strict=True)
    ]
    print(f"share of the bare rate: {statistics.median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})")
    if arguments.json:
        report = {"shape": arguments.shape, "rows": len(rows), "machine": machine, "seconds": times}
        report["operators"] = shares_of_operators
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
