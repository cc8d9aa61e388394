"""The candidates of ``toxonnx bench``: the bundle, other bundles, and checkpoints in PyTorch."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toxonnx.bench.checkpoints import RANDOM_WEIGHTS, write_checkpoint
from toxonnx.bench.run import Candidate
from toxonnx.bundle import MANIFEST, Bundle, open_bundle
from toxonnx.errors import BundleError, InputError
from toxonnx.inference.engine import Engine
from toxonnx.inference.options import RuntimeOptions
from toxonnx.resources import find_bundle

__all__ = ["CandidateOptions", "build_candidates"]


@dataclass(frozen=True, kw_only=True)
class CandidateOptions:
    """How candidates run.

    Attributes:
        cores: for each candidate.
        device: of the bundle and of PyTorch; other bundles run there too if they can.
        max_batch_tokens: of the bundle; see :class:`toxonnx.inference.options.RuntimeOptions`.
    """

    cores: int
    device: str = "cpu"
    max_batch_tokens: int | None = None


def build_candidates(
    bundle: Bundle,
    sources: Sequence[str],
    options: CandidateOptions,
    scratch: Path,
    log: Callable[[str], None] = lambda _: None,
) -> list[Candidate]:
    """The candidates, the bundle's full model first, and then its cascade, if it has one.

    Args:
        bundle: the bundle.
        sources: ``pytorch``, names of included bundles, or folders: bundles, runs or checkpoints.
        options: how they run.
        scratch: folder for checkpoints.
        log: receives a line for each bundle that falls back to the CPU, and for an engine that is left out.

    Raises:
        InputError: a source has other labels than the bundle, reads long texts in another way, or has the name of an
            earlier one.
        CheckpointError: a source is neither a bundle nor a checkpoint.
        MachineError: the packages of the train extra are not installed.
    """
    names = bundle.manifest.labels.names
    candidates = _bundle(bundle.manifest.name, bundle, options, comparable=False)
    for number, source in enumerate(sources):
        folder = _bundle_folder(source)
        if folder is not None:
            other = open_bundle(folder)
            if other.manifest.long_texts != bundle.manifest.long_texts:
                raise InputError(
                    f"--compare {source} reads long texts in another way than the bundle",
                    "Compare bundles that were exported with the same --long-texts.",
                )
            labels, added = other.manifest.labels.names, _other_bundle(folder.name, other, options, log)
        else:
            checkpoint = scratch / str(number)
            labels = write_checkpoint(bundle, source, checkpoint)
            added = _checkpoint(source, checkpoint, bundle, options, log)
        if labels != names:
            raise InputError(
                f"--compare {source} has the labels {', '.join(labels)}; the bundle has {', '.join(names)}",
                "Compare models with the same labels in the same order.",
            )
        if {candidate.name for candidate in candidates} & {candidate.name for candidate in added}:
            raise InputError(f"--compare {source}: this name is already in use", "Rename one of the folders.")
        candidates += added
    return candidates


def _bundle_folder(source: str) -> Path | None:
    """The folder of a bundle, or of an included one of that name; None for anything else."""
    folder = Path(source).absolute()
    if source == RANDOM_WEIGHTS or (folder.exists() and not (folder / MANIFEST).is_file()):
        return None
    with contextlib.suppress(BundleError):
        return find_bundle(source).absolute()
    return None


def _bundle(name: str, bundle: Bundle, options: CandidateOptions, *, comparable: bool) -> list[Candidate]:
    arguments: dict[str, Any] = {"model": str(bundle.path), "threads": options.cores, "device": options.device}
    if options.max_batch_tokens is not None:
        arguments["max_batch_tokens"] = options.max_batch_tokens
    factory, cascade = "toxonnx.bench.scorers:bundle", {**arguments, "cascade": True}
    full = Candidate(f"toxonnx ({name})", factory, arguments, options.cores, comparable=comparable)
    if bundle.manifest.cascade is None:
        return [full]
    return [full, Candidate(f"toxonnx ({name}, cascade)", factory, cascade, options.cores, comparable=True)]


def _other_bundle(name: str, bundle: Bundle, options: CandidateOptions, log: Callable[[str], None]) -> list[Candidate]:
    # Loaded here so that a bundle that does not run is an error before anything is timed.
    settings = Engine(bundle, RuntimeOptions(device="cpu" if options.device == "cpu" else "auto")).settings
    if settings.fallback:
        log(f"{name} runs on the CPU: {settings.fallback}")
        name = f"{name}, on the CPU"
    other = CandidateOptions(cores=options.cores, device=settings.device)
    return _bundle(name, bundle, other, comparable=True)


def _checkpoint(
    source: str, folder: Path, bundle: Bundle, options: CandidateOptions, log: Callable[[str], None]
) -> list[Candidate]:
    manifest, on_cpu = bundle.manifest, options.device == "cpu"
    arguments: dict[str, Any] = {
        "model": str(folder), "threads": options.cores, "max_length": manifest.max_length, "batch": 32,
        "normalise": list(manifest.text.normalise), "multi": manifest.labels.multi,
        "device": "cpu" if on_cpu else "cuda",
    }  # fmt: skip
    engines = [(f"transformers pipeline{'' if on_cpu else ' fp32'}", "toxonnx.bench.scorers:pipeline")]
    if manifest.long_texts:
        log("the transformers pipeline is left out: it truncates long texts, which the bundle reads in windows")
        engines, arguments["long_texts"] = [], dataclasses.asdict(manifest.long_texts)
    engines.append((f"PyTorch sorted{'' if on_cpu else ' fp16'}", "toxonnx.bench.scorers:pytorch"))
    random = source == RANDOM_WEIGHTS
    name = "random weights" if random else Path(source).absolute().name
    return [
        Candidate(f"{engine} ({name})", factory, arguments, options.cores, comparable=not random)
        for engine, factory in engines
    ]
