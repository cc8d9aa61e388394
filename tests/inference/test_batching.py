"""Batches: every token once, within the budget, in the shapes that graphs take."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from toxonnx.inference.batching import EqualLengthBatcher, PackedBatcher, PaddedBatcher
from toxonnx.inference.tokenizer import Tokens


@given(lengths=arrays.arrays(np.int64, st.integers(0, 60), elements=st.integers(1, 9)), max_tokens=st.integers(1, 60))
def test_equal_length_batches_stay_within_the_token_budget(lengths: np.ndarray, max_tokens: int) -> None:
    batches = list(EqualLengthBatcher(max_tokens).batches(lengths))
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    longest = [int(lengths[batch].max()) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    for batch in batches:
        assert len(set(lengths[batch].tolist())) == 1
        assert len(batch) == 1 or len(batch) * lengths[batch[0]] <= max_tokens
    # No more batches than it takes: but for the last of a length, none has room for another row.
    full = [len(batch) == max(1, max_tokens // lengths[batch[0]]) for batch in batches]
    assert len(batches) - sum(full) <= len(set(lengths.tolist()))


LENGTHS = arrays.arrays(np.int64, st.integers(1, 50), elements=st.integers(1, 40))


def _make_tokens(lengths: np.ndarray) -> Tokens:
    ids = np.arange(1, lengths.sum() + 1, dtype=np.int32)  # each token is known again
    return Tokens(ids, lengths)


@given(lengths=LENGTHS, max_tokens=st.integers(1, 200))
def test_padded_batches_contain_every_token_and_have_few_shapes(lengths: np.ndarray, max_tokens: int) -> None:
    batcher, tokens = PaddedBatcher(max_tokens, pad_id=0, longest=40), _make_tokens(lengths)
    batches = list(batcher.batches(lengths))
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        feed = batcher.feed(tokens, batch)
        height, width = feed["input_ids"].shape
        assert width in {16, 32, 40} and (height & (height - 1) == 0 or height == max_tokens // width)
        assert len(batch) == 1 or height * width <= max_tokens
        mask = feed["attention_mask"]
        assert mask.sum(axis=1)[: len(batch)].tolist() == lengths[batch].tolist()
        assert (np.diff(mask, axis=1) <= 0).all() and (mask[:, 0] == 1).all()
        assert feed["input_ids"][: len(batch)][mask[: len(batch)] == 1].tolist() == tokens.of(batch).tolist()
        assert (feed["input_ids"][mask == 0] == 0).all()


@given(lengths=LENGTHS, max_tokens=st.integers(1, 200))
def test_packed_batches_mark_row_starts_and_padding_offsets(lengths: np.ndarray, max_tokens: int) -> None:
    batcher, tokens = PackedBatcher(max_tokens), _make_tokens(lengths)
    batches = list(batcher.batches(lengths))
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or lengths[batch].sum() <= max_tokens
        feed = batcher.feed(tokens, batch)
        starts, ends = feed["cu_seqlens"][:-1], feed["cu_seqlens"][1:]
        assert (ends - starts).tolist() == lengths[batch].tolist()
        assert feed["first_tokens"].tolist() == starts.tolist()
        rows = [feed["input_ids"][start:end].tolist() for start, end in zip(starts, ends, strict=True)]
        assert rows == [tokens.of(np.array([row])).tolist() for row in batch]
        assert [feed["position_ids"][a:b].tolist() for a, b in zip(starts, ends, strict=True)] == [
            list(range(length)) for length in lengths[batch]
        ]
        # Spread out by token_offset, tokens stand where a padded batch has them.
        offset = feed["token_offset"]
        flat = np.zeros(offset.size, dtype=np.int32)
        flat[offset.reshape(-1)[: len(feed["input_ids"])]] = feed["input_ids"]
        assert sorted(offset.reshape(-1).tolist()) == list(range(offset.size))
        for row, padded in zip(rows, flat.reshape(offset.shape), strict=True):
            assert padded.tolist() == row + [0] * (offset.shape[1] - len(row))
