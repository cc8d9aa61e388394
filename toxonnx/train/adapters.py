"""From a run, an adapter or a checkpoint to one plain classifier in fp32."""

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
from toxonnx.texts import TextSpec
from toxonnx.train.pretrained import load_model, load_tokenizer, max_length_of, read_json, resolve_base, revision

__all__ = ["Trained", "load_trained"]

MERGE_LIMIT = 1e-4
#: plain products and a softmax: they trace into fewer operators than the fused call, and every architecture has them
ATTENTION = "eager"


@dataclass(frozen=True)
class Trained:
    """A classifier ready for export.

    Attributes:
        model: fp32, in evaluation mode, LoRA merged.
        tokenizer: fast.
        labels: label names and activation.
        text: how the columns of a file become a text.
        max_length: tokens.
        source: base, revision, method and adapter, for the manifest.
        recipe: that of the run; None for a checkpoint from elsewhere.
        run: what ``run.json`` says; empty for a checkpoint from elsewhere.
        path: the folder given.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    labels: Labels
    text: TextSpec
    max_length: int
    source: ModelSource
    recipe: Recipe | None
    run: dict[str, Any]
    path: Path


def load_trained(
    source: str | Path,
    *,
    base: str | None = None,
    labels: tuple[str, ...] = (),
    activation: str | None = None,
    max_length: int | None = None,
) -> Trained:
    """Loads and merges.

    Args:
        source: a run, a PEFT adapter folder, or a sequence-classification checkpoint (folder or hub id).
        base: the adapter's base, in place of the one it names.
        labels: label names in order, where the checkpoint has none of its own.
        activation: ``softmax`` or ``sigmoid``, where neither run nor checkpoint says; softmax if nothing does.
        max_length: tokens, where no recipe says.

    Raises:
        CheckpointError: no classifier comes of it: LoRA weights that match nothing, a head that is in no file, label
            names that do not fit the head.
        GateError: merging changed the logits.
    """
    path = Path(source)
    run: dict[str, Any] = {}
    recipe: Recipe | None = None
    if (path / "run.json").is_file():
        run = read_json(path / "run.json")
        if not run.get("finished"):
            raise InputError(f"the run {path} has not finished", "Finish it with toxonnx train ... --resume.")
        recipe = recipe_from_dict(run["recipe"], str(path / "run.json"))
        base = base or run["base"]
        path = path / "checkpoint"
    if (path / "adapter_config.json").is_file():
        model, tokenizer, about, config = _merge_adapter(path, base, labels)
    elif path.is_dir() and not (path / "config.json").is_file():
        raise CheckpointError(
            f"{path} is neither a run, an adapter nor a checkpoint",
            "It needs run.json, adapter_config.json or config.json.",
        )
    else:
        model, tokenizer, about, config = _load_checkpoint(resolve_base(path if path.is_dir() else str(source)), labels)
    if run and about.method == "full":
        about = dataclasses.replace(about, base=shown(run["base"]), revision=run["base_revision"])
    elif run and about.revision != run["base_revision"]:
        raise CheckpointError(
            f"the base {about.base} is not the one that the run was trained on: its weights are "
            f"{about.revision}, were {run['base_revision']}",
            "Name the folder that holds the right one with --base.",
        )
    text = recipe.text if recipe else TextSpec()
    if run:
        text = TextSpec(tuple(run["text"]["columns"]), text.template, text.normalise)
    if activation and not run:
        kinds = {"softmax": "single_label_classification", "sigmoid": "multi_label_classification"}
        model.config.problem_type = kinds[activation]
    limit = max_length or (recipe.max_length if recipe else None)
    longest = max_length_of(config, tokenizer)
    if limit and limit > longest:
        raise InputError(f"a limit of {limit} tokens is over what the model takes: {longest}")
    return Trained(
        model, tokenizer, Labels.from_config(model.config.to_dict()), text, limit or longest, about, recipe, run,
        Path(source),
    )  # fmt: skip


def shown(base: str) -> str:
    """A base's name as others may read it: of a folder, the last part alone."""
    return Path(base).name if Path(base).is_absolute() or Path(base).is_dir() else base


def _named(labels: tuple[str, ...], head: int, where: str, known: Labels | None) -> None:
    """Refuses names that do not fit the head, or that would rename labels which have names."""
    if not labels:
        return
    if len(labels) != head:
        raise CheckpointError(f"{len(labels)} label names given ({', '.join(labels)}), the head of {where} has {head}")
    unnamed = {f"LABEL_{i}" for i in range(head)}  # what transformers calls labels that nobody named
    if known and labels != known.names and not set(known.names) <= unnamed:
        raise CheckpointError(
            f"the labels of {where} have names, in this order: {', '.join(known.names)}", "Leave --labels out."
        )


