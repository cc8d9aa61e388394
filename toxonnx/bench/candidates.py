"""Who races against a bundle, and what a process of each costs from its start."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from toxonnx.bench.report import cold_start, padding, text_figures
from toxonnx.bench.run import WORKER, Candidate
from toxonnx.bundle import MANIFEST, Bundle, open_bundle
from toxonnx.errors import InputError
from toxonnx.inference.engine import Engine
from toxonnx.inference.options import RuntimeOptions
from toxonnx.inference.tokenizer import Tokenizer

__all__ = ["cold_starts", "lineup", "metrics"]

COLD_STARTS = 3
HELLO = "What a lovely morning"


def lineup(
    opened: Bundle,
    against: Sequence[str],
    cores: int,
    max_batch_tokens: int | None,
    scratch: Path,
    checkpoint: Callable[[str, Path], tuple[str, ...]],
    device: str = "cpu",
    log: Callable[[str], None] = lambda _: None,
) -> tuple[list[Candidate], frozenset[str]]:
    """The candidates, the bundle first.

    Args:
        opened: the bundle.
        against: ``pytorch``, or folders: bundles, and whatever ``checkpoint`` can read.
        cores: for each.
        max_batch_tokens: of the bundle.
        scratch: for checkpoints.
        checkpoint: writes a checkpoint of a source into a folder and returns its labels.
        device: for the bundle and for PyTorch. Bundles beside it run there too, where they can.
        log: is told of those that cannot.

    Returns:
        The candidates, and the names of those whose scores mean the same as the first one's.

    Raises:
        InputError: a source has other labels than the bundle.
    """
    labels = opened.manifest.labels.names
    beside = "cpu" if device == "cpu" else "auto"
    candidates = [_of_bundle(f"toxonnx, {opened.manifest.name}", opened, cores, max_batch_tokens, device)]
    comparable: set[str] = set()
    for number, source in enumerate(against):
        here = Path(source).absolute()
        if source != "pytorch" and (here / MANIFEST).is_file():
            other = open_bundle(here)
            engine = Engine(
                other, RuntimeOptions(device=beside)
            )  # so that what cannot run is told before anything is timed
            if engine.settings.fallback:
                log(f"{here.name} runs on the CPU: {engine.settings.fallback}")
            name = f"toxonnx, {here.name}{' on the CPU' if engine.settings.fallback else ''}"
            theirs, entries = (
                other.manifest.labels.names,
                [_of_bundle(name, other, cores, None, engine.settings.device)],
            )
        else:
            theirs = checkpoint(source, scratch / str(number))
            what = "random weights" if source == "pytorch" else here.name
            entries = _of_checkpoint(what, scratch / str(number), opened, cores, device)
        if theirs != labels:
            raise InputError(f"{source} has the labels {', '.join(theirs)}; the bundle has {', '.join(labels)}")
        taken = {candidate.name for candidate in candidates}
        if any(entry.name in taken for entry in entries):
            raise InputError(f"{source}: something of that name races already", "Give one of the folders another name.")
        candidates += entries
        if source != "pytorch":
            comparable |= {entry.name for entry in entries}
    return candidates, frozenset(comparable)


def _of_bundle(name: str, bundle: Bundle, cores: int, max_batch_tokens: int | None, device: str) -> Candidate:
    options: dict[str, Any] = {"model": str(bundle.path), "threads": cores, "device": device}
    if max_batch_tokens is not None:
        options["max_batch_tokens"] = max_batch_tokens
    return Candidate(name, "toxonnx.bench.scorers:bundle", options, cores)


def _of_checkpoint(name: str, folder: Path, opened: Bundle, cores: int, device: str) -> list[Candidate]:
    manifest = opened.manifest
    options = {
        "model": str(folder), "threads": cores, "max_length": manifest.max_length, "batch": 32,
        "normalise": list(manifest.text.normalise), "multi": manifest.labels.multi,
        "device": "cpu" if device == "cpu" else "cuda",
    }  # fmt: skip
    return [
        Candidate(
            f"transformers pipeline{'' if device == 'cpu' else ' fp32'}, {name}",
            "toxonnx.bench.scorers:pipeline",
            options,
            cores,
        ),
        Candidate(
            f"PyTorch sorted{'' if device == 'cpu' else ' fp16'}, {name}",
            "toxonnx.bench.scorers:pytorch",
            options,
            cores,
        ),
    ]


def cold_starts(
    candidates: Sequence[Candidate], opened: Bundle, scratch: Path, log: Callable[[str], None]
) -> dict[str, Any]:
    """From a process's start to the score of one row: for bundles the command itself, for others as much work."""
    row, texts = scratch / "row.csv", scratch / "row.json"
    columns = opened.manifest.text.columns or ("text",)
    with open(row, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, [HELLO for _ in columns]])
    texts.write_text(json.dumps([HELLO]), encoding="utf-8")
    named = [f"--text-column={column}" for column in columns]
    colds = {}
    for candidate in candidates:
        log(f"cold start of {candidate.name}")
        if candidate.factory.endswith(":bundle"):
            on = candidate.options["device"]
            options = ["--bundle", candidate.options["model"], "--device", on]
            options += ["--threads", str(candidate.cores)] if on == "cpu" else []
            command, given = [sys.executable, "-m", "toxonnx", "predict", str(row), *options, *named], ""
        else:
            lines = (candidate.spec, {"do": "texts", "file": str(texts)}, {"do": "score"})
            command, given = [candidate.python, str(WORKER)], "".join(json.dumps(line) + "\n" for line in lines)
        colds[candidate.name] = cold_start(command, COLD_STARTS, given, candidate.cores)
    return colds


def metrics(engine: Engine, opened: Bundle, texts: Sequence[str]) -> dict[str, Any]:
    """What the texts are like, and how much of a batch of them would be padding."""
    clean = [opened.manifest.text.clean(text) for text in texts]
    tokens = Tokenizer(opened.path / "tokenizer.json", opened.manifest.max_length)(clean)
    filled = sum(engine.batcher.feed(tokens, rows)["input_ids"].size for rows in engine.batches(tokens.lengths))
    shares = {
        "batches of 32 in the file's order": padding(tokens.lengths, 32, ordered=False),
        "batches of 32 ordered by length": padding(tokens.lengths, 32, ordered=True),
        "toxonnx": 1 - len(tokens.ids) / max(filled, 1),
    }
    return {**text_figures(clean, tokens.lengths, tokens.truncated), "padding": shares}
