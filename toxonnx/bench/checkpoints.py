"""Checkpoints for the PyTorch candidates of a benchmark."""

from __future__ import annotations

from pathlib import Path

from toxonnx.bundle import Bundle
from toxonnx.extras import require

__all__ = ["RANDOM_WEIGHTS", "write_checkpoint"]

#: source that stands for the bundle's architecture with random weights
RANDOM_WEIGHTS = "pytorch"


def write_checkpoint(bundle: Bundle, source: str, folder: Path) -> tuple[str, ...]:
    """Writes a transformers checkpoint with its tokenizer.

    Args:
        bundle: its architecture and tokenizer are used for :data:`RANDOM_WEIGHTS`.
        source: :data:`RANDOM_WEIGHTS`, or a run or checkpoint as ``toxonnx export`` takes it.
        folder: where to write it.

    Returns:
        The names of its labels, in order.

    Raises:
        CheckpointError: the source is not a classifier.
        MachineError: the packages of the train extra are not installed.
    """
    require("train")
    if source == RANDOM_WEIGHTS:
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

        config = AutoConfig.from_pretrained(bundle.path, trust_remote_code=False)
        model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(bundle.path, trust_remote_code=False)
        labels = bundle.manifest.labels.names
    else:
        from toxonnx.train.adapters import load_trained

        trained = load_trained(source)
        model, tokenizer, labels = trained.model, trained.tokenizer, trained.labels.names
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return labels
