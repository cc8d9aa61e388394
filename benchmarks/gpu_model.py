"""What benchmarks/gpu.py measures: a DistilBERT with random weights, in PyTorch and as bundles; the card's ceiling."""

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

from toxonnx import sessions
from toxonnx.bench.synthetic_texts import tweet_lengths
from toxonnx.bundle import Bundle, seal
from toxonnx.convert.encoder_weights import extract_weights
from toxonnx.convert.fused import emulate_packed, fused, packed
from toxonnx.formats import EMULATED
from toxonnx.inference.engine import Engine
from toxonnx.inference.tokenizer import Tokens
from toxonnx.labels import Labels
from toxonnx.manifest import Manifest
from toxonnx.texts import TextSpec

TOKENIZER = Path(__file__).parent.parent / "export" / "bundles" / "minilm-hate-int8" / "tokenizer.json"
#: tokens of a padded batch of PyTorch at its best, and rows of one as people run it
TORCH_TOKENS, TORCH_ROWS = 1 << 15, 32

#: by which a layer's products change the size of what they are given
GAIN = 1.2
#: tokens to logits, float32 [rows, 9]
Scorer = Callable[[Tokens], np.ndarray]


class Bench:
    """What all parts share: the model, its bundles, the sizes."""

    def __init__(self, work: Path, device: str, small: bool, rounds: int) -> None:
        self.device, self.small, self.rounds = device, small, rounds
        self.rows = 200 if small else 65_536
        self.csv_rows = 3_000 if small else 1_000_000
        shape = {"dim": 64, "hidden_dim": 128, "n_layers": 2, "n_heads": 4} if small else {}
        torch.manual_seed(0)
        self.config = DistilBertConfig(num_labels=9, **shape)
        # The usual start, 0.02, makes layers that change little, and logits that are the same for every row.
        self.config.initializer_range = GAIN / self.config.dim**0.5
        self.model = DistilBertForSequenceClassification(self.config).eval()
        encoder = extract_weights(self.model)
        self.bundles: dict[str, Bundle] = {}
        for layout, graph in (("fused", fused(encoder, half=True)), ("packed", packed(encoder, half=True))):
            if layout == "packed" and device == "cpu":
                layout, graph = EMULATED, emulate_packed(graph)
            self.bundles[layout.partition("-")[0]] = self._sealed(work / layout, layout, graph)
        self.model.to(device)

    def _sealed(self, folder: Path, layout: str, graph: onnx.ModelProto) -> Bundle:
        folder.mkdir(parents=True)
        onnx.save(graph, str(folder / "model.onnx"))
        (folder / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
        names = tuple(f"label {number}" for number in range(9))
        table = {"id2label": dict(enumerate(names))}
        (folder / "config.json").write_text(json.dumps(table), encoding="utf-8")
        text = TextSpec((), "", ("html", "urls", "mentions", "spaces"))
        manifest = Manifest(
            name=f"distilbert-{layout}", labels=Labels(names), text=text, max_length=128, pad_id=0, precision="fp16",
            layout=layout,
        )  # fmt: skip
        return seal(folder, manifest)

    def engine(self, layout: str, max_batch_tokens: int | None = None) -> Engine:
        """A bundle's model on the device."""
        return Engine(self.bundles[layout], device=self.device, max_batch_tokens=max_batch_tokens)

    def tokens(self, lengths: list[int], seed: int = 0) -> Tokens:
        """Rows of random words of these lengths, between the special tokens of BERT."""
        array = np.array(lengths, dtype=np.int64)
        ids = np.random.default_rng(seed).integers(1000, 30_000, array.sum(), dtype=np.int32)
        ends = np.cumsum(array)
        ids[ends - array], ids[ends - 1] = 101, 102
        return Tokens(ids, array, np.zeros(len(array), dtype=np.bool_))

    def tweets(self) -> Tokens:
        """Rows as long as tweets."""
        return self.tokens(tweet_lengths(self.rows))

    def sent(self, array: np.ndarray) -> torch.Tensor:
        """An array on the device, without waiting for it."""
        tensor = torch.from_numpy(array)
        return tensor if self.device == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)

    def sync(self) -> None:
        """Waits for the card."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def by_engine(engine: Engine) -> Scorer:
    """The way ``toxonnx predict`` goes, from tokens on."""

    def score(tokens: Tokens) -> np.ndarray:
        logits = np.empty((len(tokens.lengths), 9), dtype=np.float32)

        def run(rows: np.ndarray) -> None:
            logits[rows] = engine.run(tokens, rows)

        with ThreadPoolExecutor(engine.threads) as workers:
            list(workers.map(run, engine.batches(tokens.lengths)))
        return logits

    return score


def by_torch(bench: Bench, *, half: bool, ordered: bool, compiled: bool = False, mode: str | None = None) -> Scorer:
    """PyTorch on padded batches: 32 rows in the file's order, or ordered by length and as many as the card likes.

    Attention is transformers' default, SDPA; no mask is given where nothing is padded.
    """
    model: Any = DistilBertForSequenceClassification(bench.config).eval()
    model.load_state_dict(bench.model.state_dict())
    model = model.to(bench.device, torch.float16 if half and bench.device == "cuda" else torch.float32)
    if compiled:
        model = torch.compile(model, dynamic=mode is None, mode=mode)

    @torch.inference_mode()
    def score(tokens: Tokens) -> np.ndarray:
        lengths = tokens.lengths
        order = np.argsort(-lengths, kind="stable") if ordered else np.arange(len(lengths))
        logits = np.empty((len(lengths), 9), dtype=np.float32)
        waiting: list[tuple[np.ndarray, torch.Tensor]] = []
        start = 0
        while start < len(order):
            # Widths in steps of 16 where rows are ordered, so that a compiled model meets few of them.
            widest = -(-int(lengths[order[start]]) // 16) * 16
            some = order[start : start + (max(1, TORCH_TOKENS // widest) if ordered else TORCH_ROWS)]
            start += len(some)
            width = widest if ordered else int(lengths[some].max())
            held = np.arange(width) < lengths[some][:, None]
            ids = np.zeros((len(some), width), dtype=np.int64)
            ids[held] = tokens.of(some)
            mask = None if held.all() else bench.sent(held.astype(np.int64))
            waiting.append((some, model(input_ids=bench.sent(ids), attention_mask=mask).logits))
        for some, found in waiting:
            logits[some] = found.float().cpu().numpy()
        return logits

    return score


def flops(config: DistilBertConfig, length: int) -> float:
    """Nominal: of a row in the whole model, products with weights, and attention. Our graphs leave out some 13%."""
    weights = 4 * config.dim**2 + 2 * config.dim * config.hidden_dim
    return 2.0 * config.n_layers * length * (weights + 2 * length * config.dim)


def ceiling(bench: Bench) -> float:
    """FLOP/s of one large bf16 product."""
    size = 512 if bench.small else 8192
    a, b = (torch.randn(size, size, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(8):
        bench.sync()
        started = time.perf_counter()
        for _ in range(10):
            torch.mm(a, b)
        bench.sync()
        times.append((time.perf_counter() - started) / 10)
    return 2.0 * size**3 / min(times)


@contextlib.contextmanager
def attention(kernel: int) -> Iterator[None]:
    """Sessions that are opened inside take this attention kernel (bits of sdpa_kernel)."""
    usual = sessions.provider_options

    def changed(*args: Any, **options: Any) -> Any:
        return [(name, {**values, "sdpa_kernel": str(kernel)}) for name, values in usual(*args, **options)]

    sessions.provider_options = changed
    try:
        yield
    finally:
        sessions.provider_options = usual