def _load_checkpoint(source: str, labels: tuple[str, ...]) -> tuple[Any, Any, ModelSource, str]:
    model, missing = load_model(source, attention=ATTENTION)
    if missing:
        raise CheckpointError(
            f"{source} lacks weights, which would be random: {', '.join(sorted(missing)[:4])}",
            "Export a checkpoint that was fine-tuned for sequence classification, or an adapter with its head.",
        )
    _named(labels, model.num_labels, source, Labels.from_config(model.config.to_dict()))
    if labels:
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {name: i for i, name in enumerate(labels)}
    about = ModelSource(base=shown(source), revision=revision(source, model), method="full")
    return model, load_tokenizer(source), about, source


def _merge_adapter(path: Path, base: str | None, labels: tuple[str, ...]) -> tuple[Any, Any, ModelSource, str]:
    from peft import PeftModel
    from peft.utils import get_peft_model_state_dict

    config = read_json(path / "adapter_config.json")
    weights = path / "adapter_model.safetensors"
    if not weights.is_file():
        raise CheckpointError(f"{path} has no adapter_model.safetensors", "Weights in .bin files are not read.")
    name = base or config.get("base_model_name_or_path")
    if not name:
        raise CheckpointError(f"{path} does not name its base", "Name it with --base.")
    try:
        with safe_open(str(weights), framework="pt") as file:
            stored = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{weights} is damaged: {error}") from None
    loras = sorted(key for key in stored if ".lora_A." in key)
    if not loras:
        raise CheckpointError(f"{weights} holds no LoRA weights")
    source = resolve_base(name)
    model, missing = load_model(source, _adapter_labels(path, stored, labels), attention=ATTENTION)
    found = revision(source, model)
    before = set(model.state_dict())
    try:
        adapted = PeftModel.from_pretrained(model, str(path), is_trainable=False)
    except (ValueError, RuntimeError, KeyError) as error:
        first = str(error).strip().splitlines()[0]
        raise CheckpointError(f"the adapter {path} does not fit the base {name}: {first}") from None
    expected = set(get_peft_model_state_dict(adapted))
    lost, idle = sorted(expected - set(stored)), sorted(set(stored) - expected)
    if lost or idle:
        what = f"{lost[0]} is in no file" if lost else f"{idle[0]} matches no module of the base"
        raise CheckpointError(
            f"the adapter {path} does not fit the base {name}: {what} ({len(lost) + len(idle)} such weights)",
            "Name the base it was trained on with --base.",
        )
    heads = [key.removeprefix("base_model.model.") for key in stored if ".lora_" not in key]
    random = sorted(key for key in missing & before if key not in heads)
    if random:
        raise CheckpointError(
            f"neither the adapter {path} nor its base holds {', '.join(random[:4])}, which would be random",
            "The adapter was saved without its whole head (modules_to_save); train it again with the head saved.",
        )
    probe = _probe(model)
    with torch.inference_mode():
        unmerged = adapted.eval()(**probe).logits
        merged = adapted.merge_and_unload(safe_merge=True).eval()
        difference = float((merged(**probe).logits - unmerged).abs().max())
    if not difference <= MERGE_LIMIT:
        raise GateError(f"merging LoRA changed logits by {difference:.2e}, the limit is {MERGE_LIMIT:.0e}")
    has_tokenizer = any((path / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
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
    return merged, load_tokenizer(str(path) if has_tokenizer else source), about, source


def _adapter_labels(path: Path, stored: dict[str, tuple[int, ...]], names: tuple[str, ...]) -> Labels | None:
    """The label set for the head that the adapter stores; None leaves it to the base, which then has to have one."""
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
                f"{path}: config.json names {len(labels)} labels ({', '.join(labels.names)}), the head has {last[0]}"
            )
        return labels
    raise CheckpointError(
        f"{path} has a head of {last[0]} labels and no config.json that names them",
        "Name them in order: --labels hate,offensive,neither",
    )


def _probe(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """A batch of made token ids, of two lengths."""
    generator = torch.Generator().manual_seed(0)
    low = int(model.config.pad_token_id or 0) + 1
    ids = torch.randint(low, model.config.vocab_size, (4, 24), generator=generator)
    mask = torch.ones_like(ids)
    mask[1::2, 12:] = 0
    ids[mask == 0] = int(model.config.pad_token_id or 0)
    return {"input_ids": ids, "attention_mask": mask}
