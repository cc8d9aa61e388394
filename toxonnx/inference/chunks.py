"""Items in chunks, read and tokenized ahead of the model."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from toxonnx.inference.tokenizer_pool import PreprocessedTexts, TextPreprocessor, TokenizerPool

__all__ = ["preprocessed_chunks"]

T = TypeVar("T")

#: characters after which a chunk ends early, so that long texts do not fill the memory
CHUNK_CHARACTERS = 1 << 22
#: chunks that may be with the tokenizer processes
CHUNKS_BEING_TOKENIZED = 3


def preprocessed_chunks(
    pairs: Iterator[tuple[T, str]],
    size: int,
    preprocess: TextPreprocessor,
    start_pool: Callable[[], TokenizerPool] | None = None,
) -> Generator[tuple[list[T], PreprocessedTexts], None, None]:
    """Chunks of items with their preprocessed texts, in order.

    Args:
        pairs: items with their texts.
        size: items of a chunk, at most.
        preprocess: for chunks that are preprocessed in this process.
        start_pool: starts the processes that preprocess; None to do it in this one.

    Yields:
        Each chunk. When ``pairs`` raises, the items before form the last chunk, and the error follows it.
    """
    being_tokenized: deque[tuple[list[T], Callable[[], PreprocessedTexts]]] = deque()
    error: Exception | None = None
    with contextlib.ExitStack() as stack:
        pool: TokenizerPool | None = None
        for number in itertools.count():
            items, texts, error = _read_chunk(pairs, size)
            if not items:
                break
            if number == 1 and start_pool:  # a single chunk is not worth starting processes for
                pool = stack.enter_context(start_pool())
            being_tokenized.append((items, pool.submit(texts) if pool else functools.partial(preprocess, texts)))
            if len(being_tokenized) > (CHUNKS_BEING_TOKENIZED if pool else 0):
                yield _next(being_tokenized)
            if error is not None:
                break
        while being_tokenized:
            yield _next(being_tokenized)
    if error is not None:
        raise error


def _next(
    being_tokenized: deque[tuple[list[T], Callable[[], PreprocessedTexts]]],
) -> tuple[list[T], PreprocessedTexts]:
    items, result = being_tokenized.popleft()
    return items, result()


def _read_chunk(pairs: Iterator[tuple[T, str]], size: int) -> tuple[list[T], list[str], Exception | None]:
    """The items and texts of a chunk, and the error that the source raised after them."""
    items: list[T] = []
    texts: list[str] = []
    characters = 0
    try:
        for item, text in itertools.islice(pairs, size):
            items.append(item)
            texts.append(text)
            characters += len(text)
            if characters >= CHUNK_CHARACTERS:
                break
    except Exception as error:  # raised again after the last chunk, so that earlier items are not lost
        return items, texts, error
    return items, texts, None
