"""Loading tokenizers, and whether they fit a model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from numpy.typing import NDArray
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from toxonnx.errors import CheckpointError, first_line
from toxonnx.inference.tokenizer import EmptyText, TokenizedTexts, Tokens, concatenate_ids
from toxonnx.long_texts import LongTexts
from toxonnx.train.weight_files import check_downloaded

__all__ = ["encode", "encode_windows", "has_tokenizer", "load_tokenizer", "match_tokenizer", "max_length_of"]

#: files from which transformers makes a tokenizer
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder contains a tokenizer."""
    return any(True for pattern in _TOKENIZER_FILES for _ in folder.glob(pattern))


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """A fast tokenizer, which pads and truncates on the right, as batches of a bundle do.

    Args:
        source: folder or hub id.

    Raises:
        CheckpointError: there is none.
    """
    folder = Path(source)
    if folder.is_dir() and not has_tokenizer(folder):
        raise CheckpointError(
            f"{source} has no tokenizer", "Copy tokenizer.json into it, or name another folder: export --tokenizer."
        )
    for file in (path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)):
        check_downloaded(file)
    try:
        kind, options = _tokenizer_options(source)
        tokenizer = kind.from_pretrained(source, use_fast=True, trust_remote_code=False, **options)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"the tokenizer of {source} does not load: {first_line(error)}") from None
    if not tokenizer.is_fast:
        raise CheckpointError(f"{source} has no fast tokenizer (tokenizer.json)")
    tokenizer.padding_side = tokenizer.truncation_side = "right"
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


def encode_windows(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int, long_texts: LongTexts
) -> TokenizedTexts:
    """Tokens of normalised texts, as a bundle reads them; windows are those that transformers makes.

    Args:
        tokenizer: a fast one.
        texts: the texts.
        max_length: tokens of a window.
        long_texts: how longer texts are read.
    """
    encoded = tokenizer(
        list(texts) or [""], truncation=True, max_length=max_length, stride=long_texts.stride,
        return_overflowing_tokens=True,
    )  # fmt: skip
    text_of = np.array(encoded["overflow_to_sample_mapping"])[: None if texts else 0]
    counts = np.bincount(text_of, minlength=len(texts))
    number = np.arange(len(text_of)) - np.repeat(np.cumsum(counts) - counts, counts)
    read = itertools.compress(encoded["input_ids"], number < long_texts.max_windows)
    ids, lengths, no_tokens = EmptyText.of(tokenizer.backend_tokenizer).replace(*concatenate_ids(list(read)))
    windows = np.minimum(counts, long_texts.max_windows)
    return TokenizedTexts.of_windows(Tokens(ids, lengths), no_tokens, windows, counts > windows)


def match_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, source: str) -> None:
    """Checks that the embedding has a row for every id that a text can have, and for the padding.

    A model whose configuration names no padding token gets one: decoders look for the last token that is not padding.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        source: where the tokenizer is from, for errors.

    Raises:
        CheckpointError: an id has no row.
    """
    if model.config.pad_token_id is None:
        special = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        model.config.pad_token_id = next(number for number in special if number is not None)
    rows = int(model.get_input_embeddings().num_embeddings)
    ids = {token: int(number) for token, number in tokenizer.get_vocab().items()}
    # The ids of special tokens that are added to every text stand in tokenizer.json a second time.
    added = {str(tokenizer.convert_ids_to_tokens(number)): number for number in tokenizer("")["input_ids"]}
    token, largest = max([*ids.items(), *added.items()], key=lambda item: item[1], default=("", 0))
    if largest >= rows:
        raise CheckpointError(
            f"the tokenizer of {source} does not fit the weights: the id of {token!r} is {largest}, but the "
            f"embedding has {rows} rows",
            "Use the tokenizer that the model was trained with: export --tokenizer.",
        )
    padding = model.config.pad_token_id
    if not 0 <= padding < rows:
        raise CheckpointError(
            f"config.json: pad_token_id is {padding}, but the embedding has {rows} rows", "Correct config.json."
        )


def max_length_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The largest number of tokens that both the tokenizer and the position embeddings support."""
    positions = int(getattr(model.config, "max_position_embeddings", 512))
    for name, module in model.named_modules():
        if name.endswith(".position_embeddings") and getattr(module, "padding_idx", None) is not None:
            # As in RoBERTa, positions are counted from the id of the padding on.
            positions = int(module.num_embeddings - module.padding_idx - 1)
    return min(int(tokenizer.model_max_length), positions)
