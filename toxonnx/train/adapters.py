"""Loads a run, an adapter or a checkpoint as a single fp32 classifier; merges LoRA."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from toxonnx.errors import CheckpointError, GateError, InputError
from toxonnx.labels import Labels
from toxonnx.manifest import Adapter, ModelSource
from toxonnx.recipe import Recipe, recipe_from_dict
from toxonnx.records import read_json
from toxonnx.texts import TextSpec
from toxonnx.train.pretrained import (
    has_tokenizer,
    load_model,
    load_tokenizer,
    max_length_of,
    resolve_base,
    revision,
)
from toxonnx.train.run import RUN_FILE, RunMetadata, load_run

__all__ = ["Trained", "load_trained"]

#: by how much merging LoRA may change a logit
MERGE_LIMIT = 1e-4
#: traces into fewer operators than the fused kernels, and every architecture supports it
ATTENTION = "eager"


@dataclass(frozen=True)
class Trained:
    """A classifier ready for export.

    Attributes:
        model: fp32, in evaluation mode, LoRA merged.
        tokenizer: a fast one.
        labels: label names and activation.
        text: how columns become a text.
        max_length: maximum number of tokens.
        source: base, revision, method and adapter, for the manifest.
        recipe: of the run; None for other checkpoints.
        run: metadata of the run; None for other checkpoints.
        path: the given folder.
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
        CheckpointError: it is not a complete classifier: LoRA weights match no layer, the head is in no file, or label
            names do not fit the head.
        GateError: merging changed the logits.
    """
    path = Path(source)
    recipe: Recipe | None = None
    run = load_run(path)
    if run:
        recipe = recipe_from_dict(run.recipe, str(path / RUN_FILE))
        base = base or run.base
        path = path / "checkpoint"
    if (path / "adapter_config.json").is_file():
        model, about, config = _merge_adapter(path, base, labels)
    elif path.is_dir() and not (path / "config.json").is_file():
        raise CheckpointError(
            f"{path} is neither a run, an adapter nor a checkpoint",
            "It needs run.json, adapter_config.json or config.json.",
        )
    else:
        model, about, config = _load_checkpoint(_find_checkpoint(source, path), labels)
    loaded = load_tokenizer(tokenizer or (str(path) if has_tokenizer(path) else config))
    if run and about.method == "full":
        about = dataclasses.replace(about, base=shown(run.base), revision=run.base_revision)
    elif run and about.revision != run.base_revision:
        raise CheckpointError(
            f"the run was trained on other weights than those of the base model {about.base}: these are "
            f"{about.revision}, were {run.base_revision}",
            "Give the folder with the original weights with --base.",
        )
    text = recipe.text if recipe else TextSpec()
    if run:
        text = TextSpec(tuple(run.text["columns"]), text.template, text.normalise)
    if activation and not run:
        kinds = {"softmax": "single_label_classification", "sigmoid": "multi_label_classification"}
        model.config.problem_type = kinds[activation]
    limit = max_length or (recipe.max_length if recipe else None)
    longest = max_length_of(config, loaded)
    if limit and limit > longest:
        raise InputError(f"max_length is {limit}, but the model takes at most {longest} tokens")
    return Trained(
        model, loaded, Labels.from_config(model.config.to_dict()), text, limit or longest, about, recipe, run,
        Path(source),
    )  # fmt: skip


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


def shown(base: str) -> str:
    """The name of a base model without private paths: of a folder, only the last part."""
    return Path(base).name if Path(base).is_absolute() or Path(base).is_dir() else base


def _named(labels: tuple[str, ...], head: int, where: str, known: Labels | None) -> None:
    """Checks label names: they must fit the head, and may not rename labels that have names."""
    if not labels:
        return
    if len(labels) != head:
        raise CheckpointError(f"{len(labels)} label names given ({', '.join(labels)}), the head of {where} has {head}")
    unnamed = {f"LABEL_{i}" for i in range(head)}  # transformers' names for unnamed labels
    if known and labels != known.names and not set(known.names) <= unnamed:
        raise CheckpointError(
            f"the labels of {where} already have names, in this order: {', '.join(known.names)}", "Remove --labels."
        )


def _load_checkpoint(source: str, labels: tuple[str, ...]) -> tuple[Any, ModelSource, str]:
    model, missing = load_model(source, attention=ATTENTION)
    if missing:
        raise CheckpointError(
            f"{source} lacks weights, which would be random: {', '.join(sorted(missing)[:4])}",
            "Use a checkpoint that was fine-tuned for sequence classification, or an adapter with its head.",
        )
    _named(labels, model.num_labels, source, Labels.from_config(model.config.to_dict()))
    if labels:
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {name: i for i, name in enumerate(labels)}
    about = ModelSource(base=shown(source), revision=revision(source, model), method="full")
    return model, about, source


def _merge_adapter(path: Path, base: str | None, labels: tuple[str, ...]) -> tuple[Any, ModelSource, str]:
    from peft import PeftModel
    from peft.utils import get_peft_model_state_dict

    config = read_json(path / "adapter_config.json")
    weights = path / "adapter_model.safetensors"
    if not weights.is_file():
        raise CheckpointError(f"{path} has no adapter_model.safetensors", "Weights in .bin files are not read.")
    name = base or config.get("base_model_name_or_path")
    if not name:
        raise CheckpointError(f"{path} does not name its base model", "Give it with --base.")
    try:
        with safe_open(str(weights), framework="pt") as file:
            stored = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{weights} is damaged: {error}") from None
    loras = sorted(key for key in stored if ".lora_A." in key)
    if not loras:
        raise CheckpointError(f"{weights} contains no LoRA weights")
    source = resolve_base(name)
    model, missing = load_model(source, _adapter_labels(path, stored, labels), attention=ATTENTION)
    found = revision(source, model)
    before = set(model.state_dict())
    try:
        adapted = PeftModel.from_pretrained(model, str(path), is_trainable=False)
    except (ValueError, RuntimeError, KeyError) as error:
        first = str(error).strip().splitlines()[0]
        raise CheckpointError(f"the adapter {path} does not fit the base model {name}: {first}") from None
    expected = set(get_peft_model_state_dict(adapted))
    lost, idle = sorted(expected - set(stored)), sorted(set(stored) - expected)
    if lost or idle:
        what = f"{lost[0]} is in no file" if lost else f"{idle[0]} matches no module of the base model"
        raise CheckpointError(
            f"the adapter {path} does not fit the base model {name}: {what} ({len(lost) + len(idle)} such weights)",
            "Give the base model that it was trained on with --base.",
        )
    heads = [key.removeprefix("base_model.model.") for key in stored if ".lora_" not in key]
    random = sorted(key for key in missing & before if key not in heads)
    if random:
        raise CheckpointError(
            f"neither the adapter {path} nor its base model contains {', '.join(random[:4])}, which would be random",
            "The adapter was saved without its whole head (modules_to_save); train it again with the head saved.",
        )
    probe = _probe(model)
    with torch.inference_mode():
        unmerged = adapted.eval()(**probe).logits
        merged = adapted.merge_and_unload(safe_merge=True).eval()
        difference = float((merged(**probe).logits - unmerged).abs().max())
    if not difference <= MERGE_LIMIT:
        raise GateError(f"merging LoRA changed logits by {difference:.2e}, the limit is {MERGE_LIMIT:.0e}")
    about = ModelSource(
        base=shown(name),
        revision=found,
        method="lora",
        adapter=Adapter(
            r=config.get("r"),
            alpha=config.get("lora_alpha"),
            layers=len(loras),
            head=sorted({key.split(".")[0] for key in heads}),
        ),
        merge_largest_logit_difference=difference,
    )
    return merged, about, source


def _adapter_labels(path: Path, stored: dict[str, tuple[int, ...]], names: tuple[str, ...]) -> Labels | None:
    """The label set of the head that is stored with an adapter; None if the base model must have the head."""
    last = [shape[0] for key, shape in stored.items() if key.endswith(("classifier.weight", "out_proj.weight"))]
    if not last:
        return None
    labels = Labels.from_config(read_json(path / "config.json")) if (path / "config.json").is_file() else None
    _named(names, last[0], str(path), labels)
    if labels is None and names:
        return Labels(names)
    if labels is not None:
        if len(labels) != last[0]:
            raise CheckpointError(
                f"{path}: config.json has {len(labels)} labels ({', '.join(labels.names)}), but the head has {last[0]}"
            )
        return labels
    raise CheckpointError(
        f"{path} has a head of {last[0]} labels and no config.json that names them",
        "Give them in order, for example --labels hate,offensive,neither.",
    )


def _probe(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """A batch of random token ids, with two lengths."""
    generator = torch.Generator().manual_seed(0)
    low = int(model.config.pad_token_id or 0) + 1
    ids = torch.randint(low, model.config.vocab_size, (4, 24), generator=generator)
    mask = torch.ones_like(ids)
    mask[1::2, 12:] = 0
    ids[mask == 0] = int(model.config.pad_token_id or 0)
    return {"input_ids": ids, "attention_mask": mask}
