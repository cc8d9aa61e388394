"""The logits of a recipe's teacher, scored once for each text and kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from toxonnx.bundle import MANIFEST, open_bundle, sha256
from toxonnx.disk import reports_full_disk
from toxonnx.errors import InputError
from toxonnx.inference.cache import digest as text_key
from toxonnx.labels import Labels
from toxonnx.resources import cache_folder
from toxonnx.train.adapters import Trained, load_trained
from toxonnx.train.torch_scorer import TorchScorer
from toxonnx.wording import plural

__all__ = ["TeacherLogits", "save_logits", "score_with_teacher"]

#: texts after which the logits are written, so that an interruption loses little
CHUNK = 4096
CACHE_SUFFIX = ".safetensors"

Progress = Callable[[float | None, str], None]


@dataclass(frozen=True)
class TeacherLogits:
    """What a teacher says about some texts.

    Attributes:
        logits: float32 [texts, labels], the mean over its models; NaN for an empty text.
        models: name of each model -> sha256 of its weights and settings, or of its graph and settings.
    """

    logits: NDArray[np.float32]
    models: dict[str, str]


@dataclass(frozen=True)
class _Model:
    """One model of a teacher.

    Attributes:
        labels: in the order of its logits.
        digest: identifies everything that its logits depend on besides the text.
        score: texts -> logits, float32 [texts, labels].
        file: with the logits of texts that it has scored before.
    """

    labels: Labels
    digest: str
    score: Callable[[Sequence[str]], NDArray[np.float32]]
    file: Path | None = None

    def cache(self) -> Path:
        """Where its logits are kept."""
        if self.file is not None:
            return self.file
        return cache_folder("teachers") / f"{self.digest[:32]}{CACHE_SUFFIX}"


def score_with_teacher(
    models: Sequence[str], texts: Sequence[str], labels: Labels, progress: Progress = lambda share, note: None
) -> TeacherLogits:
    """Scores texts with each model of a teacher; texts that a model has scored before are read from the cache.

    Args:
        models: runs, checkpoints or bundles, or files of the cache, for models that are elsewhere. The logits of a
            bundle are divided by its temperature.
        texts: normalised texts; empty ones are not scored.
        labels: the student's; the models must have the same, in any order.
        progress: called with the share that is done and a note.

    Raises:
        BundleError, CheckpointError: a model does not load.
        InputError: a model has other labels, or a file lacks a text.
        MachineError: the disk is full.
    """
    given = [i for i, text in enumerate(texts) if text]
    total = np.full((len(texts), len(labels)), np.nan)
    total[given] = 0.0
    names = {}
    for source in models:
        model = _open(source)
        if set(model.labels.names) != set(labels.names) or model.labels.multi != labels.multi:
            raise InputError(
                f"the teacher {source} has the labels {', '.join(model.labels.names)}",
                f"It needs those of the recipe: {', '.join(labels.names)}.",
            )
        columns = [model.labels.names.index(name) for name in labels.names]
        total[given] += _cached_logits(model, [texts[i] for i in given], progress)[:, columns]
        alone = sum(Path(other).name == Path(source).name for other in models) == 1
        names[Path(source).name if alone else "/".join(Path(source).parts[-2:])] = model.digest
    return TeacherLogits((total / len(models)).astype(np.float32), names)


def save_logits(path: Path, texts: Sequence[str], logits: NDArray[np.floating], labels: Labels) -> None:
    """Writes a file of logits that a recipe can name as its teacher: hashes of the texts, sorted, and numbers.

    Args:
        path: ends with ``.safetensors``.
        texts: distinct, normalised as the recipe does it.
        logits: [texts, labels]; float16 makes the file half as large as float32.
        labels: their names and activation.
    """
    _write_cache(path, dict(sorted(zip(map(text_key, texts), logits, strict=True), key=itemgetter(0))), labels)


def _open(source: str) -> _Model:
    if Path(source).suffix == CACHE_SUFFIX:
        return _open_file(Path(source))
    if (Path(source) / MANIFEST).is_file():
        return _open_bundle(Path(source))
    trained = load_trained(source)
    digest, scorer = _digest(trained), TorchScorer(trained)
    if torch.cuda.is_available():
        trained.model.to("cuda")
    return _Model(trained.labels, digest, lambda texts: scorer.score(texts).logits)


def _open_file(path: Path) -> _Model:
    """A file of the cache, in place of the model that wrote it."""

    def score(texts: Sequence[str]) -> NDArray[np.float32]:
        raise InputError(
            f"the teacher {path} has no logits of {plural(len(texts), 'text')}",
            "Its texts have to be normalised in the same way; score the others with the model that wrote it.",
        )

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            labels = Labels(tuple(json.loads(metadata["labels"])), metadata["activation"])
    except (OSError, KeyError, ValueError, SafetensorError):
        raise InputError(
            f"the teacher {path} is missing or damaged, or not a file of logits",
            "toxonnx train writes such files to ~/.cache/toxonnx/teachers.",
        ) from None
    return _Model(labels, sha256(path), score, path)


def _open_bundle(folder: Path) -> _Model:
    from toxonnx.inference.classifier import Classifier
    from toxonnx.inference.options import RuntimeOptions

    bundle = open_bundle(folder)
    manifest, classifier = bundle.manifest, Classifier(bundle, RuntimeOptions(cascade=False))
    settings = (manifest.labels, manifest.max_length, manifest.text.normalise, sorted(manifest.files.items()))

    def score(texts: Sequence[str]) -> NDArray[np.float32]:
        return classifier.score(texts).logits / np.float32(manifest.labels.temperature)

    return _Model(manifest.labels, hashlib.sha256(repr(settings).encode()).hexdigest(), score)


def _digest(trained: Trained) -> str:
    settings = (trained.labels.names, trained.max_length, trained.text.normalise)
    digest = hashlib.sha256(repr(settings).encode())
    for name, tensor in sorted(trained.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _cached_logits(model: _Model, texts: Sequence[str], progress: Progress) -> NDArray[np.float32]:
    """Logits of the texts, float32 [texts, labels], from the cache as far as it has them."""
    path = model.cache()
    keys = [text_key(text) for text in texts]
    known = _read_cache(path)
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    # Batches of equal length are the fastest; by characters, since the texts are tokenized chunk by chunk.
    order = sorted(missing, key=lambda key: len(missing[key]))
    step = CHUNK if model.file is None else max(len(order), 1)  # the error of a file counts all texts that it lacks
    for start in range(0, len(order), step):
        chunk = order[start : start + step]
        logits = model.score([missing[key] for key in chunk])
        known |= dict(zip(chunk, logits, strict=True))
        with reports_full_disk(path.parent, "then start again: texts that were written before are kept."):
            _write_cache(path, known, model.labels)
        done = start + len(chunk)
        progress(done / len(order), f"teacher: {done:,} of {len(order):,} texts scored")
    return np.stack([known[key] for key in keys]) if keys else np.empty((0, len(model.labels)), dtype=np.float32)


def _read_cache(path: Path) -> dict[bytes, NDArray[np.float32]]:
    """Key of a text -> its logits; a damaged file counts as empty."""
    try:
        table = load_file(path)
        logits = table["logits"].astype(np.float32)
        return {key.tobytes(): row for key, row in zip(table["keys"], logits, strict=True)}
    except (OSError, KeyError, ValueError, SafetensorError):
        return {}


def _write_cache(path: Path, known: Mapping[bytes, NDArray[np.floating]], labels: Labels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    keys = np.frombuffer(b"".join(known), dtype=np.uint8).reshape(len(known), -1)
    metadata = {"labels": json.dumps(labels.names, ensure_ascii=False), "activation": labels.activation}
    try:
        save_file({"keys": keys, "logits": np.stack(list(known.values()))}, unfinished, metadata)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
