"""Loads a run, an adapter or a checkpoint as a single fp32 classifier."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from transformers import PretrainedConfig, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from toxonnx.errors import CheckpointError, InputError
from toxonnx.labels import Labels
from toxonnx.long_texts import TRUNCATE, LongTexts
from toxonnx.manifest import ModelSource
from toxonnx.recipe import Recipe
from toxonnx.recipe_files import recipe_from_dict
from toxonnx.texts import TextSpec
from toxonnx.train.merging import merge_adapter
from toxonnx.train.pretrained import (
    ATTENTION,
    LoadedClassifier,
    check_label_names,
    load_model,
    resolve_base,
    shown_name,
)
from toxonnx.train.run import RUN_FILE, RunMetadata, load_run
from toxonnx.train.tokenizers import has_tokenizer, load_tokenizer, match_tokenizer, max_length_of

__all__ = ["Trained", "load_trained"]

#: tokenizers without a limit have a model_max_length of 1e30
NO_LIMIT = 10**9


@dataclass(frozen=True)
class Trained:
    """A classifier ready for export.

    Attributes:
        model: fp32, in evaluation mode, adapter merged.
        tokenizer: a fast one.
        labels: label names and activation.
        text: how columns become a text.
        max_length: maximum number of tokens.
        source: base, revision, method and adapter, for the manifest.
        recipe: of the run; None for other checkpoints.
        run: metadata of the run; None for other checkpoints.
        path: the given folder.
        notes: what was changed in loading.
        long_texts: how texts beyond the maximum length are read.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    labels: Labels
    text: TextSpec
    max_length: int
    source: ModelSource
    recipe: Recipe | None
    run: RunMetadata | None
    path: Path
    notes: tuple[str, ...] = ()
    long_texts: LongTexts = TRUNCATE


def load_trained(
    source: str | Path,
    *,
    base: str | None = None,
    labels: tuple[str, ...] = (),
    activation: str | None = None,
    max_length: int | None = None,
    tokenizer: str | None = None,
) -> Trained:
    """Loads and merges.

    Args:
        source: a run, a PEFT adapter folder, or a sequence-classification checkpoint (folder or hub id).
        base: base model of an adapter, in place of the one it names.
        labels: label names in order, if the checkpoint has none.
        activation: ``softmax`` or ``sigmoid``, if neither run nor checkpoint defines it; softmax by default.
        max_length: maximum number of tokens, in place of the recipe's.
        tokenizer: folder or hub id of the tokenizer, if it is not next to the weights.

    Raises:
        CheckpointError: it is not a complete classifier: an adapter's weights match no layer, the head is in no file,
            label names do not fit the head, or the tokenizer does not fit the embedding.
        GateError: merging changed the logits.
    """
    path = Path(source)
    recipe: Recipe | None = None
    run = load_run(path)
    if run:
        recipe = recipe_from_dict(run.recipe, str(path / RUN_FILE))
        base = base or run.base
        path = path / "checkpoint"
    loaded = _load(source, path, base, labels)
    model, about, notes = loaded.model, loaded.source, loaded.notes
    tokenizer = tokenizer or (str(path) if has_tokenizer(path) else loaded.base)
    fast = load_tokenizer(tokenizer)
    match_tokenizer(model, fast, tokenizer)
    if run:
        about = _source_of_run(run, about)
    if activation:
        _set_activation(model.config, activation)
    text = recipe.text if recipe else TextSpec()
    if run:
        text = TextSpec(tuple(run.text["columns"]), text.template, text.normalise)
    limit = max_length or (recipe.max_length if recipe else None)
    longest = max_length_of(model, fast)
    if limit and limit > longest:
        raise InputError(f"max_length is {limit}, but the model takes at most {longest} tokens")
    if not limit and longest < fast.model_max_length < NO_LIMIT:
        allowed = f"{fast.model_max_length:,}"
        notes += (
            f"texts are truncated to {longest:,} tokens, although the tokenizer allows {allowed}: the model has no "
            "positions for more",
        )
    names = Labels.from_config(model.config.to_dict())
    reading = recipe.export.reading(max_length=limit or longest, multi=names.multi) if recipe else None
    return Trained(
        model, fast, names, text, limit or longest, about, recipe, run, Path(source), notes, reading or TRUNCATE,
    )  # fmt: skip


def _load(source: str | Path, path: Path, base: str | None, labels: tuple[str, ...]) -> LoadedClassifier:
    if (path / "adapter_config.json").is_file():
        return merge_adapter(path, base, labels)
    if path.is_dir() and not (path / "config.json").is_file():
        raise CheckpointError(
            f"{path} is neither a run, an adapter nor a checkpoint",
            "It needs run.json, adapter_config.json or config.json.",
        )
    return _load_checkpoint(_find_checkpoint(source, path), labels)


def _source_of_run(run: RunMetadata, source: ModelSource) -> ModelSource:
    if source.method == "full":
        return dataclasses.replace(source, base=shown_name(run.base), revision=run.base_revision)
    if source.revision != run.base_revision:
        raise CheckpointError(
            f"the run was trained on other weights than those of the base model {source.base}: these are "
            f"{source.revision}, were {run.base_revision}",
            "Give the folder with the original weights with export --base.",
        )
    return source


def _set_activation(config: PretrainedConfig, activation: str) -> None:
    labels = Labels.from_config(config.to_dict())
    if activation == labels.activation:
        return
    if config.problem_type or len(labels) == 1:
        why = "problem_type in config.json" if config.problem_type else "the single label"
        raise InputError(f"the activation is {labels.activation} by {why}, not {activation}", "Remove --activation.")
    config.problem_type = "multi_label_classification" if activation == "sigmoid" else "single_label_classification"


def _find_checkpoint(source: str | Path, path: Path) -> str:
    """The folder or hub id of a checkpoint; ``path`` is the folder, if there is one."""
    if path.is_dir():
        return str(path)
    advice = "Give the folder of a run, an adapter or a checkpoint, or a hub id."
    try:
        return resolve_base(str(source), advice)
    except CheckpointError:
        if "/" in str(source):
            raise
        # Ids on the hub have a slash, but for a few old ones: this is a misspelled folder.
        raise CheckpointError(f"there is no run, adapter or checkpoint {source}", advice) from None


def _load_checkpoint(source: str, labels: tuple[str, ...]) -> LoadedClassifier:
    loaded = load_model(source, attention=ATTENTION)
    model = loaded.model
    if loaded.missing:
        raise CheckpointError(
            f"{source} lacks weights, which would be random: {', '.join(sorted(loaded.missing)[:4])}",
            "Use a checkpoint that was fine-tuned for sequence classification, or an adapter with its head.",
        )
    check_label_names(labels, model.num_labels, source, Labels.from_config(model.config.to_dict()))
    if labels:
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {name: i for i, name in enumerate(labels)}
    about = ModelSource(base=shown_name(source), revision=loaded.revision, method="full")
    return LoadedClassifier(model, about, source, loaded.notes)
