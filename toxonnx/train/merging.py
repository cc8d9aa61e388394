"""Merges the adapters of PEFT into the weights of their base model, and proves that the logits stay the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from toxonnx.errors import CheckpointError, GateError, first_line
from toxonnx.labels import Labels
from toxonnx.manifest import Adapter, ModelSource
from toxonnx.records import read_json
from toxonnx.train.pretrained import (
    ATTENTION,
    LoadedClassifier,
    check_label_names,
    head_modules,
    load_model,
    resolve_base,
    shown_name,
)
from toxonnx.train.weight_files import ADAPTER_FILES, read_weights

__all__ = ["merge_adapter"]

#: by how much merging an adapter may change a logit
MERGE_LIMIT = 1e-4
#: names of the last layer of a head
_LAST_LAYERS = ("classifier.weight", "out_proj.weight", "score.weight")


def merge_adapter(path: Path, base: str | None, labels: tuple[str, ...]) -> LoadedClassifier:
    """Loads an adapter with its base model, and merges it.

    Args:
        path: folder of the adapter.
        base: base model, in place of the one it names.
        labels: label names in order, if the adapter has none.

    Raises:
        CheckpointError: it cannot be merged, does not fit its base model, or lacks its head.
        GateError: merging changed the logits.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    config = _adapter_config(path)
    weights = read_weights(path, ADAPTER_FILES)
    weights.check_finite()
    stored = weights.tensors
    name = base or config.base_model_name_or_path
    if not name:
        raise CheckpointError(f"{path} does not name its base model", "Give it with export --base.")
    source = resolve_base(name)
    loaded = load_model(source, _adapter_labels(path, stored, labels), attention=ATTENTION)
    model = loaded.model
    names, heads = set(model.state_dict()), head_modules(model)
    adapted = _add_adapter(path, model, config, stored, name)
    layers = sum(isinstance(module, BaseTunerLayer) for module in adapted.modules())
    saved = {key.removeprefix("base_model.model.") for key in stored} & names
    random = sorted(key for key in loaded.missing if key not in saved)
    if random:
        raise CheckpointError(
            f"neither the adapter {path} nor its base model contains {', '.join(random[:4])}, which would be random",
            "The adapter was saved without its whole head (modules_to_save); train it again with the head saved.",
        )
    kind = config.peft_type.value.lower()
    merged, difference = _merge(adapted, kind)
    about = ModelSource(
        base=shown_name(name),
        revision=loaded.revision,
        method=kind,
        adapter=Adapter(
            r=getattr(config, "target_r", getattr(config, "r", None)),  # AdaLoRA's target
            alpha=getattr(config, "lora_alpha", getattr(config, "alpha", None)),
            layers=layers,
            head=sorted({key.split(".")[0] for key in saved} & set(heads)),
        ),
        merge_largest_logit_difference=difference,
    )
    return LoadedClassifier(merged, about, source, loaded.notes + weights.notes)


def _adapter_config(path: Path) -> Any:
    """The ``PeftConfig`` of an adapter that can be merged.

    Raises:
        CheckpointError: it cannot, or PEFT does not know its kind.
    """
    from peft import PeftConfig
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    try:
        config = PeftConfig.from_pretrained(str(path))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(f"{path / 'adapter_config.json'} does not load: {first_line(error)}") from None
    kind = config.peft_type.value if config.peft_type else None
    if config.is_prompt_learning:
        raise CheckpointError(
            f"{path} is an adapter of kind {kind}, which cannot be merged into the weights: it "
            "adds trained vectors to each text",
            "Train LoRA or another adapter of the weights instead.",
        )
    if not hasattr(PEFT_TYPE_TO_TUNER_MAPPING.get(config.peft_type), "merge_and_unload"):
        raise CheckpointError(
            f"{path} is an adapter of kind {kind}, which PEFT does not merge into the weights",
            "Train LoRA or another adapter of the weights instead.",
        )
    return config


def _add_adapter(path: Path, model: PreTrainedModel, config: Any, stored: dict[str, torch.Tensor], name: str) -> Any:
    """The model with the adapter's weights, in evaluation mode.

    Raises:
        CheckpointError: the adapter does not fit the model.
    """
    from peft import get_peft_model
    from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

    advice = "Give the base model that it was trained on with export --base."
    config.inference_mode = True
    _resize_embedding(model, stored)
    try:
        adapted = get_peft_model(model, config)
        set_peft_model_state_dict(adapted, stored)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        what = f"the adapter {path} does not fit the base model {name}: {first_line(error)}"
        raise CheckpointError(what, advice) from None
    # PEFT's own guess of whether the embedding was saved, "auto", asks the hub.
    needed, possible = (set(get_peft_model_state_dict(adapted, save_embedding_layers=save)) for save in (False, True))
    lost, idle = sorted(needed - set(stored)), sorted(set(stored) - possible)
    if lost or idle:
        what = f"{lost[0]} is in no file" if lost else f"{idle[0]} matches no module of the base model"
        raise CheckpointError(
            f"the adapter {path} does not fit the base model {name}: {what} ({len(lost) + len(idle)} such weights)",
            advice,
        )
    return adapted.eval()


def _resize_embedding(model: PreTrainedModel, stored: Mapping[str, torch.Tensor]) -> None:
    """Gives the embedding as many rows as the one that is stored with an adapter, for tokens added in training."""
    embedding = model.get_input_embeddings()
    name = next(name for name, module in model.named_modules() if module is embedding)
    saved = stored.get(f"base_model.model.{name}.weight")
    if saved is not None and len(saved) != embedding.num_embeddings:
        model.resize_token_embeddings(len(saved), mean_resizing=False)


def _merge(adapted: Any, kind: str) -> tuple[PreTrainedModel, float]:
    """The merged model, and the largest difference of a logit to the model that is not merged.

    Raises:
        GateError: it is too large.
    """
    probe = _probe(adapted.get_base_model())
    with torch.inference_mode():
        unmerged = adapted(**probe).logits
        merged = adapted.merge_and_unload(safe_merge=True).eval()
        difference = float((merged(**probe).logits - unmerged).abs().max())
    if not difference <= MERGE_LIMIT:
        raise GateError(
            f"merging the adapter ({kind}) changed logits by {difference:.2e}, the limit is {MERGE_LIMIT:.0e}"
        )
    return merged, difference


def _adapter_labels(path: Path, stored: dict[str, torch.Tensor], names: tuple[str, ...]) -> Labels | None:
    """The label set of the head that is stored with an adapter; None if the base model must have the head."""
    last = [int(tensor.shape[0]) for key, tensor in stored.items() if key.endswith(_LAST_LAYERS)]
    if not last:
        return None
    labels = Labels.from_config(read_json(path / "config.json")) if (path / "config.json").is_file() else None
    check_label_names(names, last[0], str(path), labels)
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
        "Give them in order, for example export --labels hate,offensive,neither.",
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
