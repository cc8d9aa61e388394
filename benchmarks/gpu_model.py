"""The model of benchmarks/gpu.py: DistilBERT with random weights, as bundles and in PyTorch; peak speed of the GPU."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from toxonnx.bench.synthetic_texts import tweet_lengths
from toxonnx.bundle import Bundle, seal
from toxonnx.convert.encoder_weights import extract_weights
from toxonnx.convert.fused import emulate_packed, fused, packed
from toxonnx.formats import EMULATED
from toxonnx.inference import session
from toxonnx.inference.engine import Engine
from toxonnx.inference.options import RuntimeOptions
from toxonnx.inference.tokenizer import Tokens
from toxonnx.labels import Labels
from toxonnx.manifest import Manifest
from toxonnx.resources import find_bundle
from toxonnx.texts import TextSpec

TOKENIZER = find_bundle(None) / "tokenizer.json"
LABELS = 9
#: PyTorch: tokens in a padded batch of sorted rows, and rows in a batch in file order
TORCH_BATCH_TOKENS, TORCH_BATCH_ROWS = 1 << 15, 32
#: standard deviation of the weights, relative to 1 / sqrt(width)
GAIN = 1.2

#: tokens -> logits, float32 [rows, LABELS]
LogitsFunction = Callable[[Tokens], np.ndarray]


class Setup:
    """What all parts of the benchmark share.

    Args:
        work: folder for bundles.
        device: ``cuda`` or ``cpu``.
        small: a tiny model and few rows, to test the script.
        rounds: timed passes.

    Attributes:
        rows: rows to score from tokens.
        csv_rows: rows of the CSV file.
        config, model: of the PyTorch model, in fp32.
        bundles: layout -> bundle in fp16; on the CPU, ``packed`` is emulated.
    """

    def __init__(self, work: Path, device: str, small: bool, rounds: int) -> None:
        self.device, self.small, self.rounds = device, small, rounds
        self.rows = 60 if small else 65_536
        self.csv_rows = 500 if small else 1_000_000
        shape = {"dim": 64, "hidden_dim": 128, "n_layers": 2, "n_heads": 4} if small else {}
        torch.manual_seed(0)
        self.config = DistilBertConfig(num_labels=LABELS, **shape)
        # With the default, 0.02, layers change their input little, and all rows get the same logits.
        self.config.initializer_range = GAIN / self.config.dim**0.5
        self.model = DistilBertForSequenceClassification(self.config).eval()
        weights = extract_weights(self.model)
        packed_graph, packed_layout = packed(weights, half=True), "packed"
        if device == "cpu":
            packed_graph, packed_layout = emulate_packed(packed_graph), EMULATED
        self.bundles = {
            "fused": _seal(work / "fused", "fused", fused(weights, half=True)),
            "packed": _seal(work / "packed", packed_layout, packed_graph),
        }
        self.model.to(device)

    def engine(self, layout: str, max_batch_tokens: int | None = None) -> Engine:
        """A bundle's model on the device."""
        return Engine(self.bundles[layout], RuntimeOptions(device=self.device, max_batch_tokens=max_batch_tokens))

    def tokens(self, lengths: list[int], seed: int = 0) -> Tokens:
        """Rows of random token ids of these lengths, between BERT's special tokens."""
        array = np.array(lengths, dtype=np.int64)
        ids = np.random.default_rng(seed).integers(1000, 30_000, array.sum(), dtype=np.int32)
        ends = np.cumsum(array)
        ids[ends - array], ids[ends - 1] = 101, 102
        return Tokens(ids, array)

    def tweets(self) -> Tokens:
        """Rows as long as tweets."""
        return self.tokens(tweet_lengths(self.rows))

    def to_device(self, array: np.ndarray) -> torch.Tensor:
        """An array on the device; the copy is asynchronous."""
        tensor = torch.from_numpy(array)
        return tensor if self.device == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)

    def synchronize(self) -> None:
        """Waits for the GPU."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def _seal(folder: Path, layout: str, graph: onnx.ModelProto) -> Bundle:
    folder.mkdir(parents=True)
    onnx.save(graph, str(folder / "model.onnx"))
    (folder / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    names = tuple(f"label {number}" for number in range(LABELS))
    config = {"id2label": dict(enumerate(names))}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    text = TextSpec((), "", ("html", "urls", "mentions", "spaces"))
    manifest = Manifest(
        name=f"distilbert-{layout}", labels=Labels(names), text=text, max_length=128, pad_id=0, precision="fp16",
        layout=layout,
    )  # fmt: skip
    return seal(folder, manifest)


def run_engine(engine: Engine) -> LogitsFunction:
    """Scores as ``toxonnx predict`` does, from tokens on."""

    def score(tokens: Tokens) -> np.ndarray:
        logits = np.empty((len(tokens.lengths), LABELS), dtype=np.float32)

        def run(rows: np.ndarray) -> None:
            logits[rows] = engine.run(tokens, rows)

        with ThreadPoolExecutor(engine.settings.threads) as workers:
            list(workers.map(run, engine.batches(tokens.lengths)))
        return logits

    return score


def run_torch(
    setup: Setup, *, half: bool, by_length: bool, compiled: bool = False, mode: str | None = None
) -> LogitsFunction:
    """Scores with PyTorch in padded batches: of 32 rows in file order, or sorted by length and as large as they fit.

    Attention is the default of transformers, SDPA; there is no mask if nothing is padded. fp16 is used on a GPU only.
    """
    model: Any = DistilBertForSequenceClassification(setup.config).eval()
    model.load_state_dict(setup.model.state_dict())
    model = model.to(setup.device, torch.float16 if half and setup.device == "cuda" else torch.float32)
    if compiled:
        model = torch.compile(model, dynamic=mode is None, mode=mode)

    @torch.inference_mode()
    def score(tokens: Tokens) -> np.ndarray:
        lengths = tokens.lengths
        order = np.argsort(-lengths, kind="stable") if by_length else np.arange(len(lengths))
        logits = np.empty((len(lengths), LABELS), dtype=np.float32)
        pending: list[tuple[np.ndarray, torch.Tensor]] = []
        start = 0
        while start < len(order):
            # Widths of sorted rows are multiples of 16, so that a compiled model sees few of them.
            first_width = -(-int(lengths[order[start]]) // 16) * 16
            size = max(1, TORCH_BATCH_TOKENS // first_width) if by_length else TORCH_BATCH_ROWS
            batch = order[start : start + size]
            start += size
            width = first_width if by_length else int(lengths[batch].max())
            mask = np.arange(width) < lengths[batch][:, None]
            ids = np.zeros(mask.shape, dtype=np.int64)
            ids[mask] = tokens.of(batch)
            attention_mask = None if mask.all() else setup.to_device(mask.astype(np.int64))
            pending.append((batch, model(input_ids=setup.to_device(ids), attention_mask=attention_mask).logits))
        for batch, output in pending:
            logits[batch] = output.float().cpu().numpy()
        return logits

    return score


def flops(config: DistilBertConfig, length: int) -> float:
    """Nominal operations for a row in the whole model: matrix products and attention. Our graphs save about 13%."""
    weights = 4 * config.dim**2 + 2 * config.dim * config.hidden_dim
    return 2.0 * config.n_layers * length * (weights + 2 * length * config.dim)


def peak_flops(setup: Setup) -> float:
    """FLOP/s of a large bf16 matrix product."""
    size = 512 if setup.small else 8192
    a, b = (torch.randn(size, size, device=setup.device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(8):
        setup.synchronize()
        started = time.perf_counter()
        for _ in range(10):
            torch.mm(a, b)
        setup.synchronize()
        times.append((time.perf_counter() - started) / 10)
    return 2.0 * size**3 / min(times)


@contextlib.contextmanager
def attention_kernel(kernel: int) -> Iterator[None]:
    """Sessions that are loaded inside use this attention kernel (bits of ONNX Runtime's ``sdpa_kernel``)."""
    original = session.provider_options

    def with_kernel(*args: Any, **options: Any) -> Any:
        return [(name, {**values, "sdpa_kernel": str(kernel)}) for name, values in original(*args, **options)]

    session.provider_options = with_kernel
    try:
        yield
    finally:
        session.provider_options = original
